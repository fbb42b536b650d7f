"""The supervisor of isolated jobs: starts each in a process of its own, bounds it, and types its end.

In: `Job`s, from as many threads as like. Out: `Outcome`s. Jobs run side by side as far as cores and a memory budget
allow; each is watched for wall time and for the memory of its process tree. Closing kills what still runs.
"""

import json
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from exporters.jobs import process_tree as tree
from exporters.jobs.job import GIB, INFRASTRUCTURE, Answer, Attempt, Job, JobStatus, Outcome, Request
from exporters.jobs.log_tail import Tail
from exporters.jobs.messages import decode_answer, encode_request, name_of
from exporters.jobs.processes import FORK_IS_SAFE, Child, Host, fresh


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """How a job ended: the child's own words, or what the supervisor saw. The value is JSON, not yet the answer."""

    status: JobStatus
    value: Any = None
    message: str = ""
    next_step: str = ""
    limit: str = ""


_POLL = 0.25  # seconds between two looks at a running job's memory
_TYPICAL_MEMORY = GIB  # what the budget reserves for a job: a small model's TensorFlow process, measured 0.6-0.9 GiB


class Preloaded:
    """Processes that have imported heavy packages, for jobs to fork from; one set may serve several `Workers`.

    Args:
        modules: name -> modules that the process imports once.
        logs: where each process's log goes, `host-NAME.log`; must exist.
    """

    def __init__(self, modules: Mapping[str, Sequence[str]], logs: Path) -> None:
        self._modules = modules
        self.logs = logs
        self._lock = threading.Lock()
        self._closed = False
        self._hosts: dict[str, Host] = {}

    def host(self, name: str) -> Host | None:
        """The process, started when first asked for and anew when it has died; None where there can be none."""
        with self._lock:
            host = self._hosts.get(name)
            if self._closed or not FORK_IS_SAFE or (host is not None and host.alive):
                return host
            if host is not None:
                host.close()
            self._hosts[name] = Host(self._modules[name], self.logs / f"host-{name}.log")
            return self._hosts[name]

    def close(self) -> None:
        """Ends all of them; a second call does nothing."""
        with self._lock:
            self._closed = True
            hosts = list(self._hosts.values())
            self._hosts.clear()
        for host in hosts:
            host.close()


