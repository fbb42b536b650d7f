import os
from dataclasses import replace

import factory
import pytest

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree, sha256_file
from validators.release import integrity
from validators.release.integrity import check_files, manifest_digest, record_files
from validators.release.manifest import MANIFEST, dump

FILES = {
    "artifacts/saved_model/default/saved_model.pb": b"graph",
    "artifacts/saved_model/default/variables/variables.index": b"index",
    "artifacts/tflite/dynamic/model.tflite": b"flatbuffer",
    "evidence/samples/held_out/image.npy": b"samples",
    "report.md": b"# RELEASED\n",
}


def placed(folder, key):
    path = factory.ARTIFACTS[key]
    digest, size = digest_tree(folder / path)
    return factory.artifact(key, path=path, digest=digest, size=size)


@pytest.fixture
def release(tmp_path):
    """A release directory on disk and its manifest."""
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    artifacts = (
        placed(tmp_path, "saved_model/default"),
        placed(tmp_path, "tflite/dynamic"),
        factory.limited_artifact("tflite/batch1"),
    )
    manifest = factory.manifest(artifacts=artifacts, files=record_files(tmp_path))
    (tmp_path / MANIFEST).write_bytes(dump(manifest))
    return tmp_path, manifest


def test_every_file_is_recorded_in_order_but_the_manifest_and_the_attestations(release):
    folder, _ = release
    (folder / "attestations").mkdir()
    (folder / "attestations/gpu.json").write_text("{}")
    records = record_files(folder)
    assert [record.path for record in records] == sorted(FILES)
    assert {record.path: record.size for record in records} == {name: len(data) for name, data in FILES.items()}
    assert records[-1].sha256 == sha256_file(folder / "report.md")


def test_only_the_attestations_of_the_release_itself_are_left_out(release):
    folder, _ = release
    (folder / "evidence/attestations").mkdir()
    (folder / "evidence/attestations/x").write_bytes(b"")
    (folder / "evidence" / MANIFEST).write_bytes(b"")
    assert {"evidence/attestations/x", f"evidence/{MANIFEST}"} <= {record.path for record in record_files(folder)}


def test_an_untouched_release_has_no_problems(release):
    folder, manifest = release
    assert check_files(folder, manifest, digest=manifest_digest(folder)) == []
    assert check_files(folder, manifest, digest=manifest_digest(folder).upper() + "\n") == []
    assert check_files(folder, manifest, digest=None) == []


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_is_found_and_named_with_both_digests(release, name):
    folder, manifest = release
    before = sha256_file(folder / name)
    data = bytearray((folder / name).read_bytes())
    data[-1] ^= 1
    (folder / name).write_bytes(data)
    problem = check_files(folder, manifest, digest=None)[0]
    assert problem.startswith(f"{name}: was changed")
    assert before in problem
    assert sha256_file(folder / name) in problem


def test_a_missing_file_is_named(release):
    folder, manifest = release
    (folder / "report.md").unlink()
    assert [problem[:23] for problem in check_files(folder, manifest, digest=None)] == ["report.md: is missing; "]


@pytest.mark.parametrize("name", ["extra.bin", "artifacts/saved_model/default/assets/vocabulary.txt", ".hidden"])
def test_a_file_that_the_manifest_does_not_name_is_named(release, name):
    folder, manifest = release
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"")
    assert f"{name}: the manifest does not name this file" in check_files(folder, manifest, digest=None)


def test_a_changed_manifest_is_found_by_the_digest_from_outside(release):
    folder, manifest = release
    digest = manifest_digest(folder)
    forged = replace(manifest, created="2031-01-01T00:00:00Z")
    (folder / MANIFEST).write_bytes(dump(forged))
    (problem,) = check_files(folder, forged, digest=digest)
    assert problem.startswith(f"{MANIFEST}: its SHA-256 is {manifest_digest(folder)}, but {digest} was given")


def test_an_artifact_whose_own_digest_was_forged_is_named(release):
    folder, manifest = release
    saved_model, *others = manifest.artifacts
    forged = replace(manifest, artifacts=(replace(saved_model, digest="0" * 64), *others))
    (problem,) = check_files(folder, forged, digest=None)
    assert problem.startswith("saved_model/default: artifacts/saved_model/default has digest")


def test_an_exported_artifact_without_its_file_is_named(release):
    folder, manifest = release
    forged = replace(manifest, artifacts=(factory.artifact("onnx/default", path=""),))
    assert check_files(folder, forged, digest=None) == ["onnx/default: its path '' does not exist"]


def test_a_wrong_size_and_a_file_named_twice_are_named(release):
    folder, manifest = release
    report = manifest.files[-1]
    forged = replace(manifest, files=(*manifest.files, replace(report, size=1)))
    problems = check_files(folder, forged, digest=None)
    assert problems == [
        "report.md: the manifest names it 2 times",
        f"report.md: has {report.size} bytes, the manifest says 1",
    ]


@pytest.fixture
def hashed(monkeypatch):
    """The paths that are hashed from here on, resolved."""
    seen = []
    for name, hash_path in (("sha256_file", sha256_file), ("digest_tree", digest_tree)):
        monkeypatch.setattr(integrity, name, lambda path, do=hash_path: seen.append(path.resolve()) or do(path))
    return seen


def test_a_path_that_leaves_the_release_is_refused_and_never_opened(release, tmp_path_factory, hashed):
    folder, manifest = release
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_bytes(b"secret")
    way_out = os.path.relpath(outside, folder)
    record = replace(manifest.files[0], path=way_out)
    artifact = replace(manifest.artifacts[0], path=way_out)
    forged = replace(manifest, files=(*manifest.files, record), artifacts=(artifact,))
    problems = check_files(folder, forged, digest=None)
    assert hashed
    assert all(path.is_relative_to(folder.resolve()) for path in hashed)
    assert any(problem.startswith("artifacts[0].path: ") for problem in problems)
    assert any(problem.startswith(f"files[{len(manifest.files)}].path: ") for problem in problems)


@pytest.mark.parametrize("name", ["evidence/link", "attestations", "link"])
def test_a_symlink_is_refused_when_writing_and_named_when_checking(release, tmp_path_factory, name):
    folder, manifest = release
    (folder / name).symlink_to(tmp_path_factory.mktemp("outside"))
    with pytest.raises(BadInput, match="symlink or a special file"):
        record_files(folder)
    assert f"{name}: is a symlink or a special file; a release holds regular files only" in check_files(
        folder, manifest, digest=None
    )


def test_an_artifact_behind_a_symlink_is_never_opened(release, tmp_path_factory, hashed):
    folder, manifest = release
    outside = tmp_path_factory.mktemp("outside") / "artifacts"
    (folder / "artifacts").rename(outside)
    (folder / "artifacts").symlink_to(outside)
    assert any(problem.startswith("artifacts: is a symlink") for problem in check_files(folder, manifest, digest=None))
    assert hashed
    assert all(path.is_relative_to(folder.resolve()) for path in hashed)


def test_a_file_replaced_by_a_symlink_to_the_same_bytes_is_named(release, tmp_path_factory):
    folder, manifest = release
    copy = tmp_path_factory.mktemp("outside") / "copy"
    (folder / "report.md").rename(copy)
    (folder / "report.md").symlink_to(copy)
    assert len(check_files(folder, manifest, digest=None)) == 2  # as a symlink, and missing as a file


def test_a_pipe_in_place_of_a_file_is_named_and_not_read(release):
    folder, manifest = release
    os.mkfifo(folder / "pipe")
    assert any(problem.startswith("pipe: ") for problem in check_files(folder, manifest, digest=None))
