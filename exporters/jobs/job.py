"""What an isolated job may use, and how it ended.

In: nothing. Out: `Limits`, the bounds a job runs under, and `Outcome`, its typed end. A job's death is data: the
caller decides whether it becomes a failed cell, an errored artifact or an exit code.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, TypeVar, cast

from exporters.errors import BadInput, Broken, Cancelled, Limited

GIB = 1 << 30

Request = TypeVar("Request")
Answer = TypeVar("Answer")

JobStatus = Literal["ok", "bad input", "limited", "python error", "timeout", "out of memory", "crashed", "cancelled"]

INFRASTRUCTURE: frozenset[str] = frozenset({"timeout", "out of memory", "crashed"})
"""Ends that say nothing about the job's subject: a second attempt may end otherwise. All others are final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one job.

    Attributes:
        seconds: wall time from start to end; beyond it the job's process tree is killed.
        memory: bytes that the job's process tree holds (`exporters.jobs.process_tree.held`), sampled; beyond it the
            tree
            is killed. Not address space: Chromium reserves far more of it than it uses, and MLIR aborts when an
            allocation is refused.
    """

    seconds: float = 900.0
    memory: int = 12 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[Request, Answer]):
    """A function to call in a process of its own.

    Attributes:
        name: unique within a run; names the log file.
        function: at the top of a module, with one annotated argument and an annotated result: these types say how the
            request and the answer cross the border (`exporters.jobs.messages`).
        request: what the function gets.
        limits: its bounds.
        retries: how many further attempts follow an end of `INFRASTRUCTURE`.
        companions: processes that work for this job without being its children (the shared browser): their trees'
            memory counts as its own, and they die with it when it holds too much.
        host: name of the preloaded process to run in a fork of; empty for a fresh interpreter.
        environment: variables beside those that every job gets, or in their place, as `CUDA_VISIBLE_DEVICES` of a job
            that shall see a card. Only a fresh interpreter can have any.
        ahead: whether it goes before the waiting jobs that are not, since others wait for it or it takes long.
    """

    name: str
    function: Callable[[Request], Answer]
    request: Request
    limits: Limits = field(default_factory=Limits)
    host: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    companions: tuple[int, ...] = ()
    retries: int = 0
    ahead: bool = False

    def __post_init__(self) -> None:
        if self.host and self.environment:
            msg = f"{self.name}: a fork of the host {self.host} keeps its environment; got {sorted(self.environment)}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """An attempt at a job that infrastructure ended and that was followed by another.

    Attributes:
        job: the job's name, that of its log file.
        status, message: see `Outcome`.
        seconds: wall time.
    """

    job: str
    status: str
    message: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[Answer]):
    """How a job ended.

    Attributes:
        status: `ok`, or what went wrong.
        value: what the function returned; None unless `ok`.
        message: the real error message, the bound that was broken, or the signal that killed it.
        next_step: what the user can do, when the job knew.
        limit: identifier of the limits-table row, for `limited`.
        seconds: wall time.
        peak_memory: most memory that the job's process tree was seen to hold, bytes.
        log: file with everything the job wrote to stdout and stderr.
    """

    status: JobStatus
    value: Answer | None = None
    message: str = ""
    next_step: str = ""
    limit: str = ""
    seconds: float = 0.0
    peak_memory: int = 0
    log: Path

    def unwrap(self) -> Answer:
        """Returns the value of a job that must succeed.

        Raises:
            BadInput: the input was at fault.
            Limited: the target cannot express the model.
            Cancelled: the run is ending.
            Broken: everything else, with the status and the message.
        """
        match self.status:
            case "ok":
                return cast("Answer", self.value)  # None is what a function that returns nothing answers
            case "bad input":
                raise BadInput(self.message, next_step=self.next_step)
            case "limited":
                raise Limited(self.message, limit=self.limit, next_step=self.next_step)
            case "cancelled":
                raise Cancelled(self.message)
            case _:
                raise Broken(f"{self.status}: {self.message}", next_step=f"The full log is {self.log}")
