"""`paritygate gate`: judge a release again, together with what other machines attested.

In: a release directory. Out: a `GateReport`. Nothing is run and nothing written: digests are checked, records are read,
and the gate of `validators.gate` decides over all of them. Needs the base alone.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from validators.attestation import Attested, read
from validators.availability import remedy
from validators.claims import CLAIM, false_claims, standing
from validators.contract import Reason, Requirement, Verdict
from validators.gate import AWAITING, judge
from validators.integrity import check_files
from validators.manifest import MANIFEST, Manifest, SampleSet, load_with_digest
from validators.registry import RUNTIMES

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """A requirement that no attestation meets yet.

    Attributes:
        requirement: as the policy writes it.
        command: what proves it, to be run on a machine that can.
        remedy: the command that brings the runtime there.
    """

    requirement: str
    command: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """What the gate says of a release today.

    Attributes:
        release: the directory.
        digest: SHA-256 of its `release.json`.
        digest_given: whether that was held against a digest from outside.
        model: the source model's file name.
        samples: the sample sets of the evidence.
        cells: how many cells the release itself recorded.
        attestations: every attestation of it that can be read.
        awaited: what the policy demands and no attestation has.
        verdict: over the release's own cells and the attested ones.
    """

    release: Path
    digest: str
    digest_given: bool
    model: str
    samples: tuple[SampleSet, ...]
    cells: int
    attestations: tuple[Attested, ...]
    awaited: tuple[Awaited, ...]
    verdict: Verdict


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
    judged = _judged(manifest, attestations, check_files(release, manifest, digest=digest, own=own_digest))
    claims = [Reason(code=CLAIM, subject=MANIFEST, message=claim) for claim in false_claims(release, manifest)]
    # What stood against the release when it was made still does, also what its records alone do not show any more.
    found = {(reason.code, reason.subject) for reason in judged}
    recorded = [reason for reason in standing(manifest) if (reason.code, reason.subject) not in found]
    reasons = (*claims, *faults, *recorded, *judged)
    policy = manifest.policy
    return GateReport(
        release=release,
        digest=own_digest,
        digest_given=digest is not None,
        model=manifest.model.name,
        samples=manifest.samples,
        cells=len(manifest.cells),
        attestations=attestations,
        awaited=_awaited(release, policy.elsewhere, reasons),
        verdict=Verdict(passed=not reasons, reasons=reasons, required=(*policy.required, *policy.elsewhere)),
    )


def _judged(manifest: Manifest, attestations: Sequence[Attested], problems: Sequence[str]) -> tuple[Reason, ...]:
    """The gate's reasons; where an attestation brought one, its machine is named."""
    decide = partial(
        judge,
        cells=manifest.cells,
        artifacts=manifest.artifacts,
        required=manifest.policy.required,
        sample_sets=manifest.samples,
        outputs=[spec.name for spec in manifest.model.signature.outputs],
        gpu=manifest.policy.gpu,
        elsewhere=manifest.policy.elsewhere,
        digest_problems=problems,
    )
    own = set(decide().reasons)
    alone = [(each.attestation, set(decide(attested=each.attestation.cells).reasons) - own) for each in attestations]

    def named(reason: Reason) -> Reason:
        hosts = dict.fromkeys(attestation.machine.host for attestation, reasons in alone if reason in reasons)
        return replace(reason, message=f"on {', '.join(hosts)}: {reason.message}") if hosts else reason

    attested = [cell for each in attestations for cell in each.attestation.cells]
    return tuple(map(named, decide(attested=attested).reasons))


def _awaited(release: Path, elsewhere: Sequence[Requirement], reasons: Sequence[Reason]) -> tuple[Awaited, ...]:
    subjects = [reason.subject for reason in reasons if reason.code == AWAITING]
    extras = {row.requirement: row.extra for row in RUNTIMES}
    return tuple(
        Awaited(
            requirement=str(each),
            command=f"paritygate verify {shlex.quote(str(release))} --device {each.device} --runtimes {each.runtime} "
            "--attest",
            remedy=remedy(extras[each]) if each in extras else "with a paritygate that knows this runtime",
        )
        for each in dict.fromkeys(elsewhere)
        if any(_names(subject, each) for subject in subjects)
    )


def _names(subject: str, requirement: Requirement) -> bool:
    """Whether a reason's subject is a requirement, or a cell of it: `FORMAT/VARIANT RUNTIME DEVICE`."""
    artifact, _, place = subject.partition(" ")
    wanted = f"{requirement.runtime} {requirement.device}"
    return artifact.partition("/")[0] == requirement.format and place == wanted


def render(report: GateReport, console: "Console") -> None:
    """Prints the verdict for a person: every attested cell with its machine, every reason, what is still awaited."""
    from rich.padding import Padding
    from rich.text import Text

    from validators.report import lines
    from validators.report.matrix import headline, line
    from validators.report.text import counted

    def say(text: str, label: str = "") -> None:
        console.print(Text(f"{label}{lines.written(text, console)}"), soft_wrap=True)

    colours = {"RELEASED": "green", "AWAITING": "yellow"}
    word = headline(report.verdict)
    attested = [
        line(cell, report.samples, each.attestation.machine.host)
        for each in report.attestations
        for cell in each.attestation.cells
    ]
    own, others = counted(report.cells, "own cell"), counted(len(attested), "attested cell")
    model = lines.written(report.model, console)
    console.print(Text.assemble((word, f"bold {colours.get(word, 'red')}"), f"  {model}: {own}, {others}"))
    if attested:
        console.print(Padding(lines.table(attested, console), (1, 0)))
    for reason in report.verdict.reasons:
        say(f"{reason.code}: {reason.subject}: {reason.message}", "  ")
    for each in report.awaited:
        say(f"{each.requirement}; on a machine that has it ({each.remedy}):", "awaited  ")
        say(each.command, "         ")
    say(str(report.release), "release  ")
    say(report.digest, "digest   ")
    if report.verdict.passed and not report.digest_given:
        say("The release is consistent; --digest proves that it is the one you were told of.")
