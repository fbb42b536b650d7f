"""Defines the errors that a user can see, and the exit code of each one.

ParitygateError
├── BadInput        exit 2: the model, the samples or the configuration is at fault; nothing was run
├── Broken          exit 3: an exporter, a runtime or the machine failed
│   └── Cancelled   a job was stopped because the run is ending (Ctrl-C, TERM, another failure)
├── Limited         the target cannot express this model; becomes an artifact's state, never a traceback
└── Unavailable     this machine has no such device or runtime; becomes a cell's state, never a traceback

Every message names the object, what was received and what is valid; `next_step` is the command or the
edit that gets the user further.
"""

import copyreg
from dataclasses import dataclass
from typing import Any


class ParitygateError(Exception):
    """Carries a message for a person; base of all errors of paritygate.

    Args:
        message: the object, what was received, what is valid.
        next_step: the next command or edit; empty when there is none.
    """

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles the error without its constructor, which Python would call with the message only."""
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]

    def __str__(self) -> str:
        return f"{self.message}\n  {self.next_step}" if self.next_step else self.message


class BadInput(ParitygateError):
    """Reports that the model, the samples or the configuration is at fault (exit 2)."""


class Broken(ParitygateError):
    """Reports that an exporter, a runtime or the machine failed (exit 3)."""


class Cancelled(Broken):
    """Reports that a job was stopped because the whole run is ending."""


class Limited(ParitygateError):
    """Reports that the target cannot express this model.

    Args:
        message: what the target lacks, in a sentence.
        limit: identifier of the row in `exporters.target_limits`.
    """

    def __init__(self, message: str, *, limit: str, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.limit = limit


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitReached:
    """Records a `Limited` that was caught: what the target lacks, the row that says so, what the user can do."""

    message: str
    limit: str
    next_step: str

    @classmethod
    def of(cls, error: Limited) -> "LimitReached":
        return cls(message=error.message, limit=error.limit, next_step=error.next_step)


class Unavailable(ParitygateError):
    """Reports that this machine has no such device or runtime; the next step names how to get it."""
