"""The process tree of a job: how much memory it holds, and how to end all of it.

In: a pid. Out: bytes, or nothing left alive.
"""

from collections.abc import Iterable

import psutil


def members(pid: int) -> list[psutil.Process]:
    """The process and all its descendants; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def held(pids: Iterable[int], *, exact_beyond: int = 0) -> int:
    """Memory that the trees of these processes hold together, in bytes.

    A page that several processes share counts for each with its share (Linux' PSS): all of a model's cells are forks of
    one process, whose pages would else count for every one of them.

    Args:
        pids: the roots.
        exact_beyond: bytes of resident memory, where shared pages count in full, up to which that is the answer: it is
            never less, and a hundred times cheaper to ask for.
    """
    found = [process for pid in pids for process in members(pid)]
    resident = sum(map(_resident, found))
    return resident if resident <= exact_beyond else sum(map(_share, found))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _share(process: psutil.Process) -> int:
    """Its proportional share; resident memory where the system tells no shares, or not of another user's process."""
    try:
        return int(process.memory_full_info().pss)
    except (AttributeError, psutil.AccessDenied):
        return _resident(process)
    except psutil.NoSuchProcess:
        return 0


def kill(pid: int) -> None:
    """Kills the tree, the root first so that it cannot start anything new."""
    for process in members(pid):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
