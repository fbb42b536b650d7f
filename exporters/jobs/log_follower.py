"""Reads a job's log line by line while the job writes it.

In: the log file, which grows. Out: its new lines, decoded, without control characters. At most `MOST_LINES` of them:
the listener may be the Prefect server, and a job that floods its log must not flood the server.
"""

import re
from pathlib import Path

MOST_LINES = 1000
LONGEST = 4000  # characters
_CHUNK = 1 << 20
_CONTROL = re.compile(r"(\x1b\[|\x9b)[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # C0 but the tab, DEL, C1


class LogFollower:
    """Reads the lines that are added to a file after this object was made.

    Args:
        path: the file; it need not exist yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.exists() else 0
        self._unfinished = b""
        self._line_count = 0

    def lines(self) -> list[str]:
        """Returns the complete lines that were added since the last call."""
        if self._line_count > MOST_LINES or not self._path.exists():
            return []
        with self._path.open("rb") as stream:
            stream.seek(self._position)
            added = stream.read(_CHUNK)
        self._position += len(added)
        *complete, rest = (self._unfinished + added).split(b"\n")
        self._unfinished = rest[:_CHUNK]
        return self._bounded([_readable(line) for line in complete])

    def rest(self) -> list[str]:
        """Returns the lines added since the last call, and the last one even if it has no line end."""
        lines = self.lines()
        if self._unfinished and self._line_count <= MOST_LINES:
            lines += self._bounded([_readable(self._unfinished)])
            self._unfinished = b""
        return lines

    def _bounded(self, lines: list[str]) -> list[str]:
        lines = [line for line in lines if line]
        room = MOST_LINES - self._line_count
        self._line_count += len(lines)
        if len(lines) > room:
            return [*lines[:room], f"... {MOST_LINES} lines; the rest is in {self._path.name}"]
        return lines


def _readable(raw: bytes) -> str:
    return _CONTROL.sub("", raw.decode("utf-8", errors="replace")).rstrip()[:LONGEST]
