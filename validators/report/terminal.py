"""What `paritygate release` and `verify` end with: a verdict a person understands at a glance.

In: a manifest and rich's console. Out: lines on the console. Every status has a mark beside its colour, so that nothing
is lost where there is no colour; a matrix that does not fit the width becomes a list of cells.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.box import ASCII, SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from validators.contract import Reason
from validators.manifest import Manifest
from validators.report.matrix import Entry, Headline, Matrix, Shown, build, headline, mark, summary
from validators.report.text import counted, number, one_line

_COLOURS: dict[Shown, str] = {
    "passed": "green",
    "failed": "bold red",
    "errored": "bold magenta",
    "limited": "yellow",
    "unavailable": "yellow",
    "not run": "yellow",
}
_BANNERS: dict[Headline, str] = {
    "RELEASED": "bold white on green",
    "REFUSED": "bold white on red",
    "BROKEN": "bold white on magenta",
}


_MOST_REASONS = 12
_NUMBERS = "Numbers are the largest distances from Keras."
_UNBOUNDED = 10_000


def render(manifest: Manifest, console: Console, *, release_dir: Path | None = None, digest: str | None = None) -> None:
    """Prints verdict, matrix, reasons, and where the release lies.

    Args:
        manifest: the release.
        console: where to; its width, colours and encoding are respected.
        release_dir: the release directory; None when there is none.
        digest: SHA-256 of its `release.json`; None when it is not known.
    """
    word = headline(manifest.verdict)
    model = _words(manifest.model.name, console)
    console.print()
    console.print(Text.assemble((f" {word} ", _BANNERS[word]), f"  {model}: {summary(manifest)}"))
    matrix = build(manifest)
    grid = _grid(matrix, console)
    fits = Measurement.get(console, console.options.update(width=_UNBOUNDED), grid).maximum <= console.width
    console.print(Padding(grid if fits else _list(matrix, console), (1, 0)))
    console.print(_legend(matrix, console) if fits else Text(_NUMBERS, style="dim"))
    if manifest.verdict.reasons:
        console.print()
        console.print(_reasons(manifest.verdict.reasons, console))
    console.print()
    places = {"release": str(release_dir or ""), "digest": digest or ""}
    for name, value in places.items():
        if value:  # never wrapped: a person copies it
            console.print(Text.assemble((f"{name:<9}", "dim"), _words(value, console)), soft_wrap=True)


def _grid(matrix: Matrix, console: Console) -> Table:
    """Artifacts x runtimes, with the runtime's name over several lines to keep columns narrow."""
    box = ASCII if console.options.ascii_only else SIMPLE_HEAD
    table = Table(box=box, show_edge=False, pad_edge=False, header_style="bold")
    table.add_column("artifact", vertical="bottom", no_wrap=True)
    for column in matrix.columns:
        lines = (_words(part, console) for part in (*column.runtime.split("-"), column.device))
        table.add_column(Text("\n".join(lines)), no_wrap=True)
    for row in matrix.rows:
        entries = (_short(entry, console) if entry else Text() for entry in row.entries)
        table.add_row(Text(_words(row.artifact, console)), *entries)
    return table


def _list(matrix: Matrix, console: Console) -> Table:
    """One line for each cell, where the matrix is wider than the console."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for artifact, column, entry in matrix.pairs():
        words = Text(entry.text(ascii_only=console.options.ascii_only), style=_COLOURS[entry.status])
        table.add_row(words, *(Text(_words(name, console)) for name in (artifact, column.runtime, column.device)))
    return table


def _short(entry: Entry, console: Console) -> Text:
    """Mark and distance; mark and status where nothing was compared."""
    words = entry.status if entry.max_abs is None else number(entry.max_abs)
    return Text(f"{mark(entry.status, ascii_only=console.options.ascii_only)} {words}", style=_COLOURS[entry.status])


def _legend(matrix: Matrix, console: Console) -> Text:
    """What the marks that occur mean."""
    shown = dict.fromkeys(entry.status for _, _, entry in matrix.pairs())
    marks = [f"{mark(status, ascii_only=console.options.ascii_only)} {status}" for status in shown]
    return Text(f"{', '.join(marks)}. {_NUMBERS}", style="dim")


def _reasons(reasons: Sequence[Reason], console: Console) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for reason in reasons[:_MOST_REASONS]:
        colour = _COLOURS["errored" if reason.broken else "failed"]
        sign = mark("errored" if reason.broken else "failed", ascii_only=console.options.ascii_only)
        words = Text.assemble((_words(reason.code, console), colour), f"  {_words(reason.subject, console)}: ")
        table.add_row(Text(sign, style=colour), words.append(_words(reason.message, console)))
    if (left := len(reasons) - _MOST_REASONS) > 0:
        table.add_row("", f"and {counted(left, 'more reason')} in report.md")
    return table


def _words(text: str, console: Console) -> str:
    """A text that may come from the model, on one line, in characters that the console can write."""
    line = one_line(text)
    return line.encode("ascii", "backslashreplace").decode() if console.options.ascii_only else line
