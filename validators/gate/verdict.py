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
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

from exporters.contract import Artifact
from exporters.errors import BadInput
from validators.compare.outputs import NOTHING
from validators.contract import Cell, Gpu, Reason, Requirement, SampleSet, Verdict
from validators.gate.evidence_quality import unmeasured, weak, worse_at_task
from validators.gate.regressions import regressions
from validators.gate.waivers import Violation, apply_waivers, cell_violation, requirement_violation, subject_violation
from validators.gate.weight_reasons import weight_violations
from validators.release.attestations import Attestation, AttestedCells, AttestedWaiver
from validators.release.manifest import Manifest
from validators.runtimes.registry import ORIGINAL
from validators.samples import misfit

EMPTY = "empty report"
DIGEST = "digest mismatch"
MISSING = "missing required cell"
DEVICE = "wrong device"
INCONSISTENT = "inconsistent cell"
INCOMPLETE = "incomplete cell"
UNKNOWN = "unknown artifact"
UNPROVEN = "unproven artifact"
AWAITING = "awaiting attestation"
APPROVAL = "awaiting approval"

NOT_ATTESTED = "the policy demands this cell from another machine: no attestation has it yet"

_NEVER_RAN = ("errored", "unavailable", "limited")
_RAN = ("passed", "failed")
_MOST_NAMED = 4


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
    released, attested = _CheckedCells.of(cells, manifest), _CheckedCells.of(_conclusive(attested_cells), manifest)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _CheckedCells:
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


def _contradiction(cell: Cell, manifest: Manifest) -> Reason | None:
    """Returns the reason why this cell refuses the release: it failed, or its record contradicts that it passed."""
    if cell.status == "failed":
        return Reason(code=cell.reason or "failed", subject=cell.key, message=_sentence(cell.message, "it failed"))
    if cell.status != "passed":
        return None
    exported = {artifact.key: artifact for artifact in manifest.artifacts if artifact.status == "exported"}
    artifact = exported.get(f"{cell.format}/{cell.variant}")
    sets, outputs = manifest.samples, [output.name for output in manifest.model.signature.outputs]
    code, message = _false_pass(cell, artifact, manifest.policy.gpu)
    if not code and (lacking := _invalid_skip(cell, artifact, sets) or _incomplete(cell, sets, outputs)):
        code, message = INCOMPLETE, f"the cell says it passed, but {lacking}"
    return Reason(code=code, subject=cell.key, message=message) if code else None


def _false_pass(cell: Cell, artifact: Artifact | None, gpu: Gpu) -> tuple[str, str]:
    """Returns code and message of what contradicts a cell that says it passed; two empty strings when nothing does."""
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
    return "", ""


def _wrong_place(cell: Cell, gpu: Gpu) -> str:
    """Returns the reason why the place where a cell ran proves nothing; empty when it is the right place."""
    place = cell.placement
    if place is None:
        return f"asked for {cell.device}, and the cell does not say where it ran"
    if place.device != cell.device:
        return f"asked for {cell.device}, the cell ran on {place.device} ({place.adapter})"
    if place.software and gpu == "hardware":
        return f"the policy asks for a real card, the cell ran on a software adapter ({place.adapter})"
    return ""


def _invalid_skip(cell: Cell, artifact: Artifact | None, sets: Sequence[SampleSet]) -> str:
    """Names a sample set that a cell skipped for its shape although the artifact takes it; empty when there is none."""
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
    return ""


def _incomplete(cell: Cell, sets: Sequence[SampleSet], outputs: Sequence[str]) -> str:
    """Names what a cell had to be fed and was not; empty when it covers everything."""
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
        return ""
    valid = str(least) if least == most else f"{least} to {most}"
    return f"it counts {cell.rows} rows, and the sets that it was fed have {valid}"


def _unmet(requirement: Requirement, *, judged: _CheckedCells, artifacts: Sequence[Artifact]) -> Iterator[Reason]:
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
    return _sentence(": ".join(word for word in words if word), f"it is {record.status}")


def _sentence(message: str, otherwise: str) -> str:
    return message or f"{otherwise}, and no cause was recorded"
