"""Applies the decisions of people to a release: they approve it, reject it, or force it against the gate.

In: the gate's reasons, and the approvals among the attestations. Out: the reasons that remain, and those that a person
overrode. Pure.

Forcing overrides exactly the reasons that existed at that moment, by their code and subject, a rejection by its words.
A reason that appears later refuses the release again. Changed bytes, a manifest that contradicts itself, and a folder
of attestations that cannot be read cannot be forced: the person who decided did not see those.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from validators.contract import Reason
from validators.gate.consistency import FALSE_CLAIM
from validators.gate.verdict import APPROVAL, DIGEST
from validators.release.attestations import BROKEN, FOREIGN, Approval

REJECTED = "rejected"
UNFORCEABLE = frozenset({DIGEST, FALSE_CLAIM, BROKEN, FOREIGN})

NOT_APPROVED = (
    "the policy demands that a person approves this release (`paritygate approve RELEASE_DIR --by WHO --why WHY`)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedReasons:
    """Holds the gate's reasons after the decisions of people.

    Attributes:
        standing: the reasons that refuse the release now.
        overridden: the reasons that a person overrode.
    """

    standing: tuple[Reason, ...]
    overridden: tuple[Reason, ...]


def apply_approvals(reasons: Sequence[Reason], approvals: Sequence[Approval], *, demanded: bool) -> ReviewedReasons:
    """Adds rejections and a missing approval to the gate's reasons, and takes out those that a person overrode.

    Args:
        reasons: the gate's.
        approvals: all of the release.
        demanded: whether the policy demands that a person approves.
    """
    decisions = [
        Reason(code=REJECTED, subject="release", message=f"by {each.who}: {each.why}")
        for each in approvals
        if each.act == "rejected"
    ]
    if demanded and not approvals:
        decisions.append(Reason(code=APPROVAL, subject="release", message=NOT_APPROVED))
    forced = {_identity(reason) for each in approvals if each.act == "forced" for reason in each.overridden}
    standing: list[Reason] = []
    overridden: list[Reason] = []
    for reason in (*reasons, *decisions):
        lifted = _identity(reason) in forced and reason.code not in UNFORCEABLE
        (overridden if lifted else standing).append(reason)
    return ReviewedReasons(standing=tuple(standing), overridden=tuple(overridden))


def _identity(reason: Reason) -> tuple[str, ...]:
    """Returns the parts by which a reason is recognised later; all rejections have one subject."""
    # Two persons may reject the same release; forcing one rejection does not force the other.
    return (reason.code, reason.subject, *([reason.message] if reason.code == REJECTED else []))
