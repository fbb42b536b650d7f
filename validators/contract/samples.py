"""Records the basis of the comparisons: sample sets, the domains of their values, the task that labels measure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from validators.contract.tolerance import Noise

Origin = Literal["user", "seeded", "edges", "beyond"]


Batch = Literal["independent", "mixes", "fixed"]


NoiseBySet = Mapping[str, Mapping[str, Noise]]
"""Sample set -> output -> noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """Records the domain that the seeded values of one input are drawn from, uniformly.

    Attributes:
        low, high: the ends, both included for whole numbers; the outermost ends where features have
            different ones. Text has none: 0 and 0.
        whole: whether the values are whole numbers, whatever their type.
        why: the part of the model that implies it.
    """

    low: float
    high: float
    whole: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputVariation:
    """Records how far one output of the original varies over all samples; one that hardly varies shows few faults.

    Attributes:
        spread: the largest range of any element over the rows of one set, in the output's unit; for
            whole numbers, booleans and text the number of different values.
        scale: the output's largest finite magnitude; 0 for an output that holds no numbers.
        weak: whether the evidence about this output is weak.
        why: why the evidence is weak, in a sentence; empty where it is not.
    """

    spread: float
    scale: float
    weak: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Records the task that the user's labels measure.

    Attributes:
        metric: `accuracy`, or the user's function, `PACKAGE.MODULE:FUNCTION`; larger is better.
        output: the output that accuracy is read from; empty for a function, which gets all of them.
        original: the metric of the original over the same rows.
        rows: how many labelled rows there are.
    """

    metric: str
    output: str
    original: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSet:
    """Records a set of input rows that every cell is fed.

    Attributes:
        name: folder name under `evidence/samples` and `evidence/reference`.
        rows: how many rows.
        batch: rows per call (an artifact with a fixed batch is fed in that batch).
        origin: `user`; `seeded`: drawn from each input's domain; `edges`: its ends, zeros and ones; `beyond`: values
            far outside it.
        seed: of the generator; None for the user's samples.
        dynamic: length of each axis that the model leaves open, the batch aside, `INPUT[AXIS]` -> length.
    """

    name: str
    rows: int
    batch: int
    origin: Origin
    seed: int | None = None
    dynamic: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonBasis:
    """Records the facts, in addition to the samples, that the comparisons of a release depend on.

    Attributes:
        domains: input -> the domain that its seeded values are drawn from.
        dropped: sample set -> why it is not among the evidence, in a sentence.
        batch: `independent`: the original gives a row the same answer in any batch; `mixes`: the answer depends on the
            batch; `fixed`: the original takes only one batch.
        noise: sample set -> output -> the original's own rounding.
        coverage: output -> how far it varies over all samples.
        task: the task that the user's labels measure; None without labels that a metric fits.
    """

    domains: Mapping[str, Domain] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    batch: Batch = "independent"
    noise: NoiseBySet = field(default_factory=dict)
    coverage: Mapping[str, OutputVariation] = field(default_factory=dict)
    task: Task | None = None
