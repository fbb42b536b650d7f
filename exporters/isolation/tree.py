"""The process tree of a job: how much memory it holds, and how to end all of it.

In: a pid. Out: bytes, or nothing left alive.
"""

import psutil


def members(pid: int) -> list[psutil.Process]:
    """The process and all its descendants; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def resident(pid: int) -> int:
    """Resident memory of the tree in bytes; a page shared by two members counts twice."""
    total = 0
    for process in members(pid):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def kill(pid: int) -> None:
    """Kills the tree, the root first so that it cannot start anything new."""
    for process in members(pid):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
