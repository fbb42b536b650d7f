"""Checks that the files of a release are those that its manifest names: hashes every byte, and allows no other file.

In: a release directory, at writing time (`record_files`) or at verification (`check_files`). Out: the records for the
manifest, or a list of problems that name each file. A parity check cannot replace this: most flipped bits of a model do
not change its outputs on a few samples.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from exporters.contract import FileRecord
from exporters.errors import BadInput
from exporters.files.hashing import digest_tree, sha256_file
from validators.release.manifest import MANIFEST, Manifest, unsafe_names

ATTESTATIONS = "attestations"
"""The folder for records that are made after the manifest was written; the manifest does not cover it."""


def manifest_digest(release_dir: Path) -> str:
    """Returns the SHA-256 of `release.json`, which names the release; kept elsewhere it shows any change."""
    return sha256_file(release_dir / MANIFEST)


def record_files(release_dir: Path) -> tuple[FileRecord, ...]:
    """Hashes every file of a release but its manifest and its attestations.

    Returns:
        One record for each file, sorted by path.

    Raises:
        BadInput: an entry is a symlink or a special file: its content could change without a change here.
    """
    files, strange = _entries(release_dir)
    if strange:
        msg = f"{release_dir / strange[0]} is a symlink or a special file; a release holds regular files only"
        raise BadInput(msg, next_step="replace it by a regular file with the same content")
    return tuple(
        FileRecord(path=name, size=file.stat().st_size, sha256=sha256_file(file)) for name, file in files.items()
    )


def check_files(release_dir: Path, manifest: Manifest, *, digest: str | None, found: str | None = None) -> list[str]:
    """Compares a release directory with its manifest, byte for byte.

    Args:
        release_dir: the directory that holds `release.json`.
        manifest: what `load` read from it.
        digest: SHA-256 of `release.json` as the user knows it, in hex; None when it is not known.
        found: SHA-256 of the bytes that `manifest` was read from; None to hash the file as it is now.

    Returns:
        One sentence for each problem, starting with the file or field it is about; empty when all is as recorded.
    """
    problems = [] if digest is None else _check_manifest(found or manifest_digest(release_dir), digest)
    problems += unsafe_names(manifest)
    files, strange = _entries(release_dir)
    problems += [f"{name}: is a symlink or a special file; a release holds regular files only" for name in strange]
    problems += _check_recorded(files, manifest)
    if not strange:  # hashing a folder follows links, which may lead anywhere
        problems += _check_artifacts(release_dir, manifest)
    return problems


def _check_manifest(found: str, digest: str) -> list[str]:
    if found == digest.strip().lower():
        return []
    return [f"{MANIFEST}: its SHA-256 is {found}, but {digest} was given: this is not the manifest of that release"]


def _check_recorded(files: Mapping[str, Path], manifest: Manifest) -> Iterator[str]:
    times = Counter(record.path for record in manifest.files)
    recorded = {record.path: record for record in manifest.files}
    for name in sorted(times.keys() | files.keys()):
        if times[name] > 1:
            yield f"{name}: the manifest names it {times[name]} times"
        if name not in recorded:
            yield f"{name}: the manifest does not name this file"
        elif name not in files:
            yield f"{name}: is missing; the manifest names it with SHA-256 {recorded[name].sha256}"
        elif (now := sha256_file(files[name])) != recorded[name].sha256:
            yield f"{name}: was changed: its SHA-256 is {now}, the manifest says {recorded[name].sha256}"
        elif (size := files[name].stat().st_size) != recorded[name].size:
            yield f"{name}: has {size} bytes, the manifest says {recorded[name].size}"


def _check_artifacts(release_dir: Path, manifest: Manifest) -> Iterator[str]:
    unsafe = {field.split(".path: ")[0] for field in unsafe_names(manifest)}
    for index, artifact in enumerate(manifest.artifacts):
        if artifact.status != "exported" or f"artifacts[{index}]" in unsafe:
            continue
        path = release_dir / artifact.path
        if not artifact.path or not path.exists():
            yield f"{artifact.key}: its path {artifact.path!r} does not exist"
        elif (found := digest_tree(path)) != (artifact.digest, artifact.size):
            yield (
                f"{artifact.key}: {artifact.path} has digest {found[0]} and {found[1]} bytes, "
                f"the manifest says {artifact.digest} and {artifact.size}"
            )


def _entries(release_dir: Path) -> tuple[dict[str, Path], list[str]]:
    """Returns regular files by relative posix path, and the paths that are neither file nor folder; both sorted."""
    files: dict[str, Path] = {}
    strange: list[str] = []
    for entry in _walk(release_dir):
        path = Path(entry.path)
        name = path.relative_to(release_dir).as_posix()
        if not entry.is_file(follow_symlinks=False):
            strange.append(name)
        elif name != MANIFEST and not name.startswith(f"{ATTESTATIONS}/"):
            files[name] = path
    return dict(sorted(files.items())), sorted(strange)


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yields everything below a folder except folders. Unlike `Path.rglob` it raises where it may not read."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(Path(entry.path))
            else:
                yield entry
