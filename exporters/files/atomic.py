"""Puts files and folders under their final names in one step, so that nobody meets half of one."""

from pathlib import Path


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
