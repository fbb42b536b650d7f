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
"""Parts of the samples that a release keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """Records a cell that is waived: until a date it does not refuse a release.

    Attributes:
        cell: `FORMAT RUNTIME DEVICE`, or `FORMAT/VARIANT RUNTIME DEVICE` for only one variant.
        until: the last day on which the waiver holds, UTC.
        by: the person who is responsible for it.
        why: the reason, in words.
    """

    cell: str
    until: date
    by: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionLimits:
    """Records by how much a release may be worse than the baseline; the defaults are our choice.

    Attributes:
        size_ratio: of an artifact's bytes. 1.1 by default: retrained weights have the same number of bytes, so more
            bytes mean another model.
        latency_ratio: of a cell's median call. 2 by default: the cells of a release run at the same time, so a median
            also measures what the other cells did.
        distance_ratio: of a cell's largest distance, as a share of its tolerance. 4 by default: wide enough for the
            rounding of other weights, narrow enough for another kernel.
        metric_drop: of the task metric, in its own unit. 0.02 by default: more than one of the 63 rows that are used.
        size_ratios: `format/variant`, or `format` -> ratio of bytes for these artifacts, instead of `size_ratio`.
    """

    size_ratio: float = 1.1
    latency_ratio: float = 2.0
    distance_ratio: float = 4.0
    metric_drop: float = 0.02
    size_ratios: Mapping[str, float] = field(default_factory=dict)

    def size_ratio_of(self, key: str) -> float:
        """Returns the ratio for an artifact, named `format/variant`: the most specific one that is set."""
        return self.size_ratios.get(key, self.size_ratios.get(key.partition("/")[0], self.size_ratio))


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRecord:
    """Records the policy that was in force, as far as it decides.

    Attributes:
        required: the cells that had to be proven.
        formats: the exports that were asked for: a format, or `format/variant`.
        atol, rtol: the tolerance set by hand, None for the default.
        tolerances: parts of tolerances set by hand for some cells and outputs; they override `atol` and `rtol`.
        weak_evidence: whether an output that barely varies over the samples is reported or refuses the release.
        task_margin: by how much the task metric of an artifact may be below the original's; None where it decides
            nothing.
        sample_seconds: a cell makes no further call that would take its inference beyond so many seconds.
        software_seconds: the same for cells on a software GPU.
        seconds: wall time that one cell may take.
        memory_gib: memory that one cell's process tree may take, GiB; what processes share counts once.
        retries: how often a job was repeated after infrastructure had ended it.
        gpu: what counted as a GPU.
        tf32: whether CUDA cells also ran with TF32 allowed.
        elsewhere: the cells that attestations have to prove.
        approval: whether a person has to approve the release.
        waivers: the cells that are waived until a date.
        evidence: whether the release keeps samples and references, or only their digests because they are private.
        baseline: by how much a release may be worse than a baseline.
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
