"""Records that cross the border of the validation layer.

In: artifacts of `exporters`. Out: one `Cell` for every (artifact variant, runtime, device), and a `Verdict` over them.
A parity failure is data; only infrastructure raises. Plain data and protocols; nothing here computes.

* `placement`: where a cell runs.
* `runtime`: what a runtime provides.
* `tolerance`: how far an output may lie from the reference.
* `samples`: what the comparisons rest on.
* `tensor_diff`: one output compared.
* `performance`: how fast an artifact was.
* `cell`: one artifact in one runtime on one device.
* `policy`: what was demanded.
* `verdict`: what the gate decided.
* `baseline`: a release held against an earlier one.
"""

from validators.contract.baseline import BaselineRecord, Comparison, What
from validators.contract.cell import Cell, CellStatus, Skip
from validators.contract.performance import Performance, Timing
from validators.contract.placement import TEXTURE_PRECISION, Device, Gpu, Placement
from validators.contract.policy import EvidenceRetention, PolicyRecord, RegressionLimits, Waiver, WeakEvidenceAction
from validators.contract.runtime import LoadedArtifact, Runtime, Tensors
from validators.contract.samples import Batch, Coverage, Domain, Grounds, NoiseBySet, Origin, SampleSet, Task
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
    "Coverage",
    "Decisions",
    "Device",
    "Domain",
    "EvidenceRetention",
    "Flip",
    "Gpu",
    "Grounds",
    "Histogram",
    "LoadedArtifact",
    "Noise",
    "NoiseBySet",
    "Origin",
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
    "What",
    "Worst",
]
