"""The gate: all cells and artifacts in, one verdict out. It fails closed.

In: every cell that ran or could not run, every artifact, what the policy requires, the sample sets and outputs that
there are to compare, and the digests that do not hold. Out: a `Verdict` that passes only when there is no reason
against it. Pure: no I/O, no logging, no clock.

A reason stands against the release when

* there are no cells, or nothing is required (`empty report`);
* a file's digest does not match (`digest mismatch`);
* any cell failed, required or not: it ran and contradicts equality (the cell's own reason);
* any cell says it passed and its own record contradicts it: it ran elsewhere than asked or nowhere (`wrong device`),
  compared nothing (`nothing compared`), carries a difference that did not pass (`inconsistent cell`), lacks an output
  over a sample set that it does not name as skipped, or names all as skipped (`incomplete cell`), or belongs to no
  exported artifact (`unknown artifact`);
* a variant of a required (format, runtime, device) is `errored`, `unavailable` or `limited` there, or was exported and
  has no cell there; or the format has no artifact at all (`missing required cell`);
* an artifact was exported, required or not, and no cell proves it (`unproven artifact`): it would ship all the same.

Two things are tolerated. What never ran without being required, as long as another cell proves the artifact. And a
variant that is `limited` where a sibling variant is proven, in the same runtime on the same device: a recurrent model
becomes TF Lite only with a batch of one, and that copy proves the format.
"""

import itertools
from collections.abc import Iterator, Sequence

from exporters.contract import Artifact
from validators.compare import NOTHING
from validators.contract import Cell, Reason, Requirement, Verdict

EMPTY = "empty report"
DIGEST = "digest mismatch"
MISSING = "missing required cell"
DEVICE = "wrong device"
INCONSISTENT = "inconsistent cell"
INCOMPLETE = "incomplete cell"
UNKNOWN = "unknown artifact"
UNPROVEN = "unproven artifact"

_NEVER_RAN = ("errored", "unavailable", "limited")
_RAN = ("passed", "failed")
_MOST_NAMED = 4


def judge(  # noqa: PLR0913 - each is a fact of its own that the verdict rests on, and is named at every call
    *,
    cells: Sequence[Cell],
    artifacts: Sequence[Artifact],
    required: Sequence[Requirement],
    sample_sets: Sequence[str],
    outputs: Sequence[str],
    digest_problems: Sequence[str] = (),
) -> Verdict:
    """Decides whether the release goes out.

    Args:
        cells: in any order; the verdict does not depend on it.
        artifacts: one record for each variant, exported or not.
        required: what the policy demands.
        sample_sets: names of all sets of the evidence.
        outputs: canonical names of all outputs of the model.
        digest_problems: one sentence for each file whose digest does not match, or that is missing or extra.

    Returns:
        The verdict with its reasons in a stable order: the report as a whole, the digests, each requirement in the
        policy's order, then the remaining cells and artifacts by name.
    """
    cells = sorted(cells, key=lambda cell: (cell.format, cell.variant, cell.runtime, cell.device))
    artifacts = sorted(artifacts, key=lambda artifact: (artifact.format, artifact.variant))
    exported = {artifact.key for artifact in artifacts if artifact.status == "exported"}
    wanted = tuple(itertools.product(sample_sets, outputs))
    contradictions = {id(cell): _contradiction(cell, exported, wanted) for cell in cells}
    proven = [cell for cell in cells if cell.status == "passed" and contradictions[id(cell)] is None]

    reasons = list(_empty(cells, required))
    reasons += [Reason(code=DIGEST, subject="release", message=problem) for problem in digest_problems]
    for requirement in required:
        reasons += _unmet(requirement, cells=cells, artifacts=artifacts, proven=proven)
    reasons += [reason for reason in contradictions.values() if reason]
    reasons += _unproven(artifacts, cells=cells, proven=proven, said=tuple(reason.subject for reason in reasons))
    reasons = list(dict.fromkeys(reasons))
    return Verdict(passed=not reasons, reasons=tuple(reasons), required=tuple(required))


def _empty(cells: Sequence[Cell], required: Sequence[Requirement]) -> Iterator[Reason]:
    if not cells:
        yield Reason(code=EMPTY, subject="release", message="no cell was run, so nothing is proven")
    if not required:
        yield Reason(code=EMPTY, subject="policy", message="the policy requires no cell, so nothing would be proven")


def _contradiction(cell: Cell, exported: set[str], wanted: Sequence[tuple[str, str]]) -> Reason | None:
    """Why this cell stands against the release by itself: it failed, or its own record belies that it passed."""
    if cell.status == "failed":
        return Reason(code=cell.reason or "failed", subject=cell.key, message=_sentence(cell.message, "it failed"))
    if cell.status != "passed":
        return None
    code, message = _belied(cell, exported)
    if not code and (lacking := _lacking(cell, wanted)):
        code, message = INCOMPLETE, f"the cell says it passed, but {lacking}"
    return Reason(code=code, subject=cell.key, message=message) if code else None


