"""The model behind `report.md`, `report.html` and the console: what each table shows, in its order.

In: a manifest. Out: `view(manifest)`, made once for each report, and rows. Pure; names are still those of the model,
the templates escape them.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from exporters.contract import Artifact, Finding
from exporters.lowering.rewrite_log import REWRITES
from validators.compare.error_histogram import PER_DECADE
from validators.contract import Cell, TensorDiff, Timing, Tolerance
from validators.gate.regressions import format_figure
from validators.gate.weight_reasons import sentence
from validators.gate.weight_reasons import summary as stored
from validators.release.manifest import Manifest
from validators.report.matrix import BATCHES, Headline, Line, build, decided, headline, mark, split_note, summary
from validators.text import counted, number, size

_SHOWN = 9
"""Decades of errors that are told apart: what lies that far below the largest is of no interest."""
_HALF_BIN = 0.25  # of a decade: keeps an edge that was rounded in its own decade


FILTERS: Mapping[str, Callable[..., object]] = {
    "counted": counted,
    "decided": decided,
    "differs": sentence,
    "mark": mark,
    "number": number,
    "said": format_figure,
    "size": size,
    "stored": stored,
}
"""How every template writes numbers and records."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What more than one report shows of a release.

    Attributes:
        manifest: the release itself.
        headline: the verdict in one word.
        summary: how much of what is required was proven, in a phrase.
        matrix: a row for every cell, and for every required one that is missing.
        compared: every comparison with its cell.
        tolerances: each tolerance that was used, once.
        flips: the comparisons with decisions that came out otherwise than in the reference.
        weights: the artifacts whose weights were checked.
        gpu: the cells that ran on a GPU.
        split: which artifacts hold a split model's core, in a sentence; empty for none.
        batches: how the original treats the rows of a batch, in a sentence.
    """

    manifest: Manifest
    headline: Headline
    summary: str
    matrix: "tuple[MatrixRow, ...]"
    compared: tuple[tuple[Cell, TensorDiff], ...]
    tolerances: tuple[Tolerance, ...]
    flips: tuple[tuple[Cell, TensorDiff], ...]
    weights: tuple[Artifact, ...]
    gpu: tuple[Cell, ...]
    split: str
    batches: str


def view(manifest: Manifest) -> View:
    """Decides what the reports of a release show."""
    compared = tuple((cell, diff) for cell in manifest.cells for diff in cell.diffs)
    return View(
        manifest=manifest,
        headline=headline(manifest.verdict),
        summary=summary(manifest),
        matrix=matrix(manifest),
        compared=compared,
        tolerances=tuple(dict.fromkeys(diff.tolerance for _, diff in compared if diff.tolerance)),
        flips=tuple((cell, diff) for cell, diff in compared if diff.decisions and diff.decisions.flips),
        weights=tuple(artifact for artifact in manifest.artifacts if artifact.weights),
        gpu=tuple(cell for cell in manifest.cells if cell.device == "gpu" and cell.placement),
        split=split_note(manifest),
        batches=BATCHES[manifest.grounds.batch],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """A line of the matrix with its closest call.

    Attributes:
        line: artifact, runtime, device, status, distance.
        cell: None where none was run.
        closest: the comparison that came closest to its tolerance, or went furthest beyond it; None when nothing was
            compared.
        anchor: the id of the row on the page.
    """

    line: Line
    cell: Cell | None
    closest: TensorDiff | None
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRow:
    """One cell's comparisons of one output, over all sample sets.

    Attributes:
        cell: the cell.
        closest: the comparison nearest to its tolerance.
        elements, failing, equal, nonfinite: summed over the sets.
        bins: (lower end of the bin, count) of the errors, summed over the sets; those far below the largest are
            counted in the lowest bin that is shown.
        diffs: one for each set.
    """

    cell: Cell
    closest: TensorDiff
    elements: int
    failing: int
    equal: int
    nonfinite: int
    bins: tuple[tuple[float, int], ...]
    diffs: tuple[TensorDiff, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decades:
    """Errors by decade, as the columns of a table.

    Attributes:
        head: (name, class) of each column: the smallest error in it.
        counts: a row for each given row, an entry for each column.
    """

    head: list[tuple[str, str]]
    counts: list[list[int]]


def decades(rows: Sequence[OutputRow]) -> Decades:
    """The bins of several rows, joined to whole decades."""
    found = [{math.floor(math.log10(edge) + _HALF_BIN): 0 for edge, _ in row.bins} for row in rows]
    for row, counts in zip(rows, found, strict=True):
        for edge, count in row.bins:
            counts[math.floor(math.log10(edge) + _HALF_BIN)] += count
    used = {exponent for counts in found for exponent in counts}
    columns = range(min(used), max(used) + 1) if used else range(0)
    return Decades(
        head=[(f"1e{exponent:+03d}", "number") for exponent in columns],
        counts=[[counts.get(exponent, 0) for exponent in columns] for counts in found],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """A cell that ran, with one of its timings; None where every batch was called once."""

    cell: Cell
    timing: Timing | None


def matrix(manifest: Manifest) -> tuple[MatrixRow, ...]:
    """A row for every line of `validators.report.matrix.build`."""
    cells = {cell.key: cell for cell in manifest.cells}
    rows = []
    for place, line in enumerate(build(manifest)):
        cell = cells.get(line.label)
        closest = closest_call(cell.diffs) if cell else None
        rows.append(MatrixRow(line=line, cell=cell, closest=closest, anchor=f"cell-{place}"))
    return tuple(rows)


def closest_call(diffs: Sequence[TensorDiff]) -> TensorDiff | None:
    """The comparison nearest to its tolerance; what could not be compared at all comes before any that could."""
    return max(diffs, key=lambda diff: (not diff.passed, share(diff) or 0.0), default=None)


def share(diff: TensorDiff) -> float | None:
    """How much of the absolute tolerance the distance takes up: 1 is all of it; None for exact comparisons."""
    if diff.max_abs is None or diff.tolerance is None or not diff.tolerance.atol:
        return None
    return diff.max_abs / diff.tolerance.atol


def outputs(manifest: Manifest) -> Iterator[tuple[str, tuple[OutputRow, ...]]]:
    """Yields each output that was compared, with a row for every cell that did."""
    known = [spec.name for spec in manifest.model.signature.outputs]
    names = dict.fromkeys([*known, *(diff.name for cell in manifest.cells for diff in cell.diffs)])
    keys = [row.line.label for row in matrix(manifest)]
    for name in names:
        of_cells = {
            cell.key: _output_row(cell, tuple(diff for diff in cell.diffs if diff.name == name))
            for cell in manifest.cells
            if any(diff.name == name for diff in cell.diffs)
        }
        if of_cells:
            yield name, tuple(of_cells[key] for key in keys if key in of_cells)


def _output_row(cell: Cell, diffs: tuple[TensorDiff, ...]) -> OutputRow:
    counted = [diff.errors for diff in diffs if diff.errors]
    largest = max((errors.first + len(errors.counts) for errors in counted if errors.counts), default=0)
    bins: dict[int, int] = {}
    for errors in counted:
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
        equal=sum(errors.equal for errors in counted),
        nonfinite=sum(errors.nonfinite for errors in counted),
        bins=tuple((10 ** (place / PER_DECADE), count) for place, count in sorted(bins.items()) if count),
        diffs=diffs,
    )


def speeds(manifest: Manifest) -> tuple[SpeedRow, ...]:
    """A row for every timing of every cell that ran, in the order of the matrix."""
    ran = [row.cell for row in matrix(manifest) if row.cell and row.cell.performance]
    return tuple(
        SpeedRow(cell=cell, timing=timing)
        for cell in ran
        for timing in (cell.performance.timings if cell.performance else ()) or (None,)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finding, with all artifacts and cells that have it."""

    finding: Finding
    subjects: tuple[str, ...]


def findings(manifest: Manifest, *, rewrites: bool) -> tuple[Found, ...]:
    """What artifacts and cells brought to light, each once, those that block first.

    Args:
        manifest: the release.
        rewrites: whether only those are wanted that tell what was written otherwise for a target, or all others.
    """
    subjects: list[Artifact | Cell] = [*manifest.artifacts, *manifest.cells]
    found: dict[Finding, list[str]] = {}
    for subject in subjects:
        for each in subject.findings:
            if (each.code.replace("-", "_") in REWRITES) == rewrites:
                found.setdefault(each, []).append(subject.key)
    ranked = sorted(found.items(), key=lambda item: not item[0].blocking)
    return tuple(Found(finding=each, subjects=tuple(keys)) for each, keys in ranked)
