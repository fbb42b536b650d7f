"""Records a release beside the last one that was let out, figure by figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from validators.contract.policy import RegressionLimits

What = Literal["size", "latency", "distance", "metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One figure of a release beside the baseline's.

    Attributes:
        what: which figure.
        subject: the artifact, the cell, or `original`.
        before, now: the figure in the baseline and in the release; None where it is not compared.
        allowed: the largest `now` that is no regression; the smallest one for the metric; None as above.
        why_not: why it is not compared; empty where it is.
    """

    what: What
    subject: str
    before: float | None = None
    now: float | None = None
    allowed: float | None = None
    why_not: str = ""

    @property
    def regressed(self) -> bool:
        """Whether the release is worse than it may be."""
        if self.now is None or self.allowed is None:
            return False
        within = self.now >= self.allowed if self.what == "metric" else self.now <= self.allowed
        return not within  # also for what is no number


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRecord:
    """The release that this one was held against.

    Attributes:
        digest: SHA-256 of its `release.json`.
        model: its model's file name.
        created: when it was made, UTC, ISO 8601.
        headline: what the gate said of it: `RELEASED`, or `FORCED` where a person let it out.
        limits: how much worse this release may be.
        comparisons: every figure beside the baseline's.
    """

    digest: str
    model: str
    created: str
    headline: str
    limits: RegressionLimits
    comparisons: tuple[Comparison, ...]

    @property
    def not_compared(self) -> Mapping[tuple[str, str], Sequence[str]]:
        """(What, why not) -> the subjects that share it."""
        apart: dict[tuple[str, str], list[str]] = {}
        for each in self.comparisons:
            if each.why_not:
                apart.setdefault((each.what, each.why_not), []).append(each.subject)
        return apart

    @property
    def summary(self) -> str:
        """`12 figures compared, 1 worse; 4 not compared`."""
        compared = [each for each in self.comparisons if not each.why_not]
        worse = sum(each.regressed for each in compared)
        return f"{len(compared)} figures compared, {worse} worse; {len(self.comparisons) - len(compared)} not compared"
