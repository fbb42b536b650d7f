"""Records what the gate decides, and the reasons for it."""

from dataclasses import dataclass, replace

from validators.contract.cell import Cell
from validators.contract.placement import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """Records a cell that the policy demands.

    Attributes:
        format: the artifacts it is about.
        runtime: registry name of the runtime.
        device: where it has to run.
        variant: the only variant that must prove it; None where every exported variant of the format must.
    """

    format: str
    runtime: str
    device: Device
    variant: str | None = None

    @property
    def of_format(self) -> "Requirement":
        """Returns the same requirement for every variant, as the table of runtimes has it."""
        return replace(self, variant=None)

    def covers(self, key: str) -> bool:
        """Tells whether it is about an artifact, named `format/variant`."""
        format_, _, variant = key.partition("/")
        return format_ == self.format and self.variant in {None, variant}

    def asks_for(self, cell: Cell) -> bool:
        """Tells whether it demands a cell."""
        place = (cell.runtime, cell.device) == (self.runtime, self.device)
        return place and self.covers(f"{cell.format}/{cell.variant}")

    def overlaps(self, other: "Requirement") -> bool:
        """Tells whether both demand some cell."""
        return self.of_format == other.of_format and (None in {self.variant, other.variant} or self == other)

    @property
    def artifacts(self) -> str:
        """Returns `format`, or `format/variant` where it is about one variant."""
        return f"{self.format}/{self.variant}" if self.variant else self.format

    def __str__(self) -> str:
        return f"{self.artifacts} {self.runtime} {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Records a reason why the gate refused, or a failure of infrastructure.

    Attributes:
        code: a short stable name: `empty report`, `missing required cell`, `tolerance exceeded`, ...
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
    """Records the gate's decision: passed only when there is no reason against it.

    Attributes:
        passed: whether the model is released.
        reasons: the reasons to refuse it.
        required: the cells that the policy demands.
        waived: reasons that a waiver sets aside; the message names the waiver.
    """

    passed: bool
    reasons: tuple[Reason, ...]
    required: tuple[Requirement, ...]
    waived: tuple[Reason, ...] = ()

    @property
    def exit_code(self) -> int:
        """Returns the exit code: 0 released, 1 refused, 3 broken."""
        if self.passed:
            return 0
        # One broken cell is enough: without it the gate cannot know whether the model would be released.
        return 3 if any(reason.broken for reason in self.reasons) else 1
