"""Measures the memory of a job's process tree, and kills the tree.

In: a pid. Out: bytes; after `kill`, no process of the tree is alive.
"""

from collections.abc import Iterable

import psutil


def members(pid: int) -> list[psutil.Process]:
    """Returns the process and all its descendants; an empty list when the process is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


_READS_OF_A_LIST = 4


class MemoryMeter:
    """Measures again and again how much memory the trees of some processes hold together.

    The measure is Linux' proportional set size (PSS): a page that n processes share counts 1/n for each. All cells of a
    model are forks of one process, and would otherwise each count all of its pages. The resident set size (RSS), which
    counts shared pages in full, is never smaller and ten times cheaper to read. So the PSS is read only where it can
    change the decision.

    Args:
        typical: bytes; an RSS up to this is returned as it is.
        bound: bytes; an RSS beyond this is always replaced by the PSS.
    """

    def __init__(self, *, typical: int = 0, bound: int = 0) -> None:
        self._typical = min(typical, bound)
        self._bound = bound
        self._proportional_bytes = 0
        self._resident = 0.0  # RSS at the last reading of the PSS
        self._processes: list[psutil.Process] = []
        self._reads = 0

    def read(self, pids: Iterable[int]) -> int:
        """Returns the bytes that these trees hold; beyond `typical`, a value from when the RSS last grew by a tenth.

        The list of processes is renewed at every fourth reading: Linux keeps no list of a process's children, so that
        reads the table of all processes.
        """
        if self._reads % _READS_OF_A_LIST == 0:
            self._processes = [process for pid in pids for process in members(pid)]
        self._reads += 1
        resident = sum(map(_resident, self._processes))
        if resident <= self._typical:
            return resident
        if resident > min(self._bound, 1.1 * self._resident):
            self._proportional_bytes, self._resident = sum(map(_proportional, self._processes)), resident
        return self._proportional_bytes


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def _proportional(process: psutil.Process) -> int:
    """Returns the PSS; the RSS on systems without PSS, and for a process of another user."""
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
