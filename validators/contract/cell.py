"""Records one cell: one artifact variant in one runtime on one device, compared with the reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from exporters.contract import Finding
from validators.contract.performance import Performance
from validators.contract.placement import Device, Placement
from validators.contract.tensor_diff import TensorDiff

CellStatus = Literal["passed", "failed", "limited", "errored", "unavailable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """Records the reason why an artifact was not fed a sample set, or only a part of it.

    Attributes:
        kind: `too slow`: there was no time for the set, or not for all of it; `other batch`, `other length`: the
            artifact's own batch, or length of another axis, is fixed and is not the set's.
        why: the same in words, with its numbers.
    """

    kind: Literal["too slow", "other batch", "other length"]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """Records one artifact variant in one runtime on one device, compared with the reference.

    Attributes:
        format, variant: the artifact.
        runtime: registry name of the runtime, e.g. `litert-xnnpack`.
        device: the device that was asked for; where it ran is in `placement`.
        status: see the design: `passed`, `failed`, `limited`, `errored`, `unavailable`.
        reason: empty when passed, else a short stable name (`tolerance exceeded`, `timeout`, ...).
        message: the reason in a sentence, with names and numbers; for `unavailable`, the way to get the runtime.
        placement: where it ran; None when it never loaded.
        diffs: one per sample set and output.
        skipped: sample sets that the artifact was not fed, or not to their end, each with why.
        rows: how many rows were compared, over all sets; the manifest's sample sets say of how many.
        task: the task metric over the user's labelled samples; None where there are none, or no time for all of them.
        findings: the limit that kept the artifact from running (blocking), or an observation about the runtime that
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
        """Returns `format/variant runtime device`, the name of the cell everywhere a person reads."""
        return f"{self.format}/{self.variant} {self.runtime} {self.device}"

    @property
    def unseen(self) -> Mapping[str, str]:
        """Returns the sets that were skipped because the runtime is too slow; each with the reason."""
        return {name: skip.why for name, skip in self.skipped.items() if skip.kind == "too slow"}

    @property
    def max_abs(self) -> float | None:
        """Returns the largest distance over all outputs and sample sets; None when nothing was compared."""
        return max((d.max_abs for d in self.diffs if d.max_abs is not None), default=None)
