"""Words what happened in each cell: problems, decisions that changed, sample sets that it did not see."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from validators.contract import Cell, Decisions, Reason, TensorDiff
from validators.release.manifest import Manifest
from validators.report.view.matrix import against_cell
from validators.report.view.text import Name, limit, pairs
from validators.text import counted, number


@dataclass(frozen=True, slots=True, kw_only=True)
class CellReport:
    """Holds one cell with what concerns it.

    Attributes:
        cell: the record.
        against: the verdict's reasons that name the cell or a requirement that it should have met.
        waived: the waived reasons that name the cell.
        message: of the cell; empty where a problem repeats it.
        problems: sentences for each comparison that failed.
        unseen: the sample sets that it had no time for, in sentences.
        place: device, runtime, adapter and settings; None where it did not run.
    """

    cell: Cell
    against: tuple[Reason, ...]
    waived: tuple[Reason, ...]
    message: str
    problems: tuple[tuple[str, ...], ...]
    unseen: tuple[str, ...]
    place: str | None


def cell_reports(manifest: Manifest) -> Iterator[CellReport]:
    """Yields every cell of a manifest, in its order."""
    for cell in manifest.cells:
        failed = [diff for diff in cell.diffs if not diff.passed]
        place = cell.placement
        repeated = any(cell.message.startswith(diff.message) for diff in failed)
        settings = filter(None, (place.device, place.runtime, place.where, pairs(place.details))) if place else ()
        yield CellReport(
            cell=cell,
            against=against_cell(manifest, cell),
            waived=tuple(reason for reason in manifest.verdict.waived if reason.subject == cell.key),
            message="" if repeated else cell.message,
            problems=tuple(tuple(_problem(diff)) for diff in failed),
            unseen=tuple(f"No time for `{name}`, {why}" for name, why in cell.unseen.items()),
            place=", ".join(settings) if place else None,
        )


def _problem(diff: TensorDiff) -> Iterator[str]:
    yield f"{diff.problem}, output `{diff.name}` over `{diff.sample_set}`: {diff.message}."
    if diff.elements:
        allowed = (
            f"the tolerance {limit(diff.tolerance)} x the reference's magnitude ({diff.tolerance.reason})"
            if diff.tolerance
            else "what is allowed (an exact comparison)"
        )
        yield f"{diff.failing} of {counted(diff.elements, 'element')} beyond {allowed}."
    if diff.nonfinite_mismatches:
        yield f"{counted(diff.nonfinite_mismatches, 'element')} with another NaN or infinity."
    if diff.worst:
        index = ", ".join(map(str, diff.worst.index))
        yield f"Worst at ({index}): reference {diff.worst.reference}, got {diff.worst.actual}."


def decided(decisions: Decisions) -> str:
    """Counts the decisions that equal the reference's, and names the flips with the largest margins."""
    flips = "; ".join(
        f"[{', '.join(map(str, flip.index))}] {flip.reference} became {flip.actual}, margin {number(flip.margin)}"
        for flip in decisions.flips
    )
    return f"{decisions.top1} of {decisions.compared} came out the same, {counted(decisions.ties, 'tie')}: {flips}"


def skipped(reports: Sequence[CellReport]) -> tuple[tuple[str, tuple[Name, ...]], ...]:
    """Lists why cells did not see sample sets, with the cells, or the artifacts where their shapes are the cause."""
    reasons: dict[str, dict[Name, None]] = {}
    for report in reports:
        cell = report.cell
        for sentence in report.unseen:
            reasons.setdefault(sentence, {})[Name(cell.key)] = None
        if len(cell.skipped) > len(cell.unseen):
            fixed = "An artifact with fixed shapes is fed only the sample sets of these shapes"
            reasons.setdefault(fixed, {})[Name(f"{cell.format}/{cell.variant}")] = None
    return tuple((reason, tuple(keys)) for reason, keys in reasons.items())
