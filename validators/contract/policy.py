"""Records the policy that a release was judged by, as far as it decides."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from validators.contract.placement import Gpu
from validators.contract.tolerance import ToleranceOverride
from validators.contract.verdict import Requirement

WeakEvidenceAction = Literal["report", "refuse"]


EvidenceRetention = Literal["full", "digests"]
"""What a release keeps of its samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """A cell that stands against no release for a while.

    Attributes:
        cell: `FORMAT RUNTIME DEVICE`, or `FORMAT/VARIANT RUNTIME DEVICE` for one variant alone.
        until: the last day on which it holds, UTC.
        by: who answers for it.
        why: the reason, in words.
    """

    cell: str
    until: date
    by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionLimits:
    """How much worse than the baseline a release may be; the defaults are our choice.

    Attributes:
        size_ratio: of an artifact's bytes. 1.1 by default: weights trained anew have the same number of bytes, so that
            more is another model.
        latency_ratio: of a cell's median call. 2 by default: the cells of a release run beside each other, so that a
            median also measures what ran beside it.
        distance_ratio: of a cell's largest distance, as a share of its tolerance. 4 by default: wide enough for the
            rounding of other weights, narrow enough for another kernel.
        metric_drop: of the task metric, in its own unit. 0.02 by default: more than one of the 63 rows that are used.
        size_ratios: `format/variant`, or `format` -> ratio of bytes for these artifacts, in the place of `size_ratio`.
    """

    size_ratio: float = 1.1
    latency_ratio: float = 2.0
    distance_ratio: float = 4.0
    metric_drop: float = 0.02
    size_ratios: Mapping[str, float] = field(default_factory=dict)

    def size_ratio_of(self, key: str) -> float:
        """Returns the ratio for an artifact, named `format/variant`: its own, its format's, or that of all."""
        return self.size_ratios.get(key, self.size_ratios.get(key.partition("/")[0], self.size_ratio))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """The policy that was in force, as far as it decides.

    Attributes:
        required: the cells that had to be proven.
        formats: what was asked to be exported: a format, or `format/variant`.
        atol, rtol: the tolerance set by hand, None for the default.
        tolerances: parts of tolerances set by hand for some cells and outputs, which come before these.
        weak_evidence: whether an output that barely varies over the samples is reported or refuses the release.
        task_margin: by how much the task metric of an artifact may lie below the original's; None where it decides
            nothing.
        sample_seconds: a cell makes no further call that would take its inference beyond so many seconds.
        software_seconds: the same for cells on a software GPU.
        seconds: wall time that one cell may take.
        memory_gib: memory that one cell's process tree may take, GiB; what processes share counts once.
        retries: how often a job was done again that infrastructure ended.
        gpu: what counted as a GPU.
        tf32: whether CUDA cells also ran with TF32 allowed.
        elsewhere: the cells that attestations have to prove.
        approval: whether a person has to approve the release.
        waivers: the cells that stand against no release for a while.
        evidence: what the release keeps of samples and references: `digests` where they are private.
        baseline: how much worse than a baseline a release may be.
    """

    required: tuple[Requirement, ...]
    formats: tuple[str, ...]
    atol: float | None
    rtol: float | None
    weak_evidence: WeakEvidenceAction
    task_margin: float | None
    sample_seconds: float
    software_seconds: float
    seconds: float
    memory_gib: float
    retries: int
    gpu: Gpu
    tf32: bool
    elsewhere: tuple[Requirement, ...]
    approval: bool = False
    tolerances: tuple[ToleranceOverride, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    evidence: EvidenceRetention = "full"
    baseline: RegressionLimits = field(default_factory=RegressionLimits)
