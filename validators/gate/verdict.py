"""Decides whether a release goes out: all cells and artifacts in, one verdict out. The gate fails closed.

In: a manifest (cells, artifacts, policy, samples, baseline), what attestations add, and the digests that do not hold.
Out: a `Verdict` that passes only when there is no reason against it. Pure: no I/O, no logging, no clock.

The release is refused when

* there are no cells, or nothing is required (`empty report`);
* a file's digest does not match (`digest mismatch`);
* an exported artifact stores another weight than the original's and its precision does not declare it (`weights
  differ`), or the weights were not compared (`weights unchecked`);
* any cell failed, required or not: it ran and its outputs differ (the reason is the cell's);
* any cell says it passed and its record contradicts that: it ran on another device than asked for or on none, or on a
  software adapter where the policy demands a card (`wrong device`); it
  compared nothing (`nothing compared`); it carries a difference that did not pass (`inconsistent cell`); it lacks an
  output over a sample set that it had to be fed, skips a set without a valid reason, or counts another number of rows
  than it was fed (`incomplete cell`); or it belongs to no exported artifact (`unknown artifact`);
* a variant of a required (format or variant, runtime, device) is `errored`, `unavailable` or `limited` there, or was
  exported and has no cell there; or there is no such artifact at all (`missing required cell`);
* an artifact was exported, required or not, and no cell proves it (`unproven artifact`): it would ship anyway;
* the policy demands a cell from another machine, and no attestation proves it for every exported variant (`awaiting
  attestation`);
* an output barely varies over all samples, and the policy says that this refuses (`weak evidence`);
* the task metric of a cell over the user's labels is further below the original's than the policy allows, or the
  policy sets a margin and there are no labels that a metric fits, or no time for all of them in any cell of an artifact
  (`worse at the task`);
* a figure is worse than the baseline allows (`validators.gate.regressions`).

A reason about a cell is set aside as long as a waiver for that cell holds (`validators.gate.waivers`).

Cells from attestations are judged like those of the release: one that failed on any machine refuses the release. A
cell that could not run on one machine is ignored once another attestation ran it.

A cell may skip a sample set, or stop between two calls, when there is no time left. It may also skip a set where the
artifact's batch, or any axis of a static variant, is fixed and differs from the set's. At least one call of one set is
always due.

Two things are tolerated. First, a cell that never ran and is not required, as long as another cell proves the artifact.
Second, a variant that is `limited` where another variant of the format is proven, in the same runtime on the same
device: a recurrent model becomes TF Lite only with a batch of one, and that copy proves the format.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date

from exporters.contract import Artifact
from validators.contract import Cell, Reason, Requirement, Verdict
from validators.gate.checked_cells import CheckedCells
from validators.gate.evidence_quality import unmeasured, weak, worse_at_task
from validators.gate.regressions import regressions
from validators.gate.waivers import Violation, apply_waivers, cell_violation, requirement_violation, subject_violation
from validators.gate.weight_reasons import weight_violations
from validators.release.attestations import Attestation, AttestedCells, AttestedWaiver
from validators.release.manifest import Manifest

EMPTY = "empty report"
DIGEST = "digest mismatch"
MISSING = "missing required cell"
UNPROVEN = "unproven artifact"
AWAITING = "awaiting attestation"
APPROVAL = "awaiting approval"

NOT_ATTESTED = "the policy demands this cell from another machine: no attestation has it yet"

_NEVER_RAN = ("errored", "unavailable", "limited")
_RAN = ("passed", "failed")


def judge(
    manifest: Manifest, attestations: Sequence[Attestation] = (), *, problems: Sequence[str] = (), today: date
) -> Verdict:
    """Decides whether a release goes out.

    Args:
        manifest: of the release; its `verdict` and `files` are not read, and the order of cells does not matter.
        attestations: whose cells and waivers count; `validators.gate.approvals` applies the decisions of people later.
        problems: one sentence for each file whose digest does not match, or that is missing or extra.
        today: the day, UTC, that decides which waivers are in force.

    Returns:
        The verdict with its reasons in a stable order: the report as a whole, the digests, each requirement in the
        policy's order, then the remaining cells and artifacts by name.
    """
    policy = manifest.policy
    cells = sorted(manifest.cells, key=lambda cell: (cell.format, cell.variant, cell.runtime, cell.device))
    artifacts = sorted(manifest.artifacts, key=lambda artifact: (artifact.format, artifact.variant))
    attested_cells = [cell for each in attestations if isinstance(each, AttestedCells) for cell in each.cells]
    released, attested = CheckedCells.of(cells, manifest), CheckedCells.of(_conclusive(attested_cells), manifest)
    waivers = (*policy.waivers, *(each.waiver for each in attestations if isinstance(each, AttestedWaiver)))

    violations = [Violation(reason=reason) for reason in _empty(cells, policy.required)]
    violations += [Violation(reason=Reason(code=DIGEST, subject="release", message=each)) for each in problems]
    violations += [Violation(reason=reason) for reason in weight_violations(artifacts)]
    for requirement in policy.required:
        unmet = _unmet(requirement, judged=released, artifacts=artifacts)
        violations += [requirement_violation(requirement, reason) for reason in unmet]
    for requirement in policy.elsewhere:
        unmet = _unmet(requirement, judged=attested, artifacts=artifacts)
        violations += [requirement_violation(requirement, _awaited(reason)) for reason in unmet]
    violations += [cell_violation(cell, reason) for cell, reason in (*released.contradicted, *attested.contradicted)]
    violations += _quality_violations(manifest, cells, attested.cells)
    standing, waived = apply_waivers(violations, waivers, today=today)
    named = tuple(reason.subject for reason in standing if reason.code != AWAITING)
    unproven = _unproven(artifacts, cells=cells, proven=(*released.proven, *attested.proven), named=named)
    # Regressions do not count as named: a regression of an artifact must not hide that no cell proves it.
    regressed = map(subject_violation, regressions(manifest.baseline))
    worse, worse_and_waived = apply_waivers(regressed, waivers, today=today)
    reasons = tuple(dict.fromkeys((*standing, *unproven, *worse)))
    return Verdict(
        passed=not reasons,
        reasons=reasons,
        required=(*policy.required, *policy.elsewhere),
        waived=(*waived, *worse_and_waived),
    )


def _quality_violations(manifest: Manifest, cells: Sequence[Cell], attested: Sequence[Cell]) -> Iterator[Violation]:
    """Yields violations for weak evidence and for the task metric, as far as the policy asks for them."""
    policy, task = manifest.policy, manifest.grounds.task
    if policy.weak_evidence == "refuse":
        yield from (Violation(reason=reason) for reason in weak(manifest.grounds))
    if policy.task_margin is None:
        return
    yield from (Violation(reason=reason) for reason in unmeasured(task, cells))
    for cell in (*cells, *attested):
        if reason := worse_at_task(cell, task, policy.task_margin):
            yield cell_violation(cell, reason)


def _conclusive(attested: Sequence[Cell]) -> list[Cell]:
    """Returns the attested cells that count: where a cell ran on any machine, only its runs."""
    ordered = sorted(attested, key=lambda cell: (cell.format, cell.variant, cell.runtime, cell.device))
    ran = {cell.key for cell in ordered if cell.status in _RAN}
    return [cell for cell in ordered if cell.status in _RAN or cell.key not in ran]


def _awaited(reason: Reason) -> Reason:
    """Turns a missing attested cell into an awaited one: nothing is wrong yet, and nothing is proven."""
    if reason.code not in {MISSING, "unavailable"}:
        return reason
    message = f"no attestation proves this cell yet: {reason.message}" if reason.code == "unavailable" else NOT_ATTESTED
    return replace(reason, code=AWAITING, message=message)


def _empty(cells: Sequence[Cell], required: Sequence[Requirement]) -> Iterator[Reason]:
    if not cells:
        yield Reason(code=EMPTY, subject="release", message="no cell was run, so nothing is proven")
    if not required:
        yield Reason(code=EMPTY, subject="policy", message="the policy requires no cell, so nothing would be proven")


def _unmet(requirement: Requirement, *, judged: CheckedCells, artifacts: Sequence[Artifact]) -> Iterator[Reason]:
    """Yields reasons why a requirement is not met, by variant; failed and contradicted cells have reasons already."""
    matching = [cell for cell in judged.cells if requirement.asks_for(cell)]
    # Another variant proves the format where the target cannot express this one; a requirement of one variant has none.
    met = any(requirement.asks_for(cell) for cell in judged.proven)
    variants = [artifact for artifact in artifacts if requirement.covers(artifact.key)]
    covered = {cell.variant for cell in matching if cell.status in {*_RAN, *_NEVER_RAN}}
    records: list[Cell | Artifact] = [*matching, *(a for a in variants if a.variant not in covered)]
    explained = met or any(cell.status in _RAN for cell in matching)
    for record in records:
        if record.status in _NEVER_RAN and not (record.status == "limited" and met):
            explained = True
            yield _never_compared(record)
        elif record.status == "exported":
            explained = True
            subject = f"{record.key} {requirement.runtime} {requirement.device}"
            yield Reason(code=MISSING, subject=subject, message="the policy requires this cell: it was not run")
    if not explained:
        message = f"the policy requires this cell: no {requirement.artifacts} artifact was exported"
        yield Reason(code=MISSING, subject=str(requirement), message=message)


def _unproven(
    artifacts: Sequence[Artifact], *, cells: Sequence[Cell], proven: Sequence[Cell], named: Sequence[str]
) -> Iterator[Reason]:
    """Yields a reason for each exported artifact that no cell proves, unless another reason names it already."""
    known = {(cell.format, cell.variant) for cell in proven}
    for artifact in artifacts:
        has_reason = any(subject == artifact.key or subject.startswith(f"{artifact.key} ") for subject in named)
        if artifact.status != "exported" or has_reason or (artifact.format, artifact.variant) in known:
            continue
        matching = [cell for cell in cells if (cell.format, cell.variant) == (artifact.format, artifact.variant)]
        found = "; ".join(f"{cell.runtime} {cell.device} is {cell.status}: {_why(cell)}" for cell in matching)
        broken = any(cell.status == "errored" for cell in matching)
        message = f"this artifact was exported, and no cell proves it: {found or 'no runtime ran it'}"
        yield Reason(code=UNPROVEN, subject=artifact.key, message=message, broken=broken)


def _never_compared(record: Cell | Artifact) -> Reason:
    """Returns the reason for a cell or an artifact that was never compared."""
    return Reason(
        code=record.status,
        subject=record.key,
        message=_why(record),
        broken=record.status == "errored",
    )


def _why(record: Cell | Artifact) -> str:
    words = (record.reason, record.message) if isinstance(record, Cell) else (record.reason,)
    return ": ".join(word for word in words if word) or f"it is {record.status}, and no cause was recorded"
