"""What `paritygate diagnose` refuses before anything runs, and how a person reads what it found."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import small_release
from rich.console import Console

from exporters.errors import BadInput
from flows.cli import main
from flows.diagnose import Diagnosis, render
from flows.diagnose.failing_call import choose_failing_call
from flows.diagnose.investigation import Investigation
from flows.diagnose.result import SettingResult, Suspect
from flows.diagnose.target import find_target
from validators.diagnosis.reproduction import ReproductionCase
from validators.release.evidence import read_evidence


@pytest.fixture
def release(tmp_path):
    return small_release.make(tmp_path / "small.release")


def with_model(release, content=b"a model", digest=None):
    """Puts a model next to the release and lets the manifest name it."""
    from exporters.files.hashing import sha256_file

    path = release.parent / "small.keras"
    path.write_bytes(content)
    wanted = digest or sha256_file(path)
    small_release.edit(release, lambda tree: tree["model"].update(digest=wanted))
    return path


def test_the_model_beside_the_release_is_taken_when_it_has_the_digest(release):
    path = with_model(release)
    target = find_target(release, small_release.KEY, None, None)
    assert (target.model, target.cell) == (path, small_release.KEY)


def test_an_artifact_that_was_changed_after_the_release_is_known_by_its_digest(release):
    with_model(release)
    target = find_target(release, small_release.KEY, None, None)
    assert not target.changed
    with (release / "artifacts/onnx/default/model.onnx").open("ab") as stream:
        stream.write(b" ")
    assert target.changed


def test_a_model_of_that_name_with_another_digest_is_not_taken(release):
    with_model(release, digest="00" * 32)
    with pytest.raises(BadInput, match="not part of the release") as refused:
        find_target(release, small_release.KEY, None, None)
    assert "--model PATH" in refused.value.next_step


def test_a_named_model_with_another_digest_is_refused_with_both(release):
    path = with_model(release, digest="00" * 32)
    with pytest.raises(BadInput, match="not the model of this release") as refused:
        find_target(release, small_release.KEY, path, None)
    assert "00" * 32 in refused.value.message


def test_a_named_model_that_is_not_there_is_refused(release):
    with pytest.raises(BadInput, match="no such file"):
        find_target(release, small_release.KEY, Path("absent.keras"), None)


def test_an_unknown_cell_is_refused_with_the_near_match(release):
    with pytest.raises(BadInput, match="has none of that name") as refused:
        find_target(release, "onnx/default onnxrutime cpu", None, None)
    assert "did you mean 'onnx/default onnxruntime cpu'" in refused.value.next_step


def test_an_artifact_that_was_never_exported_is_refused_with_the_reason(release):
    def unmade(tree):
        tree["artifacts"][0] |= {"status": "errored", "reason": "the exporter broke", "signature": None}

    small_release.edit(release, unmade)
    with pytest.raises(BadInput, match="the exporter broke"):
        find_target(release, small_release.KEY, None, None)


def test_an_existing_reproduction_folder_is_not_written_into(release, capsys, tmp_path):
    with_model(release)
    target = tmp_path / "kept"
    target.mkdir()
    code = main(["diagnose", str(release), small_release.KEY, "-o", str(target), "--json"])
    assert code == 2
    assert "exists" in capsys.readouterr().out
    assert not list(target.iterdir())


class InputsOnly:
    """Experiments that only write inputs."""

    def write_inputs(self, tensors):
        self.tensors = tensors
        return Path("kept")


def test_the_call_with_the_worst_row_is_looked_into(release):
    with_model(release)
    target = find_target(release, small_release.KEY, None, None)
    diff = small_release.failed_cell("cpu").diffs[0]
    worst = replace(diff.worst, index=(3, 1))
    cell = small_release.failed_cell("cpu", diffs=(replace(diff, worst=worst),))
    evidence = read_evidence(release)
    kept = InputsOnly()
    sampled = choose_failing_call(target, cell, kept)
    rows = evidence.samples(small_release.SET)["x"][2:4]  # fed two by two: the fourth row is in the second call
    np.testing.assert_array_equal(kept.tensors["x"], rows)
    np.testing.assert_array_equal(sampled.expected["y"], evidence.reference(small_release.SET)["y"][2:4])
    assert (sampled.output, sampled.rows) == ("y", 2)


def test_what_is_confirmed_and_what_is_only_inferred_are_told_apart():
    found = Diagnosis(
        release=Path("m.release"),
        cell=small_release.KEY,
        model=Path("m.keras"),
        status="failed",
        message="output `y`: 3 of 3 elements are beyond the tolerance",
        verdict="layer",
        summary="layer `conv2` (Conv2D) is the first whose output the artifact gets wrong",
        suspects=(Suspect(layer="conv2", kind="Conv2D"),),
        tensor="12 model/conv2",
        distance=0.25,
        confirmed=("its part is off",),
        inferred=("the weights are stale",),
        switches=(SettingResult(setting="graph optimizer off", status="failed", message="", max_abs=0.5),),
    )
    out = io.StringIO()
    render(found, Console(file=out, width=200))
    text = out.getvalue()
    assert text.startswith("FOUND  layer `conv2`")
    assert "confirmed    its part is off" in text
    assert "inferred     the weights are stale" in text
    assert "setting      graph optimizer off: failed, max distance 5.0e-01" in text
    assert "12 model/conv2, off by 2.5e-01" in text


def test_the_reproduction_says_nothing_of_where_things_lie_on_this_machine(release, tmp_path):
    model = with_model(release)
    target = find_target(release, small_release.KEY, None, None)
    exhibit = ReproductionCase(
        format="onnx",
        runtime="onnxruntime",
        artifact=release / "artifacts" / "onnx" / "default",
        what="the whole artifact",
        inputs={"x": np.zeros((1, 4), "float32")},
        output="y",
        expected=np.zeros((1, 3), "float32"),
    )
    investigation = Investigation(target, None, tmp_path / "repro", lambda _: None)
    investigation._exhibit = exhibit
    found = Diagnosis(
        release=release, cell=target.cell, model=model, status="failed", message="", verdict="unknown", summary="s"
    )
    assert investigation._reproduced(found, None).reproduction == tmp_path / "repro"
    written = [path for path in (tmp_path / "repro").rglob("*") if path.suffix in {".json", ".md", ".py"}]
    assert written
    assert not any(str(tmp_path) in path.read_text("utf-8") for path in written)
    other = Investigation(target, None, tmp_path / "other", lambda _: None)
    other._exhibit = replace(exhibit, format="a format without a script")
    assert other._reproduced(found, None) is found
    assert not (tmp_path / "other").exists()
