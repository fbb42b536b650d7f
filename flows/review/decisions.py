"""`paritygate approve` and `paritygate waive`: what a person decides about a release, kept beside it for ever.

In: a release directory, a name, a reason. Out: an attestation in the release, and what the gate says of it now. What
the gate refuses is let out only by force, which names what it overrides; bytes that changed are let out by nobody.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from exporters.errors import BadInput
from flows.review.gate import GateReport, gate
from validators.contract import Waiver
from validators.gate.approvals import UNFORCEABLE
from validators.gate.verdict import APPROVAL
from validators.release.attestation_files import refuse_unwritable, write_approval, write_waiver
from validators.release.attestations import Act, fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What came of a decision.

    Attributes:
        attestation: the file that keeps it; None when it was not to be had.
        why_not: why it was not; empty otherwise.
        report: the gate's, with the decision.
    """

    attestation: Path | None
    why_not: str
    report: GateReport

    @property
    def exit_code(self) -> int:
        """The gate's; 1 for a decision that was not to be had."""
        return self.report.verdict.exit_code if self.attestation else 1


def approve(release: Path, *, act: Act, who: str, why: str, digest: str | None = None) -> Decision:
    """Approves, rejects or forces a release.

    Args:
        release: the release directory.
        act: approving needs a release against which nothing else speaks; forcing needs one that is refused, and
            overrides exactly what stands against it now.
        who: who decides.
        why: the reason.
        digest: SHA-256 of the manifest that was looked at; None when it is not known.

    Raises:
        BadInput: there is no release, its folder cannot be written, a word is missing, or there is nothing to force.
        Broken: the release was replaced meanwhile.
    """
    _refuse_silence(who, why)
    before = gate(release, digest=digest)
    against = [reason for reason in before.verdict.reasons if reason.code != APPROVAL]
    fixed = [reason for reason in against if reason.code in UNFORCEABLE]
    if act == "forced" and not against:
        raise BadInput(
            f"{release}: nothing speaks against this release, so there is nothing to force",
            next_step=f"paritygate approve {shlex.quote(str(release))} without --force",
        )
    if act == "forced" and fixed:
        return _refused(before, f"{fixed[0].code}: nobody can force a release that is not what it says")
    if act == "approved" and against:
        return _refused(before, "the gate refuses it; --force lets it out all the same and says so for ever")
    refuse_unwritable(release)
    overridden = before.verdict.reasons if act == "forced" else ()
    file = write_approval(release, manifest=before.digest, act=act, who=who, why=why, overridden=overridden)
    return Decision(attestation=file, why_not="", report=gate(release, digest=digest))


def waive(release: Path, waiver: Waiver, *, digest: str | None = None) -> Decision:
    """Lets a cell stand against a release no more, until a day.

    Args:
        release: the release directory.
        waiver: for which cell, until when, by whom and why.
        digest: as for `approve`.

    Raises:
        BadInput: there is no release, its folder cannot be written, or the waiver says nothing that can be.
        Broken: the release was replaced meanwhile.
    """
    if wrong := fault(waiver):
        raise BadInput(wrong, next_step="paritygate waive RELEASE_DIR CELL --until DATE --by WHO --why WHY")
    before = gate(release, digest=digest)
    refuse_unwritable(release)
    file = write_waiver(release, manifest=before.digest, waiver=waiver)
    return Decision(attestation=file, why_not="", report=gate(release, digest=digest))


def _refuse_silence(who: str, why: str) -> None:
    for name, said in (("--by", who), ("--why", why)):
        if not said.strip():
            raise BadInput(f"{name}: got nothing, valid are words", next_step="They are kept with the release.")


def _refused(report: GateReport, why: str) -> Decision:
    return Decision(attestation=None, why_not=why, report=report)
