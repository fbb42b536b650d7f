"""Opens untrusted files and lists untrusted folders, without following a link.

In: a path. Out: an open stream, or the files of a folder. Each is a regular file; links and devices are refused.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from exporters.errors import BadInput

MAX_FILES = 10_000
"""Files of one folder; a SavedModel of a large model has some dozens."""
MAX_FOLDER = 64 << 30
"""Bytes of all files of a folder together, the same as of one file."""


@contextmanager
def regular_file(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for reading.

    Raises:
        BadInput: it is missing, no regular file, or may not be read.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file", next_step=f"Look in {path.parent}: ls {path.parent}") from error
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read ({error})") from error
    if not stat.S_ISREG(mode):
        raise BadInput(f"{path}: is not a regular file; expected a model file")
    try:
        stream = path.open("rb")
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error})", next_step=f"Check its permissions: ls -l {path}") from error
    with stream:
        yield stream


def plain_files(folder: Path) -> tuple[Path, ...]:
    """Returns all files below a folder, sorted.

    Raises:
        BadInput: one of them is a link or no regular file, or they are more than `MAX_FILES` or `MAX_FOLDER`.
    """
    found: list[Path] = []
    size = 0
    for where, folders, files in os.walk(folder, onerror=_unreadable):
        for name in (*folders, *files):
            path = Path(where) / name
            info = path.lstat()
            if stat.S_ISLNK(info.st_mode):
                raise BadInput(
                    f"{path}: is a symbolic link, which may lead out of {folder}",
                    next_step="Give a copy in which links are replaced by files: cp -rL",
                )
            if stat.S_ISREG(info.st_mode):
                found.append(path)
                size += info.st_size
            elif not stat.S_ISDIR(info.st_mode):
                raise BadInput(f"{path}: is not a regular file; a model's folder holds files and folders only")
        if len(found) > MAX_FILES or size > MAX_FOLDER:
            raise BadInput(f"{folder}: holds more than {MAX_FILES:,} files or {MAX_FOLDER:,} bytes; no model does")
    return tuple(sorted(found))


def _unreadable(error: OSError) -> None:
    raise BadInput(f"{error.filename}: cannot be read ({error.strerror})") from error
