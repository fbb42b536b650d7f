"""Locks between processes: exclusive, on a file or a folder, freed by the system when the process dies."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from exporters.errors import Cancelled

_POLL_SECONDS = 0.1


def create_or_open(path: Path) -> int:
    """Opens a folder, or a lock file that it makes where there is none; no child process inherits the descriptor."""
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    # A child that inherited the descriptor would hold the lock after this process released it.
    return os.open(path, flags | os.O_CLOEXEC, 0o644)


class Lock:
    """Takes an exclusive lock without waiting, and holds it until it is released.

    Args:
        path: a folder, or a lock file.
        open_file: opens `path` and returns the descriptor.

    Raises:
        BlockingIOError: another process, or another lock of this one, holds it.
        OSError: raised by `open_file`.
    """

    def __init__(self, path: Path, *, open_file: Callable[[Path], int] = create_or_open) -> None:
        self._path = path
        while True:
            self._descriptor = open_file(path)
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(self._descriptor)
                raise
            if _is_file(path, self._descriptor):
                return
            os.close(self._descriptor)  # its last holder removed the file after we opened it and before we locked it

    def release(self, *, remove: bool = False) -> None:
        """Frees the lock.

        Args:
            remove: whether to remove the lock file. It is removed while the lock is held: a process that opened it
                before sees by the inode number that the file is gone, and opens the next one.
        """
        if remove:
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def wait_for_lock(
    path: Path,
    *,
    what: str,
    open_file: Callable[[Path], int] = create_or_open,
    cancelled: Callable[[], bool] = lambda: False,
    on_wait: Callable[[str], None] = lambda _: None,
) -> Lock:
    """Takes a lock as soon as it is free.

    Args:
        path: see `Lock`.
        what: name of the locked thing, for the messages.
        open_file: see `Lock`.
        cancelled: called while waiting; True ends the wait.
        on_wait: called once with a message, when the lock is not free.

    Raises:
        Cancelled: `cancelled` ended the wait.
        OSError: raised by `open_file`.
    """
    announced = False
    while True:
        try:
            return Lock(path, open_file=open_file)
        except BlockingIOError:
            if cancelled():
                raise Cancelled(f"the run ended while it waited for {what} ({path})") from None
            if not announced:
                on_wait(f"{what} is in use; waits until it is free ({path})")
                announced = True
            # A blocking call of the system could not be ended by `cancelled`.
            time.sleep(_POLL_SECONDS)


def _is_file(path: Path, descriptor: int) -> bool:
    """Tells whether a path still names the file that a descriptor opened."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
