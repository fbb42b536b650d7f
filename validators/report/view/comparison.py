"""Compares two releases: what is better, worse, new or gone in the second.

In: two manifests. Out: a `ComparisonView`, which the console and the page show. It decides nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from validators.contract import Cell
from validators.release.manifest import Manifest
from validators.report.view.matrix import Headline, Line, build, headline

Change = Literal["", "better", "worse", "new", "gone", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellChange:
    """Holds one cell in both releases; a side is None where that release has no such line.

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
        """Compares the status only: a distance that moves within its tolerance is no change for the worse."""
        if self.first is None or self.second is None:
            return "new" if self.first is None else "gone"
        if self.first.status == self.second.status:
            return ""
        if "passed" in {self.first.status, self.second.status}:
            return "better" if self.second.status == "passed" else "worse"
        return "other"

    @property
    def ratio(self) -> str | None:
        """Gives the second's time as a multiple of the first's; None where they cannot be compared."""
        return f"{self.times[2] / self.times[1]:.2f}" if self.times and self.times[1] else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeChange:
    """Holds the bytes of one artifact in both releases; None where one has no such artifact."""

    label: str
    first: int | None
    second: int | None

    @property
    def ratio(self) -> str | None:
        """Gives the second's size as a multiple of the first's; None where one of them is missing."""
        return f"{self.second / self.first:.2f}" if self.first and self.second is not None else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonView:
    """Holds the comparison of two releases.

    Attributes:
        names: their directories.
        verdicts: of the first and of the second, in one word.
        cells: in the order of the second's matrix, then what only the first has.
        sizes: of the model and of every artifact.
        facts: (name, in the first, in the second) of what the two were made from and with, where they differ.
    """

    names: tuple[str, str]
    verdicts: tuple[Headline, Headline]
    cells: tuple[CellChange, ...]
    sizes: tuple[SizeChange, ...]
    facts: tuple[tuple[str, str, str], ...]


def compare_view(names: tuple[str, str], first: Manifest, second: Manifest) -> ComparisonView:
    """Compares two releases, A and B."""
    lines = [{line.label: line for line in build(manifest)} for manifest in (first, second)]
    cells = [{cell.key: cell for cell in manifest.cells} for manifest in (first, second)]
    return ComparisonView(
        names=names,
        verdicts=(headline(first.verdict), headline(second.verdict)),
        cells=tuple(
            CellChange(
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


def _times(first: Cell | None, second: Cell | None) -> tuple[int, float, float] | None:
    sides = [
        {timing.batch: timing for timing in cell.performance.timings} if cell and cell.performance else {}
        for cell in (first, second)
    ]
    common = sorted(set(sides[0]) & set(sides[1]))
    return (common[0], sides[0][common[0]].median, sides[1][common[0]].median) if common else None


def _sizes(first: Manifest, second: Manifest) -> tuple[SizeChange, ...]:
    sides = [
        {"model": manifest.model.size}
        | {artifact.key: artifact.size for artifact in manifest.artifacts if artifact.status == "exported"}
        for manifest in (first, second)
    ]
    return tuple(
        SizeChange(label=label, first=sides[0].get(label), second=sides[1].get(label))
        for label in dict.fromkeys([*sides[1], *sides[0]])
    )


def _facts(first: Manifest, second: Manifest) -> tuple[tuple[str, str, str], ...]:
    sides = [_facts_of(manifest) for manifest in (first, second)]
    names = dict.fromkeys([*sides[1], *sides[0]])
    facts = [(name, sides[0].get(name, "-"), sides[1].get(name, "-")) for name in names]
    return tuple(fact for fact in facts if fact[1] != fact[2])


def _facts_of(manifest: Manifest) -> Mapping[str, str]:
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
