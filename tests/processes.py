"""The processes below one."""

import psutil


def below(pid: int, mark: str) -> list[psutil.Process]:
    """Those with this text in their command line; one that ends while we look is none of them."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            command = process.cmdline()
        except psutil.NoSuchProcess:  # ended, and perhaps not yet waited for by its parent
            continue
        if any(mark in argument for argument in command):
            found.append(process)
    return found
