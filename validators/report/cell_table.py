"""Shows cells as lines on a console, and why some did not run. Every status has a mark and a colour."""

from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from validators.contract import Cell, Verdict
from validators.report.view.matrix import Line, mark, not_run
from validators.text import one_line

COLOURS: Mapping[str, str] = {
    "passed": "green",
    "failed": "bold red",
    "errored": "bold magenta",
    "limited": "yellow",
    "unavailable": "yellow",
    "not run": "yellow",
}

_REMARKS = 4
"""Counts the columns before the remarks: result, artifact, runtime and device."""
_GAP = 2
_LEAST_ROOM = 12


def table(lines: Sequence[Line], console: Console) -> Table:
    """Makes a line for each cell: `✓ passed 1.2e-07  onnx/default  onnxruntime  gpu  on box7; H200 (onnxruntime 1.31)`.

    Args:
        lines: with a host, remarks are folded and complete; without any, they are cut at the console's edge, and
            left out where there is too little room for them.
        console: whose width and encoding are respected.
    """
    ascii_only = console.options.ascii_only
    cells = [
        tuple(
            written(text, console)
            for text in (line.result(ascii_only=ascii_only), line.artifact, line.runtime, line.device, line.remarks)
        )
        for line in lines
    ]
    widths = [max((cell_len(cell[column]) for cell in cells), default=0) for column in range(_REMARKS)]
    room = console.width - sum(widths) - _GAP * _REMARKS
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    for _ in widths:
        grid.add_column(overflow="fold")
    if whole := any(line.host for line in lines):
        grid.add_column(overflow="fold")
    elif room >= _LEAST_ROOM:
        grid.add_column(no_wrap=True, overflow="ellipsis", width=room - _GAP, style="dim")
    for line, (result, *names, remarks) in zip(lines, cells, strict=True):
        row = [Text(result, style=COLOURS[line.status]), *map(Text, names)]
        grid.add_row(*row, *([Text(remarks)] if whole or room >= _LEAST_ROOM else []))
    return grid


def not_run_lines(cells: Sequence[Cell], verdict: Verdict, console: Console) -> Iterator[Text]:
    """Yields why some cells did not run, and the way out, once for all that share both.

    Args:
        cells: all of them.
        verdict: its reasons are not repeated.
        console: whose encoding is respected.
    """
    groups = not_run(cells)
    blocked = {reason.subject for reason in verdict.reasons}
    for cell in cells:
        if cell.status == "errored" and cell.key not in blocked:
            groups.setdefault(f"{cell.reason}: {cell.message}", []).append(cell)
    for message, same in groups.items():
        status = same[0].status
        names = ", ".join(dict.fromkeys(f"{cell.runtime} {cell.device}" for cell in same))
        sign = f"{mark(status, ascii_only=console.options.ascii_only)} {status}"
        ways_out = dict.fromkeys(found.way_out for cell in same for found in cell.findings if found.way_out)
        text = "; ".join((message, *(f"way out: {way_out}" for way_out in ways_out)))
        yield Text.assemble((f"{sign}: {written(names, console)}: ", COLOURS[status]), written(text, console))


def written(text: str, console: Console) -> str:
    """Puts a text that is not trusted on one line, in characters that the console can write."""
    line = one_line(text)
    return line.encode("ascii", "backslashreplace").decode() if console.options.ascii_only else line


def say(console: Console, text: str, label: str = "") -> None:
    """Prints a sentence after its label, on one line however narrow the console is."""
    console.print(Text(f"{label}{written(text, console)}"), soft_wrap=True)
