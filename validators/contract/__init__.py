"""Records that cross the border of the validation layer.

In: artifacts of `exporters`. Out: one `Cell` for every (artifact variant, runtime, device), and a `Verdict` over them.
A parity failure is data; only infrastructure raises. Plain data and protocols; nothing here computes.

* `placement`: where a cell runs.
* `runtime`: what a runtime provides.
* `tolerance`: how far an output may differ from the reference.
* `samples`: the sample sets, and facts about them that the comparisons depend on.
* `tensor_diff`: one output compared.
* `performance`: how fast an artifact was.
* `cell`: one artifact in one runtime on one device.
* `policy`: what was demanded.
* `verdict`: what the gate decided.
* `baseline`: a release compared with an earlier one.
"""

from validators.contract.baseline import BaselineRecord, Comparison, Figure
from validators.contract.cell import Cell, CellStatus, Skip
from validators.contract.performance import Performance, Timing
from validators.contract.placement import TEXTURE_PRECISION, Device, Gpu, Placement
from validators.contract.policy import EvidenceRetention, PolicyRecord, RegressionLimits, Waiver, WeakEvidenceAction
from validators.contract.runtime import LoadedArtifact, Runtime, Tensors
from validators.contract.samples import (
    Batch,
    ComparisonBasis,
    Domain,
    NoiseBySet,
    Origin,
    OutputVariation,
    SampleSet,
    Task,
)
from validators.contract.tensor_diff import Decisions, Flip, Histogram, TensorDiff, Worst
from validators.contract.tolerance import PARTS, Noise, Tolerance, ToleranceOverride
from validators.contract.verdict import Reason, Requirement, Verdict

__all__ = [
    "PARTS",
    "TEXTURE_PRECISION",
    "BaselineRecord",
    "Batch",
    "Cell",
    "CellStatus",
    "Comparison",
    "ComparisonBasis",
    "Decisions",
    "Device",
    "Domain",
    "EvidenceRetention",
    "Figure",
    "Flip",
    "Gpu",
    "Histogram",
    "LoadedArtifact",
    "Noise",
    "NoiseBySet",
    "Origin",
    "OutputVariation",
    "Performance",
    "Placement",
    "PolicyRecord",
    "Reason",
    "RegressionLimits",
    "Requirement",
    "Runtime",
    "SampleSet",
    "Skip",
    "Task",
    "TensorDiff",
    "Tensors",
    "Timing",
    "Tolerance",
    "ToleranceOverride",
    "Verdict",
    "Waiver",
    "WeakEvidenceAction",
    "Worst",
]
