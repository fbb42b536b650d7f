"""What `paritygate release` ends with: a verdict a person understands at a glance.

In: a manifest and rich's console. Out: lines on the console.
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from validators.contract import Reason
from validators.release.manifest import Manifest
from validators.report import approval_lines as people
from validators.report.cell_table import COLOURS, not_run_lines, table, written
from validators.report.matrix import Headline, mark
from validators.report.view import view
from validators.text import counted

_BANNERS: dict[Headline, str] = {
    "RELEASED": "bold white on green",
    "AWAITING": "bold black on yellow",
    "REFUSED": "bold white on red",
    "BROKEN": "bold white on magenta",
}

_MOST_REASONS = 12
_NUMBERS = "Numbers are the largest distances from Keras."


def render(manifest: Manifest, console: Console, *, release_dir: Path | None = None, digest: str | None = None) -> None:
    """Prints verdict, matrix, reasons, and where the release lies.

    Args:
        manifest: the release.
        console: where to; its width, colours and encoding are respected.
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
    for label, text in people.lines((), (), manifest.verdict.waived):
        console.print(Text(f"{label}  {written(text, console)}", style="yellow"))
    if baseline := manifest.baseline:
        console.print(Text(f"baseline {written(baseline.model, console)} {baseline.digest[:12]}: {baseline.summary}"))
        for (what, why), subjects in baseline.not_compared.items():
            text = f"  {what} not compared for {counted(len(subjects), 'subject')}: {why}"
            console.print(Text(written(text, console), style="dim"))
    console.print()
    places = {"release": str(release_dir or ""), "digest": digest or ""}
    for name, value in places.items():
        if value:  # never wrapped: a person copies it
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
