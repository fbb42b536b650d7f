"""What people said about a release, in the words that every command prints.

In: approvals among the attestations, what they overrode, what is waived. Out: labelled lines. A forced release says so
in each of them, for as long as the attestation that let it out is there; without that file it is refused again.
"""

from collections.abc import Iterator, Sequence

from validators.contract import Reason
from validators.release.attestations import Approval

_WORDS = {"approved": "approved", "rejected": "rejected", "forced": "FORCED"}


def lines(
    approvals: Sequence[Approval], overridden: Sequence[Reason], waived: Sequence[Reason]
) -> Iterator[tuple[str, str]]:
    """Yields a label and a sentence for every approval, every reason that was forced, and every one that is waived."""
    for each in approvals:
        yield _WORDS[each.act], f"by {each.who} on {each.created[:10]}: {each.why}"
    for label, reasons in (("forced", overridden), ("waived", waived)):
        for reason in reasons:
            yield label, f"{reason.code}: {reason.subject}: {reason.message}"
