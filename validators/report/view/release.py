"""Decides what `report.md`, `report.html`, `junit.xml` and the console show of a release, in its order.

Names are still those of the model: each report escapes them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from validators.contract import Cell, Reason, Requirement, TensorDiff
from validators.release.manifest import Manifest
from validators.report.view import matrix, notes
from validators.report.view.cells import CellReport, cell_reports, decided, skipped
from validators.report.view.outputs import OutputRow, closest_call, outputs
from validators.report.view.sections import Section, sections
from validators.report.view.tables import comparisons, results
from validators.report.view.text import Name, Table, limit


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """Holds a line of the matrix with its closest call.

    Attributes:
        line: artifact, runtime, device, status, distance.
        cell: None where none was run.
        closest: the comparison that came closest to its tolerance, or went furthest beyond it; None when nothing was
            compared.
        anchor: the id of the row on the page.
    """

    line: matrix.Line
    cell: Cell | None
    closest: TensorDiff | None
    anchor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Holds everything that a report shows of a release, in words that escape nothing yet.

    Attributes:
        headline, summary: the verdict in one word, and how much of what is required was proven, in a phrase.
        requirements: each required cell with the reasons against it.
        matrix: a row for every cell, and for every required one that is missing.
        cells: every cell with its problems, in the manifest's order.
        not_run: the cells that never came to a comparison, by the message that says why.
        outputs: every output that was compared, with a row for each cell.
        tolerances, flips: sentences on each tolerance that was used, and on each decision that changed.
        skipped: why cells did not see sample sets, with the cells.
        split: which artifacts hold a split model's core, in a sentence; empty for none.
        coverage: how far each output varies, in a sentence, and whether that is too little.
        user_code: (label, sentence) for what of the user's was trusted or ran.
        baseline: the comparison with the baseline; None without one.
        results, comparisons: the matrix and the comparisons as tables.
        sections: all that follows, in its order.
    """

    manifest: Manifest
    headline: matrix.Headline
    summary: str
    requirements: tuple[tuple[Requirement, tuple[Reason, ...]], ...]
    matrix: tuple[MatrixRow, ...]
    cells: tuple[CellReport, ...]
    not_run: Mapping[str, Sequence[Cell]]
    outputs: tuple[tuple[str, tuple[OutputRow, ...]], ...]
    tolerances: tuple[str, ...]
    flips: tuple[str, ...]
    skipped: tuple[tuple[str, tuple[Name, ...]], ...]
    split: str
    coverage: Mapping[str, tuple[str, bool]]
    user_code: tuple[tuple[str, str], ...]
    baseline: notes.BaselineView | None
    results: Table
    comparisons: Table
    sections: tuple[Section, ...]


def view(manifest: Manifest) -> View:
    """Decides what the reports of a release show."""
    compared = [(cell, diff) for cell in manifest.cells for diff in cell.diffs]
    tolerances = dict.fromkeys(diff.tolerance for _, diff in compared if diff.tolerance)
    rows, cells = _rows(manifest), tuple(cell_reports(manifest))
    required = manifest.verdict.required
    return View(
        manifest=manifest,
        headline=matrix.headline(manifest.verdict),
        summary=matrix.summary(manifest),
        requirements=tuple((each, matrix.against_requirement(manifest, each)) for each in required),
        matrix=rows,
        cells=cells,
        not_run=matrix.not_run(manifest.cells),
        outputs=tuple(outputs(manifest, [row.line.label for row in rows])),
        tolerances=tuple(f"{limit(each)}: {each.reason}" for each in tolerances),
        flips=tuple(
            f"`{cell.key}`, `{diff.name}` over `{diff.sample_set}`: {decided(diff.decisions)}"
            for cell, diff in compared
            if diff.decisions and diff.decisions.flips
        ),
        skipped=skipped(cells),
        split=matrix.split_note(manifest),
        coverage=notes.coverage(manifest),
        user_code=tuple(notes.user_code(manifest)),
        baseline=notes.baseline(manifest),
        results=results(row.line for row in rows),
        comparisons=comparisons(compared),
        sections=sections(manifest),
    )


def _rows(manifest: Manifest) -> tuple[MatrixRow, ...]:
    cells = {cell.key: cell for cell in manifest.cells}
    return tuple(
        MatrixRow(
            line=line,
            cell=(cell := cells.get(line.label)),
            closest=closest_call(cell.diffs) if cell else None,
            anchor=f"cell-{place}",
        )
        for place, line in enumerate(matrix.build(manifest))
    )
