"""Prints a release at the end of `paritygate release`, and two releases for `paritygate compare`."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from validators.contract import Reason
from validators.release.manifest import Manifest
from validators.report import approval_lines
from validators.report.cell_table import COLOURS, not_run_lines, table, written
from validators.report.view import view
from validators.report.view.comparison import Change, ComparisonView
from validators.report.view.matrix import Headline, Line, mark
from validators.text import counted, size

_BANNERS: dict[Headline, str] = {
    "RELEASED": "bold white on green",
    "AWAITING": "bold black on yellow",
    "REFUSED": "bold white on red",
    "BROKEN": "bold white on magenta",
}

_MOST_REASONS = 12
_NUMBERS = "Numbers are the largest distances from Keras."


def render(manifest: Manifest, console: Console, *, release_dir: Path | None = None, digest: str | None = None) -> None:
    """Prints verdict, matrix, reasons, and where the release is.

    Args:
        manifest: the release.
        console: its width, colours and encoding are respected.
        release_dir: the release directory; None when there is none.
        digest: SHA-256 of its `release.json`; None when it is not known.
    """
    shown = view(manifest)
    model = written(manifest.model.name, console)
    console.print()
    console.print(Text.assemble((f" {shown.headline} ", _BANNERS[shown.headline]), f"  {model}: {shown.summary}"))
    console.print(Padding(table([row.line for row in shown.matrix], console), (1, 0)))
    console.print(Text(_NUMBERS, style="dim"))
    if shown.split:
        console.print(Text(f"{written(shown.split, console).replace('`', '')}."))
    for line in not_run_lines(manifest.cells, manifest.verdict, console):
        console.print(line)
    if manifest.verdict.reasons:
        console.print()
        console.print(_reasons(manifest.verdict.reasons, console))
    for label, text in approval_lines.lines((), (), manifest.verdict.waived):
        console.print(Text(f"{label}  {written(text, console)}", style="yellow"))
    if baseline := shown.baseline:
        console.print(Text(written(f"baseline {baseline.name}: {baseline.summary}", console)))
        for reason, subjects in baseline.not_compared:
            text = f"  not compared for {counted(len(subjects), 'subject')}: {reason}"
            console.print(Text(written(text, console), style="dim"))
    console.print()
    places = {"release": str(release_dir or ""), "digest": digest or ""}
    for name, value in places.items():
        if value:  # never wrapped: it is there to be copied
            console.print(Text.assemble((f"{name:<9}", "dim"), written(value, console)), soft_wrap=True)


def _reasons(reasons: Sequence[Reason], console: Console) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for reason in reasons[:_MOST_REASONS]:
        colour = COLOURS["errored" if reason.broken else "failed"]
        sign = mark("errored" if reason.broken else "failed", ascii_only=console.options.ascii_only)
        words = Text.assemble((written(reason.code, console), colour), f"  {written(reason.subject, console)}: ")
        grid.add_row(Text(sign, style=colour), words.append(written(reason.message, console)))
    if (left := len(reasons) - _MOST_REASONS) > 0:
        grid.add_row("", f"and {counted(left, 'more reason')} in report.md")
    return grid


def render_comparison(comparison: ComparisonView, console: Console) -> None:
    """Prints the cells of two releases next to each other, and everything else that differs."""
    for letter, name, verdict in zip("AB", comparison.names, comparison.verdicts, strict=True):
        console.print(Text.assemble((f"{letter} ", "bold"), written(f"{name}: {verdict}", console)), soft_wrap=True)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row("", *(Text(name, style="bold") for name in ("A", "B", "size or time, B / A")))
    for cell in comparison.cells:
        sides = [_side(line, console) for line in (cell.first, cell.second)]
        grid.add_row(
            Text(written(cell.label, console)),
            *sides,
            Text(cell.ratio or ""),
            Text(cell.change, style=_TONES[cell.change]),
        )
    for change in comparison.sizes:
        shown = ["-" if count is None else size(count) for count in (change.first, change.second)]
        grid.add_row(Text(written(change.label, console)), *map(Text, shown), Text(change.ratio or ""))
    console.print(grid)
    for name, first, second in comparison.facts:
        console.print(Text(written(f"{name}: {first} -> {second}", console)), soft_wrap=True)
    worse = sum(cell.change == "worse" for cell in comparison.cells)
    console.print(Text(f"{counted(worse, 'cell')} passed in A and did not in B."))


def _side(line: Line | None, console: Console) -> Text:
    if line is None:
        return Text("-")
    return Text(line.result(ascii_only=console.options.ascii_only), style=COLOURS[line.status])


_TONES: Mapping[Change, str] = {
    "": "",
    "better": "green",
    "worse": "bold red",
    "new": "yellow",
    "gone": "yellow",
    "other": "yellow",
}
