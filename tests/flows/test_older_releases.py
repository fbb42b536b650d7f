"""A release that an older version made, with schema version 3, can still be read by everything that reads releases."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from exporters.errors import BadInput
from validators.contract import Requirement
from validators.release.manifest import MANIFEST, SCHEMA_VERSION, dump, load
from validators.release.upgrades import upgrade_release_3

OLD = Path(__file__).parents[1] / "compatibility" / "schema3"


@pytest.fixture
def tree():
    return json.loads((OLD / MANIFEST).read_text("utf-8"))


@pytest.fixture
def new(tmp_path):
    """The same release as this version writes it."""
    folder = shutil.copytree(OLD, tmp_path / "new")
    (folder / MANIFEST).write_bytes(dump(load(OLD)))
    return folder


def test_what_the_older_version_did_not_know_has_the_value_it_had_then(tree):
    assert tree["schema_version"] == "3"
    manifest = load(OLD)
    assert manifest.schema_version == SCHEMA_VERSION == "4"
    assert {artifact.precision for artifact in manifest.artifacts} == {"float32"}
    assert manifest.policy.required == (
        Requirement(format="onnx", runtime="onnxruntime", device="cpu"),
        Requirement(format="tflite", runtime="litert-xnnpack", device="cpu"),
    )
    assert manifest.verdict.required == manifest.policy.required
    assert manifest.policy.baseline.size_ratios == {}


def test_an_upgraded_manifest_is_written_in_the_current_version_and_says_the_same(new):
    assert json.loads((new / MANIFEST).read_text("utf-8"))["schema_version"] == SCHEMA_VERSION
    assert load(new) == load(OLD)


def test_a_release_of_the_older_version_passes_the_gate(call):
    code, out, err = call("gate", OLD)
    assert (code, err) == (0, "")
    assert "RELEASED" in out


def test_a_changed_byte_of_a_release_of_the_older_version_is_found(call, tmp_path):
    folder = shutil.copytree(OLD, tmp_path / "old")
    (folder / "artifacts/onnx/default/model.onnx").write_bytes(b"x")
    code, out, _ = call("gate", folder)
    assert code == 1
    assert "digest mismatch" in out


def test_a_release_of_the_older_version_is_compared_with_a_new_one(call, new):
    code, out, err = call("compare", OLD, new)
    assert (code, err) == (0, "")
    assert "0 cells passed in A and did not in B." in out


def test_a_cell_of_a_release_of_the_older_version_is_verified(call):
    code, out, err = call("verify", OLD, "--formats", "onnx", "--runtimes", "onnxruntime", "--device", "cpu")
    assert code == 0, err
    assert "VERIFIED" in out
    assert "1 of 1 cell passed again" in out


def test_one_variant_of_a_release_is_verified(call):
    code, out, _ = call("verify", OLD, "--formats", "tflite/batch1", "--runtimes", "litert-xnnpack")
    assert code == 0
    assert ("tflite/batch1" in out, "tflite/dynamic" in out) == (True, False)
    code, _, err = call("verify", OLD, "--formats", "onnx,tflite/batch2")
    assert code == 2
    assert "no format 'tflite/batch2' (did you mean 'tflite/batch1'?)" in err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda tree: tree["policy"]["required"][0].update(variant=None),
            "policy.required[0].variant: is not a key of",
        ),
        (lambda tree: tree["artifacts"][1].update(precision="int8"), "artifacts[1].precision: is not a key of schema"),
        (
            lambda tree: tree["policy"]["baseline"].update(size_ratios={}),
            "policy.baseline.size_ratios: is not a key of",
        ),
        (lambda tree: tree.update(surprise=1), "surprise: is not a key of schema version 3"),
        (lambda tree: tree.update(artifacts=3), "artifacts: Input should be a valid array"),
        (lambda tree: tree.update(policy=[]), "policy: Input should be"),
        (lambda tree: tree["policy"].update(required=[1]), "policy.required[0]: Input should be"),
        (lambda tree: tree.update(schema_version="2"), "schema_version: got '2', this paritygate reads '3' and '4'"),
    ],
)
def test_a_fault_in_an_older_file_is_named_as_it_was_then(tmp_path, tree, change, said):
    change(tree)
    (tmp_path / MANIFEST).write_text(json.dumps(tree), "utf-8")
    with pytest.raises(BadInput) as caught:
        load(tmp_path)
    assert said in caught.value.message


def test_the_limits_of_a_baseline_are_upgraded_too(tree):
    tree["baseline"] = {"limits": {"size_ratio": 1.1}}
    assert upgrade_release_3(tree)["baseline"]["limits"] == {"size_ratio": 1.1, "size_ratios": {}}


def test_a_release_of_the_older_version_serves_as_a_baseline(new):
    from flows.pipeline.baseline import compare_with_baseline, load_baseline

    record = compare_with_baseline(replace(load(new)), load_baseline(OLD))
    assert not any(comparison.regressed for comparison in record.comparisons)
    assert any(comparison.what == "size" and not comparison.why_not for comparison in record.comparisons)
