"""What crosses the border of the validation layer: placements, differences, cells, verdicts.

In: artifacts of `exporters`. Out: one `Cell` for every (artifact variant, runtime, device), and a `Verdict` over
them. A parity failure is data; only infrastructure raises.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import numpy as np

from exporters.contract import Finding, Signature
from validators.histogram import Histogram
from validators.performance import Performance

CellStatus = Literal["passed", "failed", "limited", "errored", "unavailable"]
Device = Literal["cpu", "gpu"]
Gpu = Literal["any", "hardware", "off"]
"""What counts as a GPU: any adapter, a real card alone, or no GPU cell at all."""
Tensors = Mapping[str, np.ndarray]
"""Canonical name -> array."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a cell really ran, as the runtime itself reports it.

    Attributes:
        device: `cpu` or `gpu`.
        runtime: name and version, e.g. `onnxruntime 1.31.1`.
        adapter: the execution provider, delegate, backend or card, e.g. `XNNPACK`, `wasm (SIMD, 2 threads)`,
            `WebGPU (SwiftShader Device)`.
        software: whether `gpu` is a program that imitates a card (SwiftShader, llvmpipe).
        fallbacks: operators that the CPU ran although a GPU was asked for -> how many of each.
        threads: how many the runtime computes with on the processor; None where it chooses and does not say.
        details: further settings that matter for the numbers, as text.
    """

    device: Device
    runtime: str
    adapter: str
    software: bool = False
    fallbacks: Mapping[str, int] = field(default_factory=dict)
    threads: int | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """The adapter for a person: `CPUExecutionProvider`, `software WebGPU (SwiftShader Device)`."""
        return f"software {self.adapter}" if self.software else self.adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """An element passes when |actual - reference| <= atol + rtol * |reference|.

    Attributes:
        atol: absolute part, in the output's own unit.
        rtol: relative part.
        reason: why these numbers, in words.
    """

    atol: float
    rtol: float
    reason: str


PARTS = ("atol", "rtol", "multiple")
"""What of a tolerance a policy may set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """Parts of a tolerance that a policy sets itself, for some cells and outputs.

    Attributes:
        cells: `FORMAT RUNTIME DEVICE`, each a name or `*`.
        output: canonical name of an output, or `*`.
        atol: absolute part, in the output's own unit; None keeps the rule's.
        rtol: relative part; None keeps the rule's.
        multiple: how many times the noise floor the absolute part is, where the rule's is too many or too few.
    """

    cells: str = "* * *"
    output: str = "*"
    atol: float | None = None
    rtol: float | None = None
    multiple: float | None = None

    def fits(self, *cell: str) -> bool:
        """Whether it holds for a cell: its format, runtime and device."""
        return all(asked in {"*", own} for asked, own in zip(self.cells.split(), cell, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Worst:
    """The element furthest from the reference: its index and both values (as text: NaN and Inf survive)."""

    index: tuple[int, ...]
    reference: str
    actual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The original's own rounding of one output: how far its float32 answers lie from its float64 ones.

    Attributes:
        floor: the largest |float32 - float64| over all rows that were measured, in the output's unit; None where there
            is no float64 answer to hold it against.
        scale: the largest finite magnitude of the output over those rows.
        rows: how many rows were measured.
        why: why there is no floor; empty where there is one.
    """

    floor: float | None
    scale: float
    rows: int
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """What the seeded values of one input are drawn from, uniformly.

    Attributes:
        low, high: the ends, both included for whole numbers; the outermost ones where features have
            their own. Text has none: 0 and 0.
        whole: whether the values are whole numbers, whatever their type.
        why: what in the model says so.
    """

    low: float
    high: float
    whole: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How far one output of the original varies over all samples: where it hardly does, few faults can show.

    Attributes:
        spread: the largest range that any element runs through over the rows of one set, in the output's unit; for
            whole numbers, booleans and text the number of different values.
        scale: the output's largest finite magnitude; 0 for what is no number.
        weak: whether the evidence about this output is weak.
        why: why it is, in a sentence; empty where it is not.
    """

    spread: float
    scale: float
    weak: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What the user's labels measure.

    Attributes:
        metric: `accuracy`, or the user's function, `PACKAGE.MODULE:FUNCTION`; larger is better.
        output: the output that accuracy is read from; empty for a function, which gets all of them.
        original: the original's own, over the same rows.
        rows: how many labelled rows there are.
    """

    metric: str
    output: str
    original: float
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A decision that came out otherwise.

    Attributes:
        index: of the decision: the output's index without its last axis.
        reference, actual: the entry of the last axis that is largest there.
        margin: by how much the reference preferred its own choice over the artifact's, in the output's unit.
    """

    index: tuple[int, ...]
    reference: int
    actual: int
    margin: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """Which entry of an output's last axis is the largest, compared with the reference.

    Attributes:
        compared: how many decisions there are: elements of the output without its last axis.
        ties: of these, how many the reference itself takes by no more than twice the tolerance, so that either may win.
        top1: how many came out the same.
        topk: for how many the k largest entries are the same ones.
        k: five, or fewer where the axis is shorter.
        flips: the decisions that came out otherwise, those with the largest margin first, five at most.
    """

    compared: int
    ties: int
    top1: int
    topk: int
    k: int
    flips: tuple[Flip, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDiff:
    """One output compared with the reference over one sample set.

    Attributes:
        name: canonical name of the output.
        sample_set: the name of the sample set.
        problem: empty when passed, else the named reason, one of `validators.compare.PROBLEMS`.
        message: the problem in a sentence, with what was got and what was expected.
        elements: how many were compared.
        failing: how many are beyond the tolerance or differ in NaN/Inf.
        max_abs: largest |actual - reference| over elements finite in both; None when nothing was comparable.
        max_rel: largest |actual - reference| / |reference| where the reference is not zero; None as above.
        nonfinite_mismatches: elements where one side is NaN or +/-Inf and the other is not the same.
        worst: the element that fails hardest, or differs most when none fails.
        tolerance: what was allowed; None for exact comparisons.
        noise: the original's own noise floor that the tolerance comes from; None where there is none.
        needed: the smallest absolute part that would have passed beside the same relative part; None as for `max_abs`,
            and for exact comparisons.
        sqnr_db: signal to noise, 10 log10(sum of reference^2 / sum of difference^2), over elements finite in both, in
            decibels; None where nothing differs or the reference is zero everywhere.
        cosine: of the angle between reference and actual as vectors of such elements; None where either is zero.
        decisions: which entries are largest; None where the output has no last axis to choose from.
        errors: how they are spread; None where nothing was comparable, and for text.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Why an artifact was not fed a sample set, or not to its end.

    Attributes:
        kind: `too slow`: there was no time for it, or not for all of it; `other batch`, `other length`: the
            artifact's own batch, or length of another axis, is fixed and is not the set's.
        why: the same in words, with its numbers.
    """

    kind: Literal["too slow", "other batch", "other length"]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One artifact variant in one runtime on one device, compared with the reference.

    Attributes:
        format, variant: the artifact.
        runtime: registry name of the runtime, e.g. `litert-xnnpack`.
        device: the device that was asked for; where it ran is in `placement`.
        status: see the design: `passed`, `failed`, `limited`, `errored`, `unavailable`.
        reason: empty when passed, else a short stable name (`tolerance exceeded`, `timeout`, ...).
        message: the reason in a sentence, with names and numbers; how to get it for `unavailable`.
        placement: where it ran; None when it never loaded.
        diffs: one per sample set and output.
        skipped: sample sets that the artifact was not fed, or not to their end, each with why.
        rows: how many rows were compared, over all sets; the manifest's sample sets say of how many.
        task: the task metric over the user's labelled samples; None where there are none, or no time for all of them.
        findings: the limit that kept the artifact from running (blocking), or what the runtime brought to light that
            does not decide parity; each with its way out.
        seconds: wall time of the cell, load included.
        performance: how fast it was; None when no call was made. Never decides anything here.
        log: the log file of the cell's process, relative to the release directory.
    """

    format: str
    variant: str
    runtime: str
    device: Device
    status: CellStatus
    reason: str = ""
    message: str = ""
    placement: Placement | None = None
    diffs: tuple[TensorDiff, ...] = ()
    skipped: Mapping[str, Skip] = field(default_factory=dict)
    rows: int = 0
    task: float | None = None
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0
    performance: Performance | None = None
    log: str = ""

    @property
    def key(self) -> str:
        """`format/variant runtime device`, the name of the cell everywhere a person reads."""
        return f"{self.format}/{self.variant} {self.runtime} {self.device}"

    @property
    def unseen(self) -> Mapping[str, str]:
        """The skipped sets that the artifact could have been fed, had the runtime been faster; each with why."""
        return {name: skip.why for name, skip in self.skipped.items() if skip.kind == "too slow"}

    @property
    def max_abs(self) -> float | None:
        """The largest distance over all outputs and sample sets; None when nothing was compared."""
        return max((d.max_abs for d in self.diffs if d.max_abs is not None), default=None)


class Runtime(Protocol):
    """A loaded artifact, ready to infer. Tensors go in and out under canonical names."""

    @property
    def placement(self) -> Placement:
        """Where inference ran, read back from the runtime after a call, never echoed from the request."""

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one batch.

        Returns:
            Every output the artifact has, also ones the signature does not know, under canonical names where the
            artifact's signature maps them and native names where it does not.
        """


class Load(Protocol):
    """A runtime's way in, named by a registry row."""

    def __call__(
        self, artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]
    ) -> AbstractContextManager[Runtime]:
        """Loads the artifact; leaving the context frees it.

        Raises:
            Unavailable: this machine has no such device.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A cell that the policy demands: every exported variant of the format must prove it, and none may fail it."""

    format: str
    runtime: str
    device: Device

    def __str__(self) -> str:
        return f"{self.format} {self.runtime} {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why the gate refused, or what broke.

    Attributes:
        code: short stable name: `empty report`, `missing required cell`, `tolerance exceeded`, ...
        subject: the cell, artifact or file it is about.
        message: one sentence with names and numbers.
        broken: True when infrastructure is at fault (exit 3), False when the gate said no (exit 1).
    """

    code: str
    subject: str
    message: str
    broken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The gate's decision: passed only when there is no reason against it.

    Attributes:
        passed: whether the release goes out.
        reasons: what stands against it.
        required: what the policy demands.
        waived: what would stand against it were it not for a waiver, which the message names.
    """

    passed: bool
    reasons: tuple[Reason, ...]
    required: tuple[Requirement, ...]
    waived: tuple[Reason, ...] = ()

    @property
    def exit_code(self) -> int:
        """0 released, 1 refused, 3 broken."""
        if self.passed:
            return 0
        return 3 if any(reason.broken for reason in self.reasons) else 1
