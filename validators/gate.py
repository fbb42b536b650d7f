"""The gate: all cells and artifacts in, one verdict out. It fails closed.

In: every cell that ran or could not run, every artifact, what the policy requires, and the digests that do not hold.
Out: a `Verdict` that passes only when there is no reason against it. Pure: no I/O, no logging, no clock.

A reason stands against the release when

* there are no cells, or nothing is required (`empty report`);
* a file's digest does not match (`digest mismatch`);
* any cell failed, required or not: it ran and contradicts equality (the cell's own reason);
* any cell says it passed and its own record contradicts it: it ran elsewhere than asked or nowhere (`wrong device`),
  compared nothing (`nothing compared`), carries a difference that did not pass (`inconsistent cell`), or belongs to
  no exported artifact (`unknown artifact`);
* a required (format, runtime, device) is `errored`, `unavailable`, `limited` or has no cell at all (`missing required
  cell`), or an exported variant of a required format has no cell in any required runtime (the same).

What is errored, unavailable or limited without being required does not stand against a release. A variant that is
`limited` is no reason while a sibling variant passed in the same runtime on the same device: a recurrent model becomes
TF Lite only with a batch of one, and that copy proves the format.
"""

from collections.abc import Iterator, Sequence

from exporters.contract import Artifact
from validators.compare import NOTHING
from validators.contract import Cell, Reason, Requirement, Verdict

EMPTY = "empty report"
DIGEST = "digest mismatch"
MISSING = "missing required cell"
DEVICE = "wrong device"
INCONSISTENT = "inconsistent cell"
UNKNOWN = "unknown artifact"


def judge(
    *,
    cells: Sequence[Cell],
    artifacts: Sequence[Artifact],
    required: Sequence[Requirement],
    digest_problems: Sequence[str] = (),
) -> Verdict:
    """Decides whether the release goes out.

    Args:
        cells: in any order; the verdict does not depend on it.
        artifacts: one record for each variant, exported or not.
        required: what the policy demands.
        digest_problems: one sentence for each file whose digest does not match, or that is missing or extra.

    Returns:
        The verdict with its reasons in a stable order: the report as a whole, the digests, each requirement in the
        policy's order, then the remaining cells and artifacts by name.
    """
    cells = sorted(cells, key=lambda cell: (cell.format, cell.variant, cell.runtime, cell.device))
    artifacts = sorted(artifacts, key=lambda artifact: (artifact.format, artifact.variant))
    exported = {artifact.key for artifact in artifacts if artifact.status == "exported"}
    contradictions = {id(cell): _contradiction(cell, exported) for cell in cells}
    proven = [cell for cell in cells if cell.status == "passed" and contradictions[id(cell)] is None]

    reasons = list(_empty(cells, required))
    reasons += [Reason(code=DIGEST, subject="release", message=problem) for problem in digest_problems]
    for requirement in required:
        reasons += _unmet(requirement, cells=cells, artifacts=artifacts, proven=proven)
    reasons += [reason for reason in contradictions.values() if reason]
    reasons += _unproven(artifacts, cells=cells, required=required)
    reasons = list(dict.fromkeys(reasons))
    return Verdict(passed=not reasons, reasons=tuple(reasons), required=tuple(required))


def _empty(cells: Sequence[Cell], required: Sequence[Requirement]) -> Iterator[Reason]:
    if not cells:
        yield Reason(code=EMPTY, subject="release", message="no cell was run, so nothing is proven")
    if not required:
        yield Reason(code=EMPTY, subject="policy", message="the policy requires no cell, so nothing would be proven")


def _contradiction(cell: Cell, exported: set[str]) -> Reason | None:
    """Why this cell stands against the release by itself: it failed, or its own record belies that it passed."""
    if cell.status == "failed":
        return Reason(code=cell.reason or "failed", subject=cell.key, message=_sentence(cell.message, "it failed"))
    if cell.status != "passed":
        return None
    code, message = _belied(cell, exported)
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


def _unmet(
    requirement: Requirement, *, cells: Sequence[Cell], artifacts: Sequence[Artifact], proven: Sequence[Cell]
) -> Iterator[Reason]:
    """Why one requirement is not met; failed and contradicted cells speak for themselves elsewhere."""
    mine = [cell for cell in cells if _answers(cell, requirement)]
    met = any(_answers(cell, requirement) for cell in proven)
    variants = {cell.variant for cell in mine}
    not_run = [a for a in artifacts if a.format == requirement.format and a.variant not in variants]
    records: list[Cell | Artifact] = [*mine, *not_run]
    explained = False
    for record in records:
        if record.status == "limited" and met:
            continue
        if record.status in {"errored", "unavailable", "limited"}:
            explained = True
            yield _stopped(record)
    if not met and not explained and not any(cell.status in {"passed", "failed"} for cell in mine):
        formats = {artifact.format for artifact in artifacts if artifact.status == "exported"}
        why = "it was not run" if requirement.format in formats else f"no {requirement.format} artifact was exported"
        yield Reason(code=MISSING, subject=str(requirement), message=f"the policy requires this cell: {why}")


def _unproven(
    artifacts: Sequence[Artifact], *, cells: Sequence[Cell], required: Sequence[Requirement]
) -> Iterator[Reason]:
    """Exported variants of required formats that no required runtime ever saw: copies that nobody proved."""
    for artifact in artifacts:
        mine = [cell for cell in cells for r in required if _answers(cell, r) and cell.format == artifact.format]
        if artifact.status == "exported" and mine and all(cell.variant != artifact.variant for cell in mine):
            message = "this variant was exported, but no required runtime ran it"
            yield Reason(code=MISSING, subject=artifact.key, message=message)


def _answers(cell: Cell, requirement: Requirement) -> bool:
    return (cell.format, cell.runtime, cell.device) == (requirement.format, requirement.runtime, requirement.device)


def _stopped(record: Cell | Artifact) -> Reason:
    """The reason for a cell or an artifact that never came to a comparison."""
    words = (record.reason, record.message) if isinstance(record, Cell) else (record.reason,)
    message = ": ".join(word for word in words if word)
    return Reason(
        code=record.status,
        subject=record.key,
        message=_sentence(message, f"it is {record.status}"),
        broken=record.status == "errored",
    )


def _sentence(message: str, otherwise: str) -> str:
    return message or f"{otherwise}, and no cause was recorded"
