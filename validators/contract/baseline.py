"""Records the comparison of a release with its baseline, the last one that was released, figure by figure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from validators.contract.policy import RegressionLimits

Figure = Literal["size", "latency", "distance", "metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Records one figure of a release and the same figure of the baseline.

    Attributes:
        what: which figure.
        subject: the artifact, the cell, or `original`.
        before, now: the figure in the baseline and in the release; None where it is not compared.
        allowed: the largest `now` that is no regression; the smallest one for the metric; None as above.
        why_not: why it is not compared; empty where it is.
    """

    what: Figure
    subject: str
    before: float | None = None
    now: float | None = None
    allowed: float | None = None
    why_not: str = ""

    @property
    def regressed(self) -> bool:
        """Tells whether the release is worse than the limit allows."""
        if self.now is None or self.allowed is None:
            return False
        within = self.now >= self.allowed if self.what == "metric" else self.now <= self.allowed
        return not within  # NaN is in no order, so it counts as worse


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineRecord:
    """Records the release that this one was compared with, and the result.

    Attributes:
        digest: SHA-256 of its `release.json`.
        model: its model's file name.
        created: when it was made, UTC, ISO 8601.
        headline: the gate's verdict on it: `RELEASED`, or `FORCED` where a person released it against the gate.
        limits: by how much this release may be worse.
        comparisons: every figure with the baseline's.
    """

    digest: str
    model: str
    created: str
    headline: str
    limits: RegressionLimits
    comparisons: tuple[Comparison, ...]

    @property
    def not_compared(self) -> Mapping[tuple[str, str], Sequence[str]]:
        """Groups the figures without a comparison: (what, why not) -> the subjects that share the reason."""
        subjects: dict[tuple[str, str], list[str]] = {}
        for each in self.comparisons:
            if each.why_not:
                subjects.setdefault((each.what, each.why_not), []).append(each.subject)
        return subjects

    @property
    def summary(self) -> str:
        """Sums up for a person, such as `12 figures compared, 1 worse; 4 not compared`."""
        compared = [each for each in self.comparisons if not each.why_not]
        worse = sum(each.regressed for each in compared)
        return f"{len(compared)} figures compared, {worse} worse; {len(self.comparisons) - len(compared)} not compared"
