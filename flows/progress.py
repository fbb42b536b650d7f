"""What a run tells while it goes on: one event when a stage starts and one when it ends.

In: events, from any thread. Out: whatever listens: the CLI's live display, plain lines, Prefect's task log.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

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
