"""Shows the progress of a sweep on stderr: a line for every model that ended, and on a terminal what runs now.

In: calls of the engine, from any thread. Out: text.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.text import Text

from flows.batch.outcomes import STATES, FormatState
from flows.batch.sweep_record import SweptModel
from flows.progress.events import Event
from validators.text import counted, one_line

_REFRESH = 4  # per second


@contextlib.contextmanager
def shown(console: Console) -> Iterator["Progress"]:
    """Shows progress until the context ends.

    Args:
        console: writes to stderr; decides by itself whether it is a terminal.
    """
    progress = Progress(console)
    if not console.is_terminal or console.is_dumb_terminal:
        yield progress
        return
    with Live(progress, console=console, refresh_per_second=_REFRESH, transient=True):
        yield progress


class Progress:
    """Keeps count of a sweep.

    Args:
        console: prints the progress.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._models = 0
        self._done = 0
        self._running: dict[str, tuple[float, dict[str, int]]] = {}

    def begin(self, *, models: int, settled: int) -> None:
        """Records how many models there are."""
        with self._lock:
            self._models, self._done = models, settled
        if settled:
            self._print(f"{counted(settled, 'model')} of {models} settled before: same file, settings and versions")

    def started(self, path: str) -> None:
        """Records that a release began."""
        with self._lock:
            self._running[path] = (time.monotonic(), {"done": 0, "total": 0})

    def stage(self, path: str, event: Event) -> None:
        """Records that a stage of a release started or ended."""
        with self._lock:
            _, count = self._running[path]
            count["total"] = event.total
            count["done"] += event.ended

    def ended(self, record: SweptModel) -> None:
        """Records that a model is done; a copy of another model was never started itself."""
        with self._lock:
            self._running.pop(record.path, None)
            self._done += 1
            place = f"{self._done} of {self._models}"
        self._print(place, record.path, summed(record.states))

    def _print(self, *parts: str) -> None:
        elapsed = time.monotonic() - self._began
        line = "  ".join((f"{elapsed:6.1f}s", *map(one_line, parts)))
        # Not under our own lock: on a terminal the console draws this object below the line, and that takes the lock.
        self._console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            running, done, models = dict(self._running), self._done, self._models
            now = time.monotonic()
            lines = [
                Text(f"  {one_line(path)}  {now - since:.0f}s  {count['done']} of {count['total'] or '?'} stages")
                for path, (since, count) in running.items()
            ]
        lines.append(Text(f"{done} of {models} models  {now - self._began:.0f}s", style="dim"))
        yield Group(*lines)


def summed(states: Sequence[FormatState]) -> str:
    """Formats states as `proven: saved_model, onnx; limited (tflite-flex-op): tflite`, the worst first."""
    found = Counter((STATES.index(each.state), each.state, each.code) for each in states)
    words = []
    for _, state, code in sorted(found):
        names = ", ".join(each.format for each in states if (each.state, each.code) == (state, code))
        words.append(f"{state}{f' ({code})' if code else ''}: {names if len(found) > 1 else 'all formats'}")
    return "; ".join(words)
