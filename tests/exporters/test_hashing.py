"""Digests, placement and provenance."""

import hashlib

import pytest

from exporters.files.atomic import place
from exporters.files.hashing import digest_tree, files_below, sha256_file
from exporters.toolchain import versions


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    (made / "variables").mkdir(parents=True)
    (made / "model.pb").write_bytes(b"graph")
    (made / "variables" / "data").write_bytes(b"weights")
    return made


def test_a_files_digest_is_its_sha256_also_beyond_one_chunk(tmp_path):
    content = bytes(range(256)) * 5000  # more than 1 MiB
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert digest_tree(tmp_path / "file") == (hashlib.sha256(content).hexdigest(), len(content))


def test_a_folders_digest_can_be_made_with_sha256sum(folder):
    lines = [
        f"{hashlib.sha256(c).hexdigest()}  {n}\n" for n, c in (("model.pb", b"graph"), ("variables/data", b"weights"))
    ]
    assert digest_tree(folder) == (hashlib.sha256("".join(lines).encode()).hexdigest(), 12)


@pytest.mark.parametrize(
    "change",
    [
        lambda f: (f / "model.pb").write_bytes(b"grapj"),
        lambda f: (f / "model.pb").rename(f / "model2.pb"),
        lambda f: (f / "variables" / "data").rename(f / "data"),
        lambda f: (f / "extra").write_bytes(b""),
        lambda f: (f / "model.pb").unlink(),
    ],
    ids=["byte", "renamed", "moved", "added", "removed"],
)
def test_any_change_of_a_folder_changes_its_digest(folder, change):
    before = digest_tree(folder)[0]
    change(folder)
    assert digest_tree(folder)[0] != before


def test_files_come_sorted_by_their_path(folder):
    assert [path.relative_to(folder).as_posix() for path in files_below(folder)] == ["model.pb", "variables/data"]


def test_placing_moves_everything_and_leaves_nothing(folder, tmp_path):
    before = digest_tree(folder)
    place(folder, tmp_path / "artifacts" / "format" / "variant")
    assert digest_tree(tmp_path / "artifacts" / "format" / "variant") == before
    assert not folder.exists()


def test_an_artifact_is_never_overwritten(folder, tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(FileExistsError, match="an artifact is written once"):
        place(folder, tmp_path / "taken")
    assert folder.exists()


def test_versions_are_those_installed_and_an_absent_package_is_left_out():
    found = versions(["numpy", "no-such-package-here"])
    assert set(found) == {"numpy"}
    assert found["numpy"][0].isdigit()
