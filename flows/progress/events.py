"""Reports what happens during a run: an event when a stage starts and ends, for every wait and every line of a job.

In: events, from any thread. Out: calls of each listener: the CLI's live display, plain lines, Prefect's task log.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal

from exporters.errors import Cancelled

State = Literal["waiting", "started", "output", "passed", "unable", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Reports that a stage started, waits or ended.

    Attributes:
        stage: the stage's name.
        state: `waiting` (for something that another run holds, before the start or after it); `started`; `output` (its
            job wrote a line); `passed` (it did what it should); `unable` (the target cannot express the model, or this
            machine lacks the device); `failed` (its artifact or cell is not good, or it raised); `stopped` (the run is
            ending, this stage is not the reason).
        message: the result in one line; empty at the start. While `waiting`: for what; empty when the wait is over.
            When `output`: the line.
        seconds: its duration.
        total: number of stages of the run.
    """

    stage: str
    state: State
    message: str = ""
    seconds: float = 0.0
    total: int

    @property
    def ended(self) -> bool:
        """Tells whether it is the stage's last event."""
        return self.state not in {"waiting", "started", "output"}


Listener = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class StageOutcome:
    """Says how a stage ended that did not raise.

    Attributes:
        passed: True when the result is good, False when it is not; None when there can be none, because the target
            cannot express the model or this machine lacks the device.
        message: one line for a person.
    """

    passed: bool | None
    message: str


StageWork = Callable[[], StageOutcome]
"""Does a stage's work; it keeps its result itself and returns only how it ended."""

_ENDS: dict[bool | None, State] = {True: "passed", None: "unable", False: "failed"}

_tell: ContextVar[Callable[[State, str], None]] = ContextVar("tell")


def waiting(message: str) -> None:
    """Reports that this thread's stage waits, and for what; outside of a stage it does nothing.

    Args:
        message: one line for a person; empty when the wait is over.
    """
    if tell := _tell.get(None):
        tell("waiting", message)


def report_output(line: str) -> None:
    """Reports a line that the job of this thread's stage wrote; outside of a stage it does nothing."""
    if tell := _tell.get(None):
        tell("output", line)


def perform(name: str, work: StageWork, *, total: int, listen: Listener) -> None:
    """Does a stage's work and reports its start and end, also when it raises."""
    started = time.monotonic()
    listen(Event(stage=name, state="started", total=total))
    before = _tell.set(lambda state, message: listen(Event(stage=name, state=state, message=message, total=total)))
    state: State = "failed"
    message = ""
    try:
        outcome = work()
        state, message = _ENDS[outcome.passed], outcome.message
    except BaseException as error:
        message = str(error).partition("\n")[0]
        state = "stopped" if isinstance(error, Cancelled) else "failed"
        raise
    finally:
        _tell.reset(before)
        seconds = round(time.monotonic() - started, 3)
        listen(Event(stage=name, state=state, message=message, seconds=seconds, total=total))
