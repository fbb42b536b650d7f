"""Records what the gate decides, and the reasons for it."""

from dataclasses import dataclass

from validators.contract.placement import Device


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
