"""Records what a person decides about a release: `paritygate approve` and `paritygate waive`.

In: a release directory, a name, a reason. Out: an attestation in the release, and the gate's report with it. A refused
release passes only by force, and the attestation names what it overrides. A release whose bytes changed never passes.
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
    """Reports whether a decision was recorded.

    Attributes:
        attestation: the file that keeps it; None when it was not recorded.
        why_not: why it was not recorded; empty otherwise.
        report: the gate's report, with the decision.
    """

    attestation: Path | None
    why_not: str
    report: GateReport

    @property
    def exit_code(self) -> int:
        """Returns the gate's exit code; 1 for a decision that was not recorded."""
        return self.report.verdict.exit_code if self.attestation else 1


def approve(release: Path, *, act: Act, who: str, why: str, digest: str | None = None) -> Decision:
    """Approves, rejects or forces a release.

    Args:
        release: the release directory.
        act: `approved` needs a release that lacks only the approval; `forced` needs one that is refused, and overrides
            exactly the reasons that the gate gives now.
        who: the person who decides.
        why: the reason.
        digest: SHA-256 of the manifest that the person looked at; None when it is not known.

    Raises:
        BadInput: there is no release, its folder cannot be written, a word is missing, or there is nothing to force.
        Broken: the release was replaced meanwhile.
    """
    _refuse_empty(who, why)
    before = gate(release, digest=digest)
    against = [reason for reason in before.verdict.reasons if reason.code != APPROVAL]
    fixed = [reason for reason in against if reason.code in UNFORCEABLE]
    if act == "forced" and not against:
        raise BadInput(
            f"{release}: the gate does not refuse this release, so there is nothing to force",
            next_step=f"paritygate approve {shlex.quote(str(release))} without --force",
        )
    if act == "forced" and fixed:
        return _not_recorded(before, f"{fixed[0].code}: a release that is not what it says cannot be forced")
    if act == "approved" and against:
        return _not_recorded(before, "the gate refuses it; --force releases it anyway, and every later report says so")
    refuse_unwritable(release)
    overridden = before.verdict.reasons if act == "forced" else ()
    file = write_approval(release, manifest=before.digest, act=act, who=who, why=why, overridden=overridden)
    return Decision(attestation=file, why_not="", report=gate(release, digest=digest))


def waive(release: Path, waiver: Waiver, *, digest: str | None = None) -> Decision:
    """Waives a cell until a date.

    Args:
        release: the release directory.
        waiver: for which cell, until when, by whom and why.
        digest: as for `approve`.

    Raises:
        BadInput: there is no release, its folder cannot be written, or the waiver names no possible cell.
        Broken: the release was replaced meanwhile.
    """
    if wrong := fault(waiver):
        raise BadInput(wrong, next_step="paritygate waive RELEASE_DIR CELL --until DATE --by WHO --why WHY")
    before = gate(release, digest=digest)
    refuse_unwritable(release)
    file = write_waiver(release, manifest=before.digest, waiver=waiver)
    return Decision(attestation=file, why_not="", report=gate(release, digest=digest))


def _refuse_empty(who: str, why: str) -> None:
    for flag, value in (("--by", who), ("--why", why)):
        if not value.strip():
            raise BadInput(f"{flag}: got nothing, valid are words", next_step="They are kept with the release.")


def _not_recorded(report: GateReport, why: str) -> Decision:
    return Decision(attestation=None, why_not=why, report=report)
