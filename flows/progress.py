"""What a run tells while it goes on: one event when a stage starts and one when it ends.

In: events, from any thread. Out: whatever listens: the CLI's live display, plain lines, Prefect's task log.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from exporters.errors import Cancelled

State = Literal["started", "passed", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A stage started or ended.

    Attributes:
        stage: the stage's name.
        state: `started`; `passed` (it did what it should); `failed` (its artifact or cell is not good, or it raised);
            `stopped` (the run is ending, this stage is not the reason).
        message: what came of it, one line; empty at the start.
        seconds: how long it took.
        total: how many stages the run has.
    """

    stage: str
    state: State
    message: str = ""
    seconds: float = 0.0
    total: int


Listener = Callable[[Event], None]

Work = Callable[[], tuple[bool, str]]
"""A stage's work: returns whether its result is good, and a line for a person."""


def perform(name: str, work: Work, *, total: int, listen: Listener) -> None:
    """Does a stage's work and tells about it, also when it raises."""
    started = time.monotonic()
    listen(Event(stage=name, state="started", total=total))
    state: State = "failed"
    message = ""
    try:
        good, message = work()
        state = "passed" if good else "failed"
    except BaseException as error:
        message = str(error).partition("\n")[0]
        state = "stopped" if isinstance(error, Cancelled) else "failed"
        raise
    finally:
        seconds = round(time.monotonic() - started, 3)
        listen(Event(stage=name, state=state, message=message, seconds=seconds, total=total))
