"""Words what people decided about a release, for every command that prints it.

A forced release stays marked as such while the attestation that forced it is there; without that file it is refused.
"""

from collections.abc import Iterator, Sequence

from validators.contract import Reason
from validators.release.attestations import Approval

_WORDS = {"approved": "approved", "rejected": "rejected", "forced": "FORCED"}


def lines(
    approvals: Sequence[Approval], overridden: Sequence[Reason], waived: Sequence[Reason]
) -> Iterator[tuple[str, str]]:
    """Yields a label and a sentence for every approval, every reason that was forced, and every one that is waived."""
    for approval in approvals:
        yield _WORDS[approval.act], f"by {approval.who} on {approval.created[:10]}: {approval.why}"
    for label, reasons in (("forced", overridden), ("waived", waived)):
        for reason in reasons:
            yield label, f"{reason.code}: {reason.subject}: {reason.message}"
