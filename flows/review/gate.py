"""Judges a release again, with the attestations of other machines and of people: `paritygate gate`.

In: a release directory. Out: a `GateReport`. Nothing is run and nothing written: digests are checked, records are read,
and the gate of `validators.gate.verdict` decides over all of them. It needs only the base installation.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flows.machine.identity import today
from validators.contract import PolicyRecord, Reason, Requirement, SampleSet, Verdict, Waiver
from validators.gate.approvals import apply_approvals
from validators.gate.consistency import FALSE_CLAIM, OPEN, contradictions, lasting_reasons
from validators.gate.verdict import APPROVAL, AWAITING, judge
from validators.release.attestation_files import StoredAttestation, read
from validators.release.attestations import Approval, AttestedCells, AttestedWaiver
from validators.release.integrity import check_files
from validators.release.manifest import MANIFEST, Manifest, load_with_digest
from validators.report.view.matrix import headline
from validators.runtimes.availability import remedy
from validators.runtimes.registry import RUNTIMES

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """Describes a demand of the policy that no attestation meets yet.

    Attributes:
        requirement: as the policy writes it, or `approval`.
        command: the command that meets it.
        remedy: the machine or person that has to run it.
    """

    requirement: str
    command: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """Reports the gate's judgement of a release today.

    Attributes:
        release: the directory.
        digest: SHA-256 of its `release.json`.
        digest_given: whether the caller gave a digest that it was compared with.
        model: the source model's file name.
        samples: the sample sets of the evidence.
        cells: how many cells the release itself recorded.
        attestations: every attestation of it that can be read.
        awaited: demands of the policy that no attestation meets.
        overridden: reasons against the release that a person overrode.
        verdict: over the release's own cells, the attested ones and people's decisions.
    """

    release: Path
    digest: str
    digest_given: bool
    model: str
    samples: tuple[SampleSet, ...]
    cells: int
    attestations: tuple[StoredAttestation, ...]
    awaited: tuple[Awaited, ...]
    overridden: tuple[Reason, ...]
    verdict: Verdict

    @property
    def headline(self) -> str:
        """Returns the verdict in one word; a forced release is never called released."""
        return "FORCED" if self.verdict.passed and self.overridden else headline(self.verdict)


def gate(release: Path, *, digest: str | None = None) -> GateReport:
    """Judges a release with its attestations.

    Args:
        release: the release directory.
        digest: SHA-256 of its manifest as known from outside; None when it is not known.

    Raises:
        BadInput: there is no release there, or its manifest cannot be read.
        OSError: a file cannot be read.
    """
    manifest, own_digest = load_with_digest(release)
    attestations, faults = read(release, manifest=own_digest)
    judged = _judge_all(manifest, attestations, check_files(release, manifest, digest=digest, found=own_digest))
    claims = [Reason(code=FALSE_CLAIM, subject=MANIFEST, message=claim) for claim in contradictions(release, manifest)]
    # A reason that refused the release when it was made still refuses it, even when its records no longer show it.
    found = {(reason.code, reason.subject) for reason in (*judged.reasons, *judged.waived)}
    recorded = [reason for reason in lasting_reasons(manifest) if (reason.code, reason.subject) not in found]
    policy = manifest.policy
    against = (*claims, *faults, *recorded, *judged.reasons)
    decision = apply_approvals(against, approvals(attestations), demanded=policy.approval)
    reasons = decision.standing
    return GateReport(
        release=release,
        digest=own_digest,
        digest_given=digest is not None,
        model=manifest.model.name,
        samples=manifest.samples,
        cells=len(manifest.cells),
        attestations=attestations,
        awaited=_awaited(release, policy, reasons),
        overridden=decision.overridden,
        verdict=replace(judged, passed=not reasons, reasons=reasons),
    )


def standing_refusals(manifest: Manifest, attestations: Sequence[StoredAttestation]) -> tuple[Reason, ...]:
    """Lists the reasons against a release in its own records that no attested cell can settle."""
    people = [one for one in attestations if not isinstance(one.attestation, AttestedCells)]
    judged = _judge_all(manifest, people, ())
    waived = {(reason.code, reason.subject) for reason in judged.waived}
    against = [
        reason
        for reason in (*lasting_reasons(manifest), *judged.reasons)
        if reason.code not in OPEN and (reason.code, reason.subject) not in waived
    ]
    return apply_approvals(against, approvals(attestations), demanded=False).standing


def approvals(attestations: Sequence[StoredAttestation]) -> tuple[Approval, ...]:
    """Lists what people decided."""
    return tuple(one.attestation for one in attestations if isinstance(one.attestation, Approval))


def waivers(manifest: Manifest, attestations: Sequence[StoredAttestation]) -> tuple[Waiver, ...]:
    """Lists every waiver of a release, in force or not: the policy's and later ones."""
    later = [one.attestation.waiver for one in attestations if isinstance(one.attestation, AttestedWaiver)]
    return (*manifest.policy.waivers, *later)


