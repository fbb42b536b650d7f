import json
import re
from dataclasses import replace

import factory
import numpy as np
import pytest

from exporters.errors import BadInput, Broken
from validators.release.manifest import MANIFEST, dump, load


def full_manifest():
    """Every kind of record there is, so that a round trip that loses one is seen."""
    artifacts = (
        factory.artifact("tflite/batch1", findings=(factory.finding(),), options={"batch": 1, "flex": False, "n": "x"}),
        factory.limited_artifact("tflite/dynamic"),
    )
    cells = (
        factory.cell("tflite/batch1"),
        factory.failed_cell("tflite/batch1", diffs=(factory.failed_diff(max_abs=None, worst=None, tolerance=None),)),
        *(factory.cell_without_run(status) for status in ("limited", "errored", "unavailable")),
    )
    verdict = factory.refused(factory.reason(), factory.reason(broken=True))
    return factory.manifest(artifacts=artifacts, cells=cells, verdict=verdict)


@pytest.fixture
def tree():
    return json.loads(dump(full_manifest()))


def write(folder, tree):
    text = tree if isinstance(tree, str) else json.dumps(tree)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return folder


def test_what_is_dumped_is_loaded_again_unchanged(tmp_path):
    manifest = full_manifest()
    (tmp_path / MANIFEST).write_bytes(dump(manifest))
    assert load(tmp_path) == manifest


def test_equal_manifests_give_equal_bytes_whatever_the_order_of_their_mappings():
    one = factory.manifest(toolchain={"keras": "3.15.1", "tensorflow": "2.21.0"})
    two = factory.manifest(toolchain={"tensorflow": "2.21.0", "keras": "3.15.1"})
    assert dump(one) == dump(two)
    assert dump(one).endswith(b"}\n")


def test_a_name_beyond_ascii_survives(tmp_path):
    manifest = factory.manifest(model=replace(factory.MODEL, name="цифры.keras"))
    (tmp_path / MANIFEST).write_bytes(dump(manifest))
    assert load(tmp_path).model.name == "цифры.keras"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float32(0.5)])
def test_a_number_that_json_cannot_hold_is_refused_when_writing(value):
    manifest = factory.manifest(cells=(factory.cell(diffs=(factory.diff(max_abs=value),)),))
    with pytest.raises(Broken, match=r"release\.json cannot be written"):
        dump(manifest)


def test_the_refusal_of_nan_names_the_field():
    manifest = factory.manifest(cells=(factory.cell(), factory.cell(diffs=(factory.diff(max_rel=float("nan")),))))
    with pytest.raises(Broken, match=re.escape("cells[1].diffs[0].max_rel: Input should be a finite number")):
        dump(manifest)


def put(path, value):
    """An edit of the JSON tree at a path of keys and indices."""

    def edit(tree):
        *way, last = path
        for step in way:
            tree = tree[step]
        tree[last] = value

    return edit


def take(path):
    """An edit that removes a key."""

    def edit(tree):
        *way, last = path
        for step in way:
            tree = tree[step]
        del tree[last]

    return edit


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (put(["cells", 1, "diffs", 0, "failing"], "12"), "cells[1].diffs[0].failing: Input should be a valid integer"),
        (put(["cells", 1, "diffs", 0, "max_abs"], float("nan")), "cells[1].diffs[0].max_abs: Input should be a finite"),
        (put(["cells", 0, "status"], "fine"), "cells[0].status: Input should be 'passed', 'failed'"),
        (put(["cells", 0, "stauts"], "passed"), "cells[0].stauts: is not a key of schema version 4"),
        (put(["verdict", "passed"], 1), "verdict.passed: Input should be a valid boolean"),
        (take(["verdict"]), "verdict: is missing"),
        (take(["cells", 0, "diffs"]), "cells[0].diffs: is missing"),
        (take(["artifacts", 0, "signature", "inputs", 0, "native"]), "artifacts[0].signature.inputs[0].native: is"),
        (put(["cells"], {}), "cells: Input should be a valid array"),
        (put(["schema_version"], "7"), "schema_version: got '7', this paritygate reads '3' and '4'"),
        (take(["schema_version"]), "schema_version: got None"),
    ],
)
def test_a_field_at_fault_is_named_by_its_path(tmp_path, tree, edit, said):
    edit(tree)
    with pytest.raises(BadInput) as caught:
        load(write(tmp_path, tree))
    assert f"{MANIFEST}: {said}" in caught.value.message


@pytest.mark.parametrize(
    "edit",
    [
        put(["artifacts", 0, "path"], "../other/model.tflite"),
        put(["artifacts", 0, "path"], "/etc/passwd"),
        put(["artifacts", 0, "path"], "artifacts/../../x"),
        put(["artifacts", 0, "path"], "artifacts//x"),
        put(["artifacts", 0, "path"], "C:\\x"),
        put(["artifacts", 0, "path"], "."),
        put(["cells", 0, "log"], "../log"),
        put(["files"], [{"path": "../x", "size": 1, "sha256": factory.DIGEST}]),
        put(["samples", 0, "name"], ".."),
        put(["samples", 0, "name"], "a/b"),
        put(["samples", 0, "name"], ""),
        put(["model", "signature", "inputs", 0, "name"], "../../x"),
        put(["artifacts", 0, "signature", "outputs", 0, "name"], "/x"),
    ],
)
def test_a_name_that_leads_out_of_the_release_is_refused(tmp_path, tree, edit):
    edit(tree)
    with pytest.raises(BadInput, match=r"leaves the release directory|cannot name a file"):
        load(write(tmp_path, tree))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ('{"schema_version": "1", "schema_version": "1"}', "'schema_version' occurs twice"),
        ('{"schema_version": "1"', "Expecting"),
        ("[]", "schema_version: got None"),
        ("[" * 100_000, "nested too deeply"),
        ('{"schema_version": ' + "9" * 5000 + "}", "Exceeds the limit"),
    ],
)
def test_a_file_that_is_no_manifest_is_refused_in_words(tmp_path, text, said):
    with pytest.raises(BadInput, match=said):
        load(write(tmp_path, text))


def test_a_manifest_in_another_encoding_is_refused(tmp_path):
    (tmp_path / MANIFEST).write_bytes(dump(factory.manifest()).decode().encode("utf-16"))
    with pytest.raises(BadInput, match="utf-8"):
        load(tmp_path)


def test_a_duplicate_key_deep_inside_is_refused(tmp_path):
    text = dump(factory.manifest()).decode().replace('"passed": true', '"passed": false, "passed": true')
    with pytest.raises(BadInput, match="'passed' occurs twice"):
        load(write(tmp_path, text))


@pytest.mark.parametrize("place", ["", "nowhere", "file"])
def test_a_directory_without_a_manifest_is_named_with_the_way_to_get_one(tmp_path, place):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="is not a release directory") as caught:
        load(tmp_path / place)
    assert "paritygate release" in caught.value.next_step
