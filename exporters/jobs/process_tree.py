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


_READS_OF_A_LIST = 4


class Gauge:
    """Memory that the trees of some processes hold together, read again and again.

    A page that several processes share counts for each with its share (Linux' PSS): all of a model's cells are forks of
    one process, whose pages would else count for every one of them. Resident memory, where shared pages count in full,
    is never less and ten times cheaper to ask for, so shares are asked for only where they can matter.

    Args:
        typical: bytes of resident memory up to which that is the answer.
        bound: bytes beyond which the answer is always exact.
    """

    def __init__(self, *, typical: int = 0, bound: int = 0) -> None:
        self._typical = min(typical, bound)
        self._bound = bound
        self._exact = 0
        self._resident = 0.0  # when the shares were asked for
        self._found: list[psutil.Process] = []
        self._reads = 0

    def read(self, pids: Iterable[int]) -> int:
        """Bytes that these trees hold now; beyond `typical`, as of when they had last grown by a tenth.

        Which processes they are is looked up at every fourth reading: the system has no list of a process's children,
        so that takes a look at all processes that there are.
        """
        if self._reads % _READS_OF_A_LIST == 0:
            self._found = [process for pid in pids for process in members(pid)]
        self._reads += 1
        resident = sum(map(_resident, self._found))
        if resident <= self._typical:
            return resident
        if resident > min(self._bound, 1.1 * self._resident):
            self._exact, self._resident = sum(map(_share, self._found)), resident
        return self._exact


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