def _judge_all(manifest: Manifest, attestations: Sequence[StoredAttestation], problems: Sequence[str]) -> Verdict:
    """Returns the gate's verdict over all cells; a reason that an attestation added names its machine."""
    waiving = [each.attestation for each in attestations if isinstance(each.attestation, AttestedWaiver)]
    ran = [each.attestation for each in attestations if isinstance(each.attestation, AttestedCells)]
    decide = partial(judge, manifest, problems=problems, today=today())
    own = set(decide(waiving).reasons)
    added = [(each, set(decide([each, *waiving]).reasons) - own) for each in ran]

    def named(reason: Reason) -> Reason:
        hosts = dict.fromkeys(attestation.machine.host for attestation, reasons in added if reason in reasons)
        return replace(reason, message=f"on {', '.join(hosts)}: {reason.message}") if hosts else reason

    verdict = decide([*ran, *waiving])
    return replace(verdict, reasons=tuple(map(named, verdict.reasons)))


def _awaited(release: Path, policy: PolicyRecord, reasons: Sequence[Reason]) -> tuple[Awaited, ...]:
    subjects = [reason.subject for reason in reasons if reason.code == AWAITING]
    extras = {row.requirement: row.extra for row in RUNTIMES}
    place = shlex.quote(str(release))
    cells = [
        Awaited(
            requirement=str(each),
            command=f"paritygate verify {place}{f' --formats {each.artifacts}' if each.variant else ''} "
            f"--device {each.device} --runtimes {each.runtime} --attest",
            remedy=f"on a machine that has it ({_installed_by(each, extras)})",
        )
        for each in dict.fromkeys(policy.elsewhere)
        if any(_names(subject, each) for subject in subjects)
    ]
    approve = f"paritygate approve {place} --by WHO --why WHY"
    people = [
        Awaited(requirement="approval", command=approve, remedy="by the person who is responsible; --reject refuses it")
        for reason in reasons
        if reason.code == APPROVAL
    ]
    return (*cells, *people)


def _installed_by(requirement: Requirement, extras: Mapping[Requirement, str]) -> str:
    """Returns how the runtime of a requirement is installed."""
    extra = extras.get(requirement.of_format)
    return remedy(extra) if extra else "with a paritygate that knows this runtime"


def _names(subject: str, requirement: Requirement) -> bool:
    """Tells whether a reason's subject is a requirement or a cell of it: `FORMAT/VARIANT RUNTIME DEVICE`."""
    artifact, _, place = subject.partition(" ")
    wanted = f"{requirement.runtime} {requirement.device}"
    named = requirement.covers(artifact) if "/" in artifact else artifact == requirement.format
    return named and place == wanted


def render(report: GateReport, console: "Console") -> None:
    """Prints the verdict for a person: every attested cell with its machine, every reason, what is still awaited."""
    from rich.padding import Padding
    from rich.text import Text

    from validators.report import approval_lines, cell_table
    from validators.report.view.matrix import line
    from validators.text import counted

    say = partial(cell_table.say, console)

    colours = {"RELEASED": "green", "AWAITING": "yellow"}
    word = report.headline
    ran = [one.attestation for one in report.attestations if isinstance(one.attestation, AttestedCells)]
    attested = [line(cell, report.samples, each.machine.host) for each in ran for cell in each.cells]
    own, others = counted(report.cells, "own cell"), counted(len(attested), "attested cell")
    model = cell_table.written(report.model, console)
    console.print(Text.assemble((word, f"bold {colours.get(word, 'red')}"), f"  {model}: {own}, {others}"))
    if attested:
        console.print(Padding(cell_table.table(attested, console), (1, 0)))
    for reason in report.verdict.reasons:
        say(f"{reason.code}: {reason.subject}: {reason.message}", "  ")
    for label, text in approval_lines.lines(approvals(report.attestations), report.overridden, report.verdict.waived):
        say(text, f"{label:<9}")
    for awaited in report.awaited:
        say(f"{awaited.requirement}, {awaited.remedy}:", "awaited  ")
        say(awaited.command, "         ")
    say(str(report.release), "release  ")
    say(report.digest, "digest   ")
    if report.verdict.passed and not report.digest_given:
        say("The release is consistent; --digest proves that it is the one you expect.")
