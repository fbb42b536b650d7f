"""Checks each cell by itself: it failed, or its record contradicts that it passed.

In: cells and the manifest that they belong to. Out: `CheckedCells`, from which `validators.gate.verdict` decides. Pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from exporters.contract import Artifact
from exporters.errors import BadInput
from validators.compare.outputs import NOTHING
from validators.contract import Cell, Gpu, Reason, SampleSet
from validators.release.manifest import Manifest
from validators.runtimes.registry import ORIGINAL
from validators.samples import misfit

DEVICE = "wrong device"
INCONSISTENT = "inconsistent cell"
INCOMPLETE = "incomplete cell"
UNKNOWN = "unknown artifact"

_MOST_NAMED = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedCells:
    """Holds cells, each checked by itself.

    Attributes:
        cells: all of them.
        proven: those that passed and whose record does not contradict it.
        contradicted: those that failed or whose record contradicts that they passed, each with the reason.
    """

    cells: Sequence[Cell]
    proven: Sequence[Cell]
    contradicted: Sequence[tuple[Cell, Reason]]

    @classmethod
    def of(cls, cells: Sequence[Cell], manifest: Manifest) -> Self:
        looked_at = [(cell, _contradiction(cell, manifest)) for cell in cells]
        return cls(
            cells=cells,
            proven=[cell for cell, reason in looked_at if cell.status == "passed" and reason is None],
            contradicted=[(cell, reason) for cell, reason in looked_at if reason is not None],
        )


def _contradiction(cell: Cell, manifest: Manifest) -> Reason | None:
    """Returns the reason why this cell refuses the release: it failed, or its record contradicts that it passed."""
    if cell.status == "failed":
        message = cell.message or "it failed, and no cause was recorded"
        return Reason(code=cell.reason or "failed", subject=cell.key, message=message)
    if cell.status != "passed":
        return None
    exported = {artifact.key: artifact for artifact in manifest.artifacts if artifact.status == "exported"}
    artifact = exported.get(f"{cell.format}/{cell.variant}")
    sets, outputs = manifest.samples, [output.name for output in manifest.model.signature.outputs]
    if found := _false_pass(cell, artifact, manifest.policy.gpu):
        code, message = found
        return Reason(code=code, subject=cell.key, message=message)
    if lacking := _invalid_skip(cell, artifact, sets) or _incomplete(cell, sets, outputs):
        return Reason(code=INCOMPLETE, subject=cell.key, message=f"the cell says it passed, but {lacking}")
    return None


def _false_pass(cell: Cell, artifact: Artifact | None, gpu: Gpu) -> tuple[str, str] | None:
    """Returns code and message of what contradicts a cell that says it passed; None when nothing does."""
    if artifact is None and cell.format != ORIGINAL:
        key = f"{cell.format}/{cell.variant}"
        return UNKNOWN, f"the cell says it passed, but {key} is not among the exported artifacts"
    if wrong_place := _wrong_place(cell, gpu):
        return DEVICE, wrong_place
    for diff in cell.diffs:
        if not diff.passed or diff.failing or diff.nonfinite_mismatches:
            why = diff.message or f"{diff.failing} of {diff.elements} elements fail"
            return INCONSISTENT, f"the cell says it passed, but over `{diff.sample_set}` it did not: {why}"
    if not cell.diffs or any(diff.elements < 1 for diff in cell.diffs):
        return NOTHING, "the cell says it passed, but it compared nothing, or nothing of some output"
    return None


def _wrong_place(cell: Cell, gpu: Gpu) -> str | None:
    """Returns the reason why the place where a cell ran proves nothing; None when it is the right place."""
    place = cell.placement
    if place is None:
        return f"asked for {cell.device}, and the cell does not say where it ran"
    if place.device != cell.device:
        return f"asked for {cell.device}, the cell ran on {place.device} ({place.adapter})"
    if place.software and gpu == "hardware":
        return f"the policy asks for a real card, the cell ran on a software adapter ({place.adapter})"
    return None


def _invalid_skip(cell: Cell, artifact: Artifact | None, sets: Sequence[SampleSet]) -> str | None:
    """Names a sample set that a cell skipped for its shape although the artifact takes it; None when there is none."""
    for_shape = [each for each in sets if each.name in cell.skipped and cell.skipped[each.name].kind != "too slow"]
    inputs = artifact.signature.inputs if artifact and artifact.signature else ()
    for each in for_shape:
        try:
            other = misfit(cell.variant, inputs, each)
        except BadInput as error:
            return f"it skipped sets for their batch, and {error.message}"
        kind = cell.skipped[each.name].kind
        if other is None or other.kind != kind:
            shape = f"batches of {each.batch}" if kind == "other batch" else "other lengths"
            return f"it skipped `{each.name}`, which has {shape}, although the artifact takes them"
    return None


def _incomplete(cell: Cell, sets: Sequence[SampleSet], outputs: Sequence[str]) -> str | None:
    """Names what a cell had to be fed and was not; None when it covers everything."""
    seen = {(diff.sample_set, diff.name) for diff in cell.diffs}
    # A set that stopped for lack of time is listed as skipped too; for the rows that were fed, every output is due.
    begun = {diff.sample_set for diff in cell.diffs} & cell.unseen.keys()
    full = [each for each in sets if each.name not in cell.skipped]
    partial = [each for each in sets if each.name in begun]
    due = [(each.name, output) for each in sets if each in full or each in partial for output in outputs]
    if not due:
        return "it was compared over no sample set of the evidence"
    if lacks := [f"`{output}` over `{name}`" for name, output in due if (name, output) not in seen]:
        more = f" and {len(lacks) - _MOST_NAMED} more" if len(lacks) > _MOST_NAMED else ""
        return f"it lacks {', '.join(lacks[:_MOST_NAMED])}{more}"
    if one_call := [each for each in partial if each.rows <= each.batch]:
        return f"it stopped within `{one_call[0].name}`, which is a single call"
    # A partial set stopped after its first call at the earliest, before its last one at the latest.
    least = sum(each.rows for each in full) + sum(each.batch for each in partial)
    most = sum(each.rows for each in full) + sum((each.rows - 1) // each.batch * each.batch for each in partial)
    if least <= cell.rows <= most:
        return None
    valid = str(least) if least == most else f"{least} to {most}"
    return f"it counts {cell.rows} rows, and the sets that it was fed have {valid}"
