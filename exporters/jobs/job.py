"""Defines the records of an isolated job: `Job` (what to call), `Limits` (its bounds), `Outcome` (its typed end).

In: nothing. Out: the records, for the stages and for `exporters.jobs.supervisor`. The death of a job is data: the
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
"""Ends that the machine may have caused: a second attempt may end differently. All others are final."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds the time and the memory of one job.

    Attributes:
        seconds: wall time from start to end; beyond it the job's process tree is killed.
        memory: bytes that the job's process tree may hold, sampled by `exporters.jobs.process_tree.MemoryMeter`; beyond
            it the tree is killed. This is no bound on address space: Chromium reserves far more of it than it uses,
            and MLIR aborts when an allocation is refused.
    """

    seconds: float = 900.0
    memory: int = 12 * GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(Generic[Request, Answer]):
    """Describes a function to call in its own process.

    Attributes:
        name: unique within a run; names the log file.
        function: at the top of a module, with one annotated argument and an annotated result: these types say how the
            request and the answer cross the border (`exporters.jobs.messages`).
        request: argument of the function.
        limits: its bounds.
        fork_server: name of the fork server that forks its process; None for a fresh interpreter.
        environment: variables in addition to those that every job gets, or replacing them, as `CUDA_VISIBLE_DEVICES`
            of a job that shall see a card. Only a fresh interpreter can have any.
        companions: pids of processes that work for this job without being its children (the shared browser). The memory
            of their trees counts as the job's; they are killed with it when it holds too much.
        retries: how many further attempts follow an end of `INFRASTRUCTURE`.
        priority: whether it starts before waiting jobs without priority, as one that takes long or that others need.
    """

    name: str
    function: Callable[[Request], Answer]
    request: Request
    limits: Limits = field(default_factory=Limits)
    fork_server: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    companions: tuple[int, ...] = ()
    retries: int = 0
    priority: bool = False

    def __post_init__(self) -> None:
        if self.fork_server is not None and self.environment:
            variables = sorted(self.environment)
            msg = f"{self.name}: a fork of the fork server {self.fork_server} keeps its environment; got {variables}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Records an attempt that infrastructure ended and that was followed by another.

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
    """Records how a job ended.

    Attributes:
        status: `ok`, or what went wrong.
        value: the function's answer; None unless `ok`.
        message: the real error message, the bound that was broken, or the signal that killed it.
        next_step: the next command or edit for the user; empty where the job knew none.
        limit: for `limited`, identifier of the row in `exporters.target_limits`; else empty.
        seconds: wall time.
        peak_memory: the largest sample of the memory of the job's process tree, bytes.
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
                return cast("Answer", self.value)  # None is the answer of a function that returns nothing
            case "bad input":
                raise BadInput(self.message, next_step=self.next_step)
            case "limited":
                raise Limited(self.message, limit=self.limit, next_step=self.next_step)
            case "cancelled":
                raise Cancelled(self.message)
            case _:
                raise Broken(f"{self.status}: {self.message}", next_step=f"The full log is {self.log}")
