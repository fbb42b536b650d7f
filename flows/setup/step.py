"""Defines a step of the set-up and its result."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from exporters.errors import ParitygateError

StepStatus = Literal["ready", "installed", "not needed", "failed"]
Say = Callable[[str], object]
"""Takes a line of progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """Records how a step ended.

    Attributes:
        name: of the step.
        status: `ready` when everything was there already; `not needed` when no installed extra uses it.
        message: why the step failed, with the way out; None unless `failed`.
    """

    name: str
    status: StepStatus
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupStep:
    """Installs one thing that pip cannot install.

    Attributes:
        name: of the thing.
        needed: tells whether an installed extra uses it.
        ready: tells whether it is there; may raise a ParitygateError.
        install: installs it; raises a ParitygateError with the way out when it cannot.
    """

    name: str
    needed: Callable[[], bool]
    ready: Callable[[], bool]
    install: Callable[[Say], None]

    def run(self, say: Say) -> StepResult:
        """Installs the thing unless it is there or not needed."""
        try:
            if not self.needed():
                return StepResult(name=self.name, status="not needed")
            if self.ready():
                return StepResult(name=self.name, status="ready")
            self.install(say)
        except ParitygateError as error:
            return StepResult(name=self.name, status="failed", message=str(error))
        except OSError as error:
            return StepResult(name=self.name, status="failed", message=f"{error}; check free space and permissions")
        return StepResult(name=self.name, status="installed")
