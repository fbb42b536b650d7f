"""Arranges the comparisons of each output, and the errors of its elements by size."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from validators.compare.error_histogram import PER_DECADE
from validators.contract import Cell, TensorDiff
from validators.release.manifest import Manifest
from validators.report.view.text import Name, Table

_SHOWN = 9  # decades: what lies that far below the largest error is counted in the lowest bin
_HALF_BIN = 0.25  # of a decade: keeps an edge that was rounded in its own decade


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRow:
    """Sums up one cell's comparisons of one output, over all sample sets.

    Attributes:
        cell: the cell.
        closest: the comparison nearest to its tolerance.
        elements, failing, equal: summed over the sets.
        bins: (lower end of the bin, count) of the errors, summed over the sets; those far below the largest are
            counted in the lowest bin that is shown.
        diffs: one for each set.
    """

    cell: Cell
    closest: TensorDiff
    elements: int
    failing: int
    equal: int
    bins: tuple[tuple[float, int], ...]
    diffs: tuple[TensorDiff, ...]

    @property
    def agreement(self) -> str:
        """Gives the shares of decisions whose first, and whose first k entries, hold the reference's."""
        known = [diff.decisions for diff in self.diffs if diff.decisions]
        if not (compared := sum(each.compared for each in known)):
            return "-"
        return " / ".join(
            f"{sum(hits) / compared:.2%}" for hits in zip(*((d.top1, d.topk) for d in known), strict=True)
        )

    @property
    def flips(self) -> str:
        """Counts the decisions that changed."""
        known = [diff.decisions for diff in self.diffs if diff.decisions]
        return str(sum(each.compared - each.top1 for each in known)) if known else "-"


def outputs(manifest: Manifest, order: Sequence[str]) -> Iterator[tuple[str, tuple[OutputRow, ...]]]:
    """Yields each output that was compared, with a row for every cell that did.

    Args:
        manifest: the release.
        order: the keys of the cells as the matrix has them.
    """
    known = [spec.name for spec in manifest.model.signature.outputs]
    for name in dict.fromkeys([*known, *(diff.name for cell in manifest.cells for diff in cell.diffs)]):
        rows = {}
        for cell in manifest.cells:
            if diffs := tuple(diff for diff in cell.diffs if diff.name == name):
                rows[cell.key] = _output_row(cell, diffs)
        if rows:
            yield name, tuple(rows[key] for key in order if key in rows)


def _output_row(cell: Cell, diffs: tuple[TensorDiff, ...]) -> OutputRow:
    histograms = [diff.errors for diff in diffs if diff.errors]
    largest = max((errors.first + len(errors.counts) for errors in histograms if errors.counts), default=0)
    bins: dict[int, int] = {}
    for errors in histograms:
        for place, count in enumerate(errors.counts, errors.first):
            shown = max(place, largest - _SHOWN * PER_DECADE)
            bins[shown] = bins.get(shown, 0) + count
    closest = closest_call(diffs)
    assert closest is not None  # noqa: S101 - there is a comparison
    return OutputRow(
        cell=cell,
        closest=closest,
        elements=sum(diff.elements for diff in diffs),
        failing=sum(diff.failing for diff in diffs),
        equal=sum(errors.equal for errors in histograms),
        bins=tuple((10 ** (place / PER_DECADE), count) for place, count in sorted(bins.items()) if count),
        diffs=diffs,
    )


def closest_call(diffs: Sequence[TensorDiff]) -> TensorDiff | None:
    """Finds the comparison nearest to its tolerance; one that failed comes before any that passed."""
    return max(diffs, key=lambda diff: (not diff.passed, _share(diff)), default=None)


def _share(diff: TensorDiff) -> float:
    """Gives the distance as a share of the absolute tolerance; 0 for exact comparisons."""
    if diff.max_abs is None or diff.tolerance is None or not diff.tolerance.atol:
        return 0.0
    return diff.max_abs / diff.tolerance.atol


def errors_by_size(rows: Sequence[OutputRow]) -> Table:
    """Counts the elements of each row by the decade of their error."""
    counts: list[dict[int, int]] = []
    for row in rows:
        decades: dict[int, int] = {}
        for edge, count in row.bins:
            exponent = math.floor(math.log10(edge) + _HALF_BIN)
            decades[exponent] = decades.get(exponent, 0) + count
        counts.append(decades)
    used = {exponent for decades in counts for exponent in decades}
    columns = range(min(used), max(used) + 1) if used else range(0)
    return Table(
        columns=(("cell", "keep"), ("equal", "number"), *((f"1e{exponent:+03d}", "number") for exponent in columns)),
        rows=tuple(
            (Name(row.cell.key), f"{row.equal:,}", *(f"{decades.get(exponent, 0):,}" for exponent in columns))
            for row, decades in zip(rows, counts, strict=True)
        ),
    )
