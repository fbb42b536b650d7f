import copy
import json
import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import small_release

from exporters.errors import BadInput, Broken
from validators.release import attestation_files, json_schema
from validators.release.attestation_files import read, refuse_unwritable, write_cells
from validators.release.attestations import BROKEN, FOREIGN, Machine, dump
from validators.release.integrity import ATTESTATIONS, check_files, manifest_digest
from validators.release.manifest import MANIFEST, load

PUBLISHED = Path(__file__).parents[2] / "docs" / "attestation.schema.json"
MACHINE = Machine(
    host="box 7",
    platform="Linux x86_64, Python 3.11.7",
    processor="A processor",
    cards=("A card, 580.1",),
    adapters=("CUDAExecutionProvider (A card)",),
    runtimes=("onnxruntime 1.31.1",),
)


@pytest.fixture
def release(tmp_path):
    return small_release.make(tmp_path / "small.release", elsewhere=[small_release.GPU])


def attest(release, *cells, machine=MACHINE, manifest=None):
    (release / ATTESTATIONS).mkdir(exist_ok=True)
    cells = cells or (small_release.cell("gpu"),)
    return write_cells(
        release, manifest=manifest or manifest_digest(release), machine=machine, cells=cells, seconds=1.25
    )


def found(release):
    return read(release, manifest=manifest_digest(release))


def refusals(release):
    """Code, subject and message of every reason; nothing may have been read."""
    attestations, reasons = found(release)
    assert attestations == ()
    return [(reason.code, reason.subject, reason.message) for reason in reasons]


def test_a_release_without_attestations_has_none(release):
    assert found(release) == ((), ())


def test_what_is_written_is_read_again_without_the_logs_that_stayed_behind(release):
    cell = small_release.cell("gpu", log="evidence/logs/x.log")
    file = attest(release, cell, small_release.failed_cell("cpu"))
    (one,), reasons = found(release)
    assert reasons == ()
    assert one.file == f"attestations/{file.name}"
    assert one.attestation.cells == (replace(cell, log=""), small_release.failed_cell("cpu"))
    assert one.attestation.machine == MACHINE
    assert one.attestation.manifest == manifest_digest(release)
    assert one.attestation.seconds == 1.25


def test_its_name_says_what_when_and_where_and_nothing_else_is_left(release):
    machine = replace(MACHINE, host="../../etc/цифры box")
    files = {attest(release, machine=machine).name for _ in range(2)}
    assert len(files) == 2
    assert all(len(name.split("-")) == 5 for name in files), files  # cells, time, etc, box, random
    assert {path.name for path in (release / ATTESTATIONS).iterdir()} == files
    assert check_files(release, load(release), digest=None) == []


def test_a_copy_of_an_attestation_is_the_same_attestation(release):
    file = attest(release)
    shutil.copy(file, file.with_name("another.json"))
    attestations, reasons = found(release)
    assert (len(attestations), reasons) == (1, ())


def test_an_attestation_of_another_release_is_foreign(release, tmp_path):
    other = small_release.make(tmp_path / "other.release")
    file = attest(other)
    (release / ATTESTATIONS).mkdir()
    shutil.copy(file, release / ATTESTATIONS)
    ((code, subject, message),) = refusals(release)
    assert (code, subject) == (FOREIGN, f"attestations/{file.name}")
    assert manifest_digest(other) in message
    assert manifest_digest(release) in message


def test_a_release_replaced_while_its_cells_ran_is_not_attested(release):
    with pytest.raises(Broken, match="was replaced while this command ran"):
        attest(release, manifest="0" * 64)
    assert list((release / ATTESTATIONS).iterdir()) == []


def put(*way_and_value):
    """An edit of the JSON tree at a path of keys and indices."""
    *way, last, value = way_and_value

    def edit(tree):
        for step in way:
            tree = tree[step]
        tree[last] = value

    return edit