def _belied(cell: Cell, exported: set[str]) -> tuple[str, str]:
    """What in the record of a cell that says it passed speaks against it; two empty strings when nothing does."""
    artifact = f"{cell.format}/{cell.variant}"
    if artifact not in exported:
        return UNKNOWN, f"the cell says it passed, but {artifact} is not among the exported artifacts"
    if cell.placement is None:
        return DEVICE, f"asked for {cell.device}, and the cell does not say where it ran"
    if cell.placement.device != cell.device:
        return DEVICE, f"asked for {cell.device}, the cell ran on {cell.placement.device} ({cell.placement.adapter})"
    for diff in cell.diffs:
        if not diff.passed or diff.failing or diff.nonfinite_mismatches:
            why = diff.message or f"{diff.failing} of {diff.elements} elements fail"
            return INCONSISTENT, f"the cell says it passed, but over `{diff.sample_set}` it did not: {why}"
    if not cell.diffs or any(diff.elements < 1 for diff in cell.diffs):
        return NOTHING, "the cell says it passed, but it compared nothing, or nothing of some output"
    return "", ""


def _lacking(cell: Cell, wanted: Sequence[tuple[str, str]]) -> str:
    """Which (sample set, output) a cell left out without saying so; empty when it covers what it has to."""
    wanted = [(sample_set, output) for sample_set, output in wanted if sample_set not in cell.skipped]
    if not wanted:
        return "it was held against no sample set of the evidence"
    seen = {(diff.sample_set, diff.name) for diff in cell.diffs}
    lacks = [f"`{output}` over `{sample_set}`" for sample_set, output in wanted if (sample_set, output) not in seen]
    more = f" and {len(lacks) - _MOST_NAMED} more" if len(lacks) > _MOST_NAMED else ""
    return f"it lacks {', '.join(lacks[:_MOST_NAMED])}{more}" if lacks else ""


def _unmet(
    requirement: Requirement, *, cells: Sequence[Cell], artifacts: Sequence[Artifact], proven: Sequence[Cell]
) -> Iterator[Reason]:
    """Why one requirement is not met, variant by variant; failed and contradicted cells speak for themselves."""
    mine = [cell for cell in cells if _answers(cell, requirement)]
    met = any(_answers(cell, requirement) for cell in proven)
    variants = [artifact for artifact in artifacts if artifact.format == requirement.format]
    covered = {cell.variant for cell in mine if cell.status in {*_RAN, *_NEVER_RAN}}
    records: list[Cell | Artifact] = [*mine, *(a for a in variants if a.variant not in covered)]
    explained = met or any(cell.status in _RAN for cell in mine)
    for record in records:
        if record.status in _NEVER_RAN and not (record.status == "limited" and met):
            explained = True
            yield _stopped(record)
        elif record.status == "exported":
            explained = True
            subject = f"{record.key} {requirement.runtime} {requirement.device}"
            yield Reason(code=MISSING, subject=subject, message="the policy requires this cell: it was not run")
    if not explained:
        message = f"the policy requires this cell: no {requirement.format} artifact was exported"
        yield Reason(code=MISSING, subject=str(requirement), message=message)


def _unproven(
    artifacts: Sequence[Artifact], *, cells: Sequence[Cell], proven: Sequence[Cell], said: Sequence[str]
) -> Iterator[Reason]:
    """Exported artifacts without any cell that proves them, where nothing was said of the artifact or its cells yet."""
    known = {(cell.format, cell.variant) for cell in proven}
    for artifact in artifacts:
        named = any(subject == artifact.key or subject.startswith(f"{artifact.key} ") for subject in said)
        if artifact.status != "exported" or named or (artifact.format, artifact.variant) in known:
            continue
        mine = [cell for cell in cells if (cell.format, cell.variant) == (artifact.format, artifact.variant)]
        found = "; ".join(f"{cell.runtime} {cell.device} is {cell.status}: {_why(cell)}" for cell in mine)
        broken = any(cell.status == "errored" for cell in mine)
        message = f"this artifact was exported, and no cell proves it: {found or 'no runtime ran it'}"
        yield Reason(code=UNPROVEN, subject=artifact.key, message=message, broken=broken)


def _answers(cell: Cell, requirement: Requirement) -> bool:
    return (cell.format, cell.runtime, cell.device) == (requirement.format, requirement.runtime, requirement.device)


def _stopped(record: Cell | Artifact) -> Reason:
    """The reason for a cell or an artifact that never came to a comparison."""
    return Reason(
        code=record.status,
        subject=record.key,
        message=_why(record),
        broken=record.status == "errored",
    )


def _why(record: Cell | Artifact) -> str:
    words = (record.reason, record.message) if isinstance(record, Cell) else (record.reason,)
    return _sentence(": ".join(word for word in words if word), f"it is {record.status}")


def _sentence(message: str, otherwise: str) -> str:
    return message or f"{otherwise}, and no cause was recorded"
