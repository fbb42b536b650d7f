"""Computes digests of files and of folders.

In: a file or folder, as an exporter wrote it or as a release holds it. Out: SHA-256 in hex, and sizes in bytes.
"""

import hashlib
from pathlib import Path

_CHUNK = 1 << 20


def sha256_file(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes, in hex; reads chunks of 1 MiB."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def files_below(folder: Path) -> tuple[Path, ...]:
    """Returns all regular files below a folder, sorted by their posix path relative to it."""
    return tuple(sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.relative_to(folder).as_posix()))


def digest_tree(path: Path) -> tuple[str, int]:
    r"""Computes digest and size of an artifact.

    A file's digest is its SHA-256. A folder's is the SHA-256 over one line `"{sha256}  {relative posix path}\n"` for
    each of its files in sorted order, so that a renamed, added or missing file changes it too.

    Returns:
        (hex digest, bytes of all files together).
    """
    if path.is_file():
        return sha256_file(path), path.stat().st_size
    total = hashlib.sha256()
    size = 0
    for file in files_below(path):
        total.update(f"{sha256_file(file)}  {file.relative_to(path).as_posix()}\n".encode())
        size += file.stat().st_size
    return total.hexdigest(), size
