"""Records how one output of an artifact differs from the reference over one sample set."""

from dataclasses import dataclass

from validators.contract.tolerance import Tolerance


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Counts the errors |actual - reference| of one output over one sample set, by size.

    Attributes:
        equal: elements without any error; NaN in both counts as equal.
        nonfinite: elements where one side is NaN or infinite and the other is not the same.
        first: the first bin; bin n counts the errors from 10^(n/2) up to 10^((n+1)/2).
        counts: of the bins from the first one on; neither the first nor the last of them is 0.
    """

    equal: int
    nonfinite: int
    first: int
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """Records the element furthest from the reference: its index and both values (as text: NaN and Inf survive)."""

    index: tuple[int, ...]
    reference: str
    actual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Records a decision in which artifact and reference differ.

    Attributes:
        index: of the decision: the output's index without its last axis.
        reference, actual: the entry of the last axis that is largest there.
        margin: by how much the reference preferred its choice over the artifact's, in the output's unit.
    """

    index: tuple[int, ...]
    reference: int
    actual: int
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Compares the largest entry of an output's last axis with that of the reference.

    Attributes:
        compared: how many decisions there are: elements of the output without its last axis.
        ties: of these, how many the reference takes by no more than twice the tolerance, so that either may win.
        top1: how many are the same.
        topk: for how many the k largest entries are the same ones.
        k: five, or fewer where the axis is shorter.
        flips: the decisions that differ, those with the largest margin first, five at most.
    """

    compared: int
    ties: int
    top1: int
    topk: int
    k: int
    flips: tuple[Flip, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDiff:
    """Records one output compared with the reference over one sample set.

    Attributes:
        name: canonical name of the output.
        sample_set: the name of the sample set.
        problem: empty when passed, else the named reason, one of `validators.compare.outputs.PROBLEMS`.
        message: the problem in a sentence, with what was got and what was expected.
        elements: how many were compared.
        failing: how many are beyond the tolerance or differ in NaN/Inf.
        max_abs: largest |actual - reference| over elements finite in both; None when nothing was comparable.
        max_rel: largest |actual - reference| / |reference| where the reference is not zero; None as above.
        nonfinite_mismatches: elements where one side is NaN or +/-Inf and the other is not the same.
        worst: the element that fails hardest, or differs most when none fails.
        tolerance: what was allowed; None for exact comparisons.
        noise: the noise floor of the original that the tolerance comes from; None where there is none.
        needed: the smallest absolute part that would have passed with the same relative part; None as for `max_abs`,
            and for exact comparisons.
        sqnr_db: signal to noise, 10 log10(sum of reference^2 / sum of difference^2), over elements finite in both, in
            decibels; None where nothing differs or the reference is zero everywhere.
        cosine: of the angle between reference and actual as vectors of such elements; None where either is zero.
        decisions: which entries are largest; None where the output has no last axis to choose from.
        errors: their histogram; None where nothing was comparable, and for text.
    """

    name: str
    sample_set: str
    problem: str
    message: str
    elements: int
    failing: int
    max_abs: float | None
    max_rel: float | None
    nonfinite_mismatches: int
    worst: Worst | None
    tolerance: Tolerance | None
    noise: float | None = None
    needed: float | None = None
    sqnr_db: float | None = None
    cosine: float | None = None
    decisions: Decisions | None = None
    errors: Histogram | None = None

    @property
    def passed(self) -> bool:
        return not self.problem
