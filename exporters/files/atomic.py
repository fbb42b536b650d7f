"""Gives files and folders their final names in one step: a reader finds a complete one, or none."""

import os
from pathlib import Path

PARTIAL = ".partial"
"""Ends the name of a file that is being written; the name begins with a dot."""


def place(source: Path, destination: Path) -> None:
    """Moves a finished file or folder to its final name in one step; both must be on the same file system.

    Raises:
        FileExistsError: something already has that name; an artifact is never overwritten.
    """
    if destination.exists():
        msg = f"{destination} exists; an artifact is written once"
        raise FileExistsError(msg)
    destination.parent.mkdir(parents=True, exist_ok=True)
    source.replace(destination)


def write(file: Path, content: bytes | str, *, mode: int | None = None) -> None:
    """Writes a file in one step, and replaces a file of that name.

    The content is on disk before the file gets its name, so that not even a power failure leaves half a file. The next
    writer overwrites the partial file of a killed one, so two may not write the same file at once.

    Args:
        file: its final name, in a folder that exists.
        content: text becomes UTF-8.
        mode: permission bits; None for the process's default.

    Raises:
        OSError: it could not be written; a file that already had the name is unchanged.
    """
    partial = file.with_name(f".{file.name}{PARTIAL}")
    try:
        with partial.open("wb") as stream:
            if mode is not None:
                os.fchmod(stream.fileno(), mode)
            stream.write(content.encode() if isinstance(content, str) else content)
            stream.flush()
            # Without this the name could reach the disk before the content.
            os.fsync(stream.fileno())
        partial.replace(file)
    except BaseException:  # Ctrl-C included
        partial.unlink(missing_ok=True)
        raise


def is_partial(file: Path) -> bool:
    """Tells by its name whether a file is one that `write` has not finished."""
    return file.name.startswith(".") and file.name.endswith(PARTIAL)
