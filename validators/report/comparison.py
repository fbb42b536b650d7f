"""Two releases side by side: what is better, worse, new or gone in the second.

In: two manifests. Out: a `Pair`, and the same as a table on a console. It decides nothing,
whichever of the two is meant to replace the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from validators.contract import Cell, Timing
from validators.release.manifest import Manifest
from validators.report.cell_table import COLOURS, written
from validators.report.matrix import Headline, Line, build, headline
from validators.text import counted, size

Change = Literal["", "better", "worse", "new", "gone", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellPair:
    """One cell in both releases; a side is None where that release has no such line.

    Attributes:
        label: `format/variant runtime device`.
        first, second: the lines of the matrix.
        times: medians in seconds of the smallest batch that both timed, and that batch; None where there is none.
    """

    label: str
    first: Line | None
    second: Line | None
    times: tuple[int, float, float] | None

    @property
    def change(self) -> Change:
        """By the status alone: a distance that moves within its tolerance is no change for the worse."""
        if self.first is None or self.second is None:
            return "new" if self.first is None else "gone"
        if self.first.status == self.second.status:
            return ""
        if "passed" in {self.first.status, self.second.status}:
            return "better" if self.second.status == "passed" else "worse"
        return "other"

    @property
    def ratio(self) -> str | None:
        """The second's time as a multiple of the first's; None where they cannot be compared."""
        return f"{self.times[2] / self.times[1]:.2f}" if self.times and self.times[1] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SizePair:
    """The bytes of one artifact in both releases; None where one has no such artifact."""

    label: str
    first: int | None
    second: int | None

    @property
    def ratio(self) -> str | None:
        """The second's size as a multiple of the first's; None where one of them is missing."""
        return f"{self.second / self.first:.2f}" if self.first and self.second is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two releases.

    Attributes:
        names: what to call them: their directories.
        verdicts: of the first and of the second, in one word.
        cells: in the order of the second's matrix, then what only the first has.
        sizes: of the model and of every artifact.
        facts: (name, in the first, in the second) of what the two were made from and with, where they differ.
    """

    names: tuple[str, str]
    verdicts: tuple[Headline, Headline]
    cells: tuple[CellPair, ...]
    sizes: tuple[SizePair, ...]
    facts: tuple[tuple[str, str, str], ...]


def pair(names: tuple[str, str], first: Manifest, second: Manifest) -> Pair:
    """Puts two releases side by side."""
    lines = [{line.label: line for line in build(manifest)} for manifest in (first, second)]
    cells = [{cell.key: cell for cell in manifest.cells} for manifest in (first, second)]
    return Pair(
        names=names,
        verdicts=(headline(first.verdict), headline(second.verdict)),
        cells=tuple(
            CellPair(
                label=label,
                first=lines[0].get(label),
                second=lines[1].get(label),
                times=_times(cells[0].get(label), cells[1].get(label)),
            )
            for label in dict.fromkeys([*lines[1], *lines[0]])
        ),
        sizes=_sizes(first, second),
        facts=_facts(first, second),
    )


def render(two: Pair, console: Console) -> None:
    """Prints the cells of two releases side by side, and what differs of all else."""
    for letter, name, verdict in zip("AB", two.names, two.verdicts, strict=True):
        console.print(Text.assemble((f"{letter} ", "bold"), written(f"{name}: {verdict}", console)), soft_wrap=True)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_row("", *(Text(each, style="bold") for each in ("A", "B", "size or time, B / A")))
    for cell in two.cells:
        sides = [_side(line, console) for line in (cell.first, cell.second)]
        grid.add_row(
            Text(written(cell.label, console)),
            *sides,
            Text(cell.ratio or ""),
            Text(cell.change, style=_TONES[cell.change]),
        )
    for each in two.sizes:
        shown = ["-" if count is None else size(count) for count in (each.first, each.second)]
        grid.add_row(Text(written(each.label, console)), *map(Text, shown), Text(each.ratio or ""))
    console.print(grid)
    for name, first, second in two.facts:
        console.print(Text(written(f"{name}: {first} -> {second}", console)), soft_wrap=True)
    worse = sum(cell.change == "worse" for cell in two.cells)
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


def _times(first: Cell | None, second: Cell | None) -> tuple[int, float, float] | None:
    sides = [
        {timing.batch: timing for timing in cell.performance.timings} if cell and cell.performance else {}
        for cell in (first, second)
    ]
    common: list[tuple[int, Timing, Timing]] = [
        (batch, sides[0][batch], sides[1][batch]) for batch in sorted(set(sides[0]) & set(sides[1]))
    ]
    return next(((batch, a.median, b.median) for batch, a, b in common), None)


def _sizes(first: Manifest, second: Manifest) -> tuple[SizePair, ...]:
    sides = [
        {"model": manifest.model.size}
        | {artifact.key: artifact.size for artifact in manifest.artifacts if artifact.status == "exported"}
        for manifest in (first, second)
    ]
    return tuple(
        SizePair(label=label, first=sides[0].get(label), second=sides[1].get(label))
        for label in dict.fromkeys([*sides[1], *sides[0]])
    )


def _facts(first: Manifest, second: Manifest) -> tuple[tuple[str, str, str], ...]:
    sides = [_told(manifest) for manifest in (first, second)]
    names = dict.fromkeys([*sides[1], *sides[0]])
    told = [(name, sides[0].get(name, "-"), sides[1].get(name, "-")) for name in names]
    return tuple(fact for fact in told if fact[1] != fact[2])


def _told(manifest: Manifest) -> Mapping[str, str]:
    return {
        "verdict": headline(manifest.verdict),
        "made": manifest.created,
        "model": manifest.model.name,
        "model SHA-256": manifest.model.digest,
        "parameters": f"{manifest.model.parameters:,}",
        "machine": manifest.platform,
        "paritygate": manifest.paritygate,
        "required cells": ", ".join(map(str, manifest.verdict.required)),
        "samples": ", ".join(f"{each.name} ({each.rows} rows)" for each in manifest.samples),
        **manifest.toolchain,
    }
