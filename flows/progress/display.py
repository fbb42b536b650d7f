"""Shows progress on stderr: a live list on a terminal, one line for every ended or waiting stage elsewhere.

In: events, from any thread. Out: text. The live list vanishes at the end, since the verdict's table follows it.
"""

import contextlib
import threading
import time
from collections.abc import Iterator

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from flows.progress.events import Event, Listener
from validators.text import counted, one_line

_CELL = "cell "
_WORDS = {"passed": "done  ", "unable": "unable", "failed": "FAILED"}
_WAITS = "waits "
_MARKS = {"passed": ("green", "✓", "+"), "unable": ("yellow", "~", "~"), "failed": ("red", "✗", "x")}
_REFRESH = 8  # per second


@contextlib.contextmanager
def shown(console: Console) -> Iterator[Listener]:
    """Shows the events that its listener gets, while active.

    Args:
        console: writes to stderr; decides by itself whether it is a terminal.
    """
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console)
        return
    board = Board()
    with Live(board, console=console, refresh_per_second=_REFRESH, transient=True):
        yield board


class Lines:
    """Prints a line for every ended stage, `12.3s  done    export onnx/default  0.11 MB`, and for every wait.

    Args:
        console: where the lines go.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        word = _WAITS if event.state == "waiting" and event.message else _WORDS.get(event.state)
        if word is None:
            return
        elapsed = time.monotonic() - self._started
        line = f"{elapsed:6.1f}s  {word}  {event.stage}  {one_line(event.message)}".rstrip()
        with self._lock:
            self._console.print(line, markup=False, highlight=False, emoji=False, soft_wrap=True)


class Board:
    """Draws the live list: what runs or waits and for how long, what has ended, and the progress of the whole run."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._running: dict[str, float] = {}
        self._waits: dict[str, str] = {}
        self._ended: list[Event] = []
        self._total = 0
        self._spinner = Spinner("dots")

    def __call__(self, event: Event) -> None:
        if event.state == "output":
            return
        with self._lock:
            self._total = event.total
            self._waits.pop(event.stage, None)
            if event.state == "started":
                self._running[event.stage] = time.monotonic()
            elif event.state == "waiting":
                self._running.setdefault(event.stage, time.monotonic())
                self._waits[event.stage] = event.message
            else:
                self._running.pop(event.stage, None)
                if event.state in _WORDS:
                    self._ended.append(event)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        with self._lock:
            running, waits, ended = dict(self._running), dict(self._waits), tuple(self._ended)
        now = time.monotonic()
        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis")
        for event in ended:
            style, *marks = _MARKS[event.state]
            message = Text(one_line(event.message), style="dim" if event.state == "passed" else style)
            table.add_row(
                Text(marks[options.ascii_only], style=style),
                Text(event.stage),
                Text(f"{event.seconds:.1f}s", "dim"),
                message,
            )
        for stage, since in running.items():
            why = Text(one_line(waits.get(stage, "")), style="yellow")
            table.add_row(self._spinner, Text(stage), Text(f"{now - since:.1f}s"), why)
        yield Group(table, self._summary(ended, now))

    def _summary(self, ended: tuple[Event, ...], now: float) -> Text:
        elapsed = f"{now - self._began:.0f}s"
        if not self._total:
            return Text(f"starting  {elapsed}", style="dim")
        cells = sum(event.stage.startswith(_CELL) for event in ended)
        return Text.assemble(f"{len(ended)} of {self._total} stages, {counted(cells, 'cell')} done  ", (elapsed, "dim"))