class Workers:
    """Runs jobs in isolated, bounded processes.

    Args:
        folder: scratch space for requests and results; must exist.
        logs: where each job's log goes, `NAME.log`; must exist.
        hosts: preloaded processes: name -> modules that each imports once, started when first needed or by `preload`;
            or those that others use too, which closing leaves alone.
        cores: how many jobs run at once; default one more than the machine's cores, since jobs also wait: for the disk,
            and for the browser. Jobs that are `ahead` run before the others, and of these who asked first.
        memory: bytes that running jobs may hold together before a further one has to wait; default 80 % of the
            machine's memory.
        hear: told every line that a job writes, as soon as it is there, from the thread that runs the job.

    Attributes:
        retried: every attempt that was followed by another one.
    """

    def __init__(  # noqa: PLR0913 - one knob for every bound
        self,
        folder: Path,
        logs: Path,
        *,
        hosts: Mapping[str, Sequence[str]] | Preloaded | None = None,
        cores: int | None = None,
        memory: int | None = None,
        hear: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.retried: list[Attempt] = []
        self._hear = hear
        self._folder = folder
        self._logs = logs
        self._cores = cores or (os.cpu_count() or 1) + 1
        self._memory = memory or psutil.virtual_memory().total * 4 // 5
        self._turn = threading.Condition()
        self._queue: deque[Job[Any, Any]] = deque()
        self._running: dict[str, Child | None] = {}
        self._held: dict[str, int] = {}
        self._closing = threading.Event()
        self._shared = isinstance(hosts, Preloaded)
        self._preloaded = hosts if isinstance(hosts, Preloaded) else Preloaded(hosts or {}, logs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closing(self) -> bool:
        """Whether the run is ending: whoever waits for something else than a job gives up."""
        return self._closing.is_set()

    def preload(self, name: str) -> None:
        """Starts a host's imports in the background, so that they overlap with whatever comes next."""
        self._preloaded.host(name)

    def run(self, job: Job[Request, Answer]) -> Outcome[Answer]:
        """Runs one job to its end, however it ends; blocks the calling thread.

        A job beyond one of its limits is killed with all its descendants. What infrastructure ended is done again as
        often as the job allows. While the supervisor is closing, every job ends as `cancelled`.
        """
        for _ in range(job.retries):
            outcome = self._attempt(job)
            if outcome.status not in INFRASTRUCTURE:
                return outcome
            seconds = round(outcome.seconds, 3)
            self.note(Attempt(job=job.name, status=outcome.status, message=outcome.message, seconds=seconds))
        return self._attempt(job)

    def note(self, attempt: Attempt) -> None:
        """Records an attempt that another one follows, and says so to whoever hears."""
        self.retried.append(attempt)
        self._hear(f"WARNING:paritygate:{attempt.status}: {attempt.message}; it is done again")

    def _attempt(self, job: Job[Request, Answer]) -> Outcome[Answer]:
        log = self._logs / f"{job.name}.log"
        if not self._take_turn(job):
            return Outcome(status="cancelled", message=f"{job.name} was not started: the run is ending", log=log)
        started = time.monotonic()
        tail = Tail(log)
        try:
            child = self._start(job, log)
            with self._turn:
                self._running[job.name] = child
            broken, peak = self._watch(job, child, started, tail)
        finally:
            with self._turn:
                self._running.pop(job.name)
                self._held.pop(job.name, None)
                self._turn.notify_all()
        seconds = time.monotonic() - started
        for line in tail.rest():
            self._hear(line)
        end = broken or self._read(job, child)
        return Outcome(
            status=end.status,
            value=decode_answer(job.function, end.value) if end.status == "ok" else None,
            message=end.message,
            next_step=end.next_step,
            limit=end.limit,
            seconds=seconds,
            peak_memory=peak,
            log=log,
        )

    def close(self) -> None:
        """Kills every running job, and the preloaded processes that are its own. Safe to call twice."""
        self._closing.set()
        with self._turn:
            children = [child for child in self._running.values() if child is not None]
            self._turn.notify_all()
        for child in children:
            if not child.ended.is_set():
                child.kill()
        if not self._shared:
            self._preloaded.close()

    def _take_turn(self, job: Job[Any, Any]) -> bool:
        with self._turn:
            self._queue.append(job)
            self._turn.wait_for(lambda: self._closing.is_set() or (self._next() is job and self._has_room()))
            self._queue.remove(job)
            self._turn.notify_all()
            if self._closing.is_set():
                return False
            if job.name in self._running:
                msg = f"a job named {job.name} is already running"
                raise ValueError(msg)
            self._running[job.name] = None
            self._held[job.name] = _TYPICAL_MEMORY
            return True

    def _next(self) -> Job[Any, Any]:
        return next((job for job in self._queue if job.ahead), self._queue[0])

    def _has_room(self) -> bool:
        if not self._running:
            return True  # a job larger than the budget runs alone
        return len(self._running) < self._cores and sum(self._held.values()) + _TYPICAL_MEMORY <= self._memory

    def _start(self, job: Job[Any, Any], log: Path) -> Child:
        request, result = self._files(job)
        result.unlink(missing_ok=True)
        function = name_of(job.function)
        request.write_text(encode_request(job.function, job.request), "utf-8")
        host = self._preloaded.host(job.host) if job.host else None
        if host is not None:
            return host.fork(function, request, result, log)
        return fresh(function, request, result, log, job.environment)

    def _files(self, job: Job[Any, Any]) -> tuple[Path, Path]:
        return self._folder / f"{job.name}.request.json", self._folder / f"{job.name}.result.json"

    def _watch(self, job: Job[Any, Any], child: Child, started: float, tail: Tail) -> tuple["_End | None", int]:
        """Waits for the end; returns how a job ended that had to be killed, and the peak memory in bytes."""
        peak = 0
        gauge = tree.Gauge(typical=_TYPICAL_MEMORY, bound=job.limits.memory)
        while not child.ended.wait(min(_POLL, max(0.0, started + job.limits.seconds - time.monotonic()))):
            for line in tail.lines():
                self._hear(line)
            if child.pid is not None:
                held = gauge.read((child.pid, *job.companions))
                peak = max(peak, held)
                self._held[job.name] = max(held, _TYPICAL_MEMORY)
            broken = self._broken_bound(job, peak, time.monotonic() - started)
            if broken is not None:
                child.kill()
                if broken.status == "out of memory":
                    for pid in job.companions:
                        tree.kill(pid)
                if child.pid is not None:
                    child.ended.wait(10)
                return broken, peak
        return None, peak

    def _broken_bound(self, job: Job[Any, Any], peak: int, seconds: float) -> "_End | None":
        if self._closing.is_set():
            return _End(status="cancelled", message=f"{job.name} was stopped: the run is ending")
        if seconds > job.limits.seconds:
            return _End(
                status="timeout",
                message=f"{job.name} was still running after {job.limits.seconds:g} s and was killed",
                next_step="Raise limits.seconds in release.toml if the model needs longer.",
            )
        if peak > job.limits.memory:
            return _End(
                status="out of memory",
                message=f"{job.name} held {peak / GIB:.1f} GiB, more than its bound of "
                f"{job.limits.memory / GIB:.1f} GiB, and was killed",
                next_step="Raise limits.memory_gib in release.toml if the machine has more.",
            )
        return None

    def _read(self, job: Job[Any, Any], child: Child) -> "_End":
        """Returns how a job ended that ended by itself."""
        if self._closing.is_set():
            return _End(status="cancelled", message=f"{job.name} was stopped: the run is ending")
        _, result = self._files(job)
        if result.exists():
            return _End(**json.loads(result.read_text("utf-8")))
        return _End(status="crashed", message=_describe_death(job.name, child))


def _describe_death(name: str, child: Child) -> str:
    if child.exit_code is None:
        return f"{name} could not run: {child.failure}"
    if child.exit_code < 0:
        name_of_signal = signal.Signals(-child.exit_code).name
        hint = " (possibly the system's out-of-memory killer)" if name_of_signal == "SIGKILL" else ""
        return f"{name} crashed ({name_of_signal}){hint}"
    return f"{name} ended with exit status {child.exit_code} and no answer"