EDITS = {
    "a newer version": (put("schema_version", "3"), "schema_version: got '3', this paritygate reads '2'"),
    "another kind": (put("kind", "approval"), "approval.act: is missing"),
    "an unknown kind": (put("kind", "wish"), "Input tag 'wish' found using 'kind'"),
    "an unknown key": (put("machine", "colour", "red"), "cells.machine.colour: is not a key of schema version 2"),
    "NaN": (
        put("cells", 0, "diffs", 0, "max_abs", float("nan")),
        "cells.cells[0].diffs[0].max_abs: Input should be a finite",
    ),
    "a number as text": (put("seconds", "1"), "cells.seconds: Input should be a valid number, got '1'"),
    "no cells": (put("cells", []), "cells: got none"),
    "an unknown runtime": (
        put("cells", 0, "runtime", "trt"),
        "cells[0]: this paritygate knows no runtime 'trt' on gpu",
    ),
    "the original": (
        lambda tree: tree["cells"][0].update(format="original", runtime="keras"),
        "cells[0]: this paritygate knows no runtime 'keras' on gpu for original",
    ),
    "a cell twice": (
        lambda tree: tree["cells"].append(tree["cells"][0]),
        "cells: 'onnx/default onnxruntime gpu' occurs",
    ),
    "a key left out": (lambda tree: tree["cells"][0].pop("rows"), "cells[0].rows: is missing"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edited_attestation_is_broken_and_the_field_is_named(release, name):
    edit, said = EDITS[name]
    file = attest(release)
    tree = json.loads(file.read_text("utf-8"))
    edit(tree)
    file.write_text(json.dumps(tree), "utf-8")
    ((code, subject, message),) = refusals(release)
    assert (code, subject) == (BROKEN, f"attestations/{file.name}")
    assert message.startswith(said)
    assert "take the file out" in message


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "cells", "kind": "cells"}', "[" * 100_000, "\ud800"])
def test_a_file_that_is_no_record_is_broken(release, text):
    (release / ATTESTATIONS).mkdir()
    (release / ATTESTATIONS / "cells.json").write_text(text, "utf-8", errors="surrogatepass")
    assert [code for code, *_ in refusals(release)] == [BROKEN]


def link(path):
    path.with_name("target").write_text("{}")
    path.symlink_to("target")


ENTRIES = {
    "note.txt": Path.touch,
    "folder.json": Path.mkdir,
    "folder": Path.mkdir,
    "pipe.json": os.mkfifo,
    "link.json": link,
    ".hidden": Path.touch,
}


@pytest.mark.parametrize("name", ENTRIES)
def test_whatever_else_lies_in_the_folder_is_named_and_not_opened(release, name):
    (release / ATTESTATIONS).mkdir()
    ENTRIES[name](release / ATTESTATIONS / name)
    said = {subject: (code, message) for code, subject, message in refusals(release)}
    code, message = said[f"attestations/{name}"]
    assert code == BROKEN
    assert message.startswith("this is no attestation: valid are regular files")


def test_a_file_that_may_not_be_read_is_told_without_the_path_of_this_machine(release, monkeypatch):
    attest(release)

    def refuse(path, _):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(attestation_files.os, "open", refuse)
    ((code, _, message),) = refusals(release)
    assert (code, message.partition(";")[0]) == (BROKEN, "Permission denied")


def test_a_file_larger_than_any_attestation_is_not_read_in(release, monkeypatch):
    file = attest(release)
    monkeypatch.setattr(attestation_files, "_MOST_BYTES", file.stat().st_size - 1)
    ((code, _, message),) = refusals(release)
    assert code == BROKEN
    assert message.startswith("it is larger than")
    monkeypatch.setattr(attestation_files, "_MOST_BYTES", file.stat().st_size)
    assert len(found(release)[0]) == 1


def test_one_broken_file_hides_no_good_one(release):
    attest(release)
    (release / ATTESTATIONS / "a.json").touch()
    attestations, reasons = found(release)
    assert (len(attestations), len(reasons)) == (1, 1)


def test_a_file_that_is_being_written_is_not_there_yet(release, monkeypatch):
    seen = []
    replaced = Path.replace

    def look_first(path, target):
        seen.append(([p.name for p in path.parent.iterdir()], found(release)))
        return replaced(path, target)

    monkeypatch.setattr(Path, "replace", look_first)
    attest(release)
    ((names, read_meanwhile),) = seen
    assert len(names) == 1
    assert read_meanwhile == ((), ())
    assert len(found(release)[0]) == 1


def test_a_write_that_breaks_off_leaves_nothing(release, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        attest(release)
    assert list((release / ATTESTATIONS).iterdir()) == []


def test_a_value_that_json_cannot_hold_is_named(release):
    file = attest(release)
    good = found(release)[0][0].attestation
    assert dump(good) == file.read_bytes()
    with pytest.raises(Broken, match=r"cannot be written: cells.seconds: Input should be a finite number"):
        dump(replace(good, seconds=float("inf")))


@pytest.fixture
def as_nobody():
    """Root may write anywhere, so the test does without being root."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_release_that_cannot_be_written_is_bad_input_with_the_way_around_it(release, as_nobody):
    with tempfile.TemporaryDirectory() as folder:  # nobody may read pytest's own folders
        place = Path(folder) / "small.release"
        place.mkdir()
        place.chmod(0o555)
        with pytest.raises(BadInput, match="an attestation cannot be written there: Permission denied") as caught:
            refuse_unwritable(place)
        assert "without --attest" in caught.value.next_step
        place.chmod(0o755)
        refuse_unwritable(place)
        assert list((place / ATTESTATIONS).iterdir()) == []


def test_the_published_schema_is_the_one_the_records_give():
    assert PUBLISHED.read_text("utf-8") == json_schema.text("attestation"), (
        "the records changed: run `python -m validators.release.json_schema attestation > docs/attestation.schema.json`"
    )


def test_an_attestation_fulfils_the_schema_and_lacks_nothing_that_it_asks_for(release):
    tree = json.loads(attest(release).read_text("utf-8"))
    validator = jsonschema.Draft202012Validator(json_schema.schema("attestation"))
    validator.validate(tree)
    for key in tree:
        broken = copy.deepcopy(tree)
        del broken[key]
        assert not validator.is_valid(broken), key
    assert not validator.is_valid({**tree, "surprise": 1})
    assert not validator.is_valid({**tree, "schema_version": "3"})


def test_the_manifest_is_untouched_by_what_comes_after_it(release):
    before = (release / MANIFEST).read_bytes()
    attest(release)
    assert (release / MANIFEST).read_bytes() == before
