"""What a job writes, line by line, while it runs.

In: the job's log file, which grows. Out: its new lines, decoded, without control characters, and only so many of them:
whoever listens may be a server, and a job that floods its log must not flood that.
"""

import re
from pathlib import Path

MOST_LINES = 1000
LONGEST = 4000  # characters
_CHUNK = 1 << 20
_CONTROL = re.compile(r"(\x1b\[|\x9b)[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # C0 but the tab, DEL, C1


class Tail:
    """Reads on in a file from where it ended when this was made.

    Args:
        path: of the file; need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0
        self._open = b""
        self._told = 0

    def lines(self) -> list[str]:
        """The whole lines that were added since the last call."""
        if self._told > MOST_LINES or not self._path.exists():
            return []
        with self._path.open("rb") as stream:
            stream.seek(self._position)
            added = stream.read(_CHUNK)
        self._position += len(added)
        *whole, rest = (self._open + added).split(b"\n")
        self._open = rest[:_CHUNK]
        return self._bounded([_readable(line) for line in whole])

    def rest(self) -> list[str]:
        """What was added since, and the last line, which may lack its end."""
        lines = self.lines()
        if self._open and self._told <= MOST_LINES:
            lines += self._bounded([_readable(self._open)])
            self._open = b""
        return lines

    def _bounded(self, lines: list[str]) -> list[str]:
        lines = [line for line in lines if line]
        room = MOST_LINES - self._told
        self._told += len(lines)
        if len(lines) > room:
            return [*lines[:room], f"... {MOST_LINES} lines; all that follow are in {self._path.name} alone"]
        return lines


def _readable(raw: bytes) -> str:
    return _CONTROL.sub("", raw.decode("utf-8", errors="replace")).rstrip()[:LONGEST]
