"""Supervises isolated jobs: starts each in its own process, bounds it, and returns a typed end.

In: `Job`s, from any number of threads. Out: `Outcome`s. Jobs run in parallel as far as the cores and a memory budget
allow; each is watched for wall time and for the memory of its process tree. Closing kills the jobs that still run.
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

from exporters.jobs import process_tree
from exporters.jobs.job import GIB, INFRASTRUCTURE, Answer, Attempt, Job, JobStatus, Outcome, Request
from exporters.jobs.log_follower import LogFollower
from exporters.jobs.messages import decode_answer, encode_request, name_of
from exporters.jobs.processes import FORK_IS_SAFE, Child, ForkServer, start_interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class _RawOutcome:
    """Holds the end of a job as the child wrote it or the supervisor saw it; the value is still plain JSON."""

    status: JobStatus
    value: Any = None
    message: str = ""
    next_step: str = ""
    limit: str = ""


_POLL = 0.25  # seconds between two looks at a running job's memory
_TYPICAL_MEMORY = GIB  # reserved for a new job; a small model's TensorFlow process holds 0.6 to 0.9 GiB (measured)


class ForkServers:
    """Starts fork servers by name and keeps them; one set may serve several `Workers`.

    Args:
        modules: name of a fork server -> modules that it imports once.
        logs: folder for the log of each server, `fork-server-NAME.log`; must exist.
    """

    def __init__(self, modules: Mapping[str, Sequence[str]], logs: Path) -> None:
        self._modules = modules
        self.logs = logs
        self._lock = threading.Lock()
        self._closed = False
        self._servers: dict[str, ForkServer] = {}

    def get(self, name: str) -> ForkServer | None:
        """Returns the fork server; starts it on the first call, and again when it has died.

        None where a fork is not safe, and after `close`.
        """
        with self._lock:
            server = self._servers.get(name)
            if self._closed or not FORK_IS_SAFE or (server is not None and server.alive):
                return server
            if server is not None:
                server.close()
            self._servers[name] = ForkServer(self._modules[name], self.logs / f"fork-server-{name}.log")
            return self._servers[name]

    def close(self) -> None:
        """Ends all of them; a second call does nothing."""
        with self._lock:
            self._closed = True
            servers = list(self._servers.values())
            self._servers.clear()
        for server in servers:
            server.close()


class Workers:
    """Runs jobs in isolated, bounded processes.

    Args:
        folder: scratch space for requests and results; must exist.
        logs: folder for the log of each job, `NAME.log`; must exist.
        fork_servers: name of a fork server -> modules that it imports once, started when first needed or by `preload`;
            or a shared set, which closing does not close.
        cores: how many jobs run at once; default one more than the machine's cores, since jobs also wait for the disk
            and for the browser. Jobs with `priority` start first; the others start in the order of their calls.
        memory: bytes that running jobs may hold together before a further one has to wait; default 80 % of the
            machine's memory.
        on_line: called with every line that a job writes, as soon as it is read, from the thread that runs the job.

    Attributes:
        retried: every attempt that was followed by another one, in order of time.
    """

    def __init__(  # noqa: PLR0913 - one knob for every bound
        self,
        folder: Path,
        logs: Path,
        *,
        fork_servers: Mapping[str, Sequence[str]] | ForkServers | None = None,
        cores: int | None = None,
        memory: int | None = None,
        on_line: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.retried: list[Attempt] = []
        self._on_line = on_line
        self._folder = folder
        self._logs = logs
        self._cores = cores or (os.cpu_count() or 1) + 1
        self._memory = memory or psutil.virtual_memory().total * 4 // 5
        self._changed = threading.Condition()
        self._queue: deque[Job[Any, Any]] = deque()
        self._running: dict[str, Child | None] = {}
        self._memory_held: dict[str, int] = {}
        self._closing = threading.Event()
        self._shared = isinstance(fork_servers, ForkServers)
        self._fork_servers = (
            fork_servers if isinstance(fork_servers, ForkServers) else ForkServers(fork_servers or {}, logs)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def closing(self) -> bool:
        """Tells whether the run is ending; threads that wait for something else than a job then stop waiting."""
        return self._closing.is_set()

    def preload(self, name: str) -> None:
        """Starts a fork server, whose imports then run in parallel with the next steps."""
        self._fork_servers.get(name)

    def run(self, job: Job[Request, Answer]) -> Outcome[Answer]:
        """Runs one job and returns its end, whatever that is; blocks the calling thread.

        A job beyond one of its limits is killed with all its descendants. A job that infrastructure ended is run again,
        at most `Job.retries` times. While the supervisor is closing, every job ends as `cancelled`.
        """
        for _ in range(job.retries):
            outcome = self._attempt(job)
            if outcome.status not in INFRASTRUCTURE:
                return outcome
            seconds = round(outcome.seconds, 3)
            self.record_retry(Attempt(job=job.name, status=outcome.status, message=outcome.message, seconds=seconds))
        return self._attempt(job)

    def record_retry(self, attempt: Attempt) -> None:
        """Records an attempt that is followed by another one, and passes a line about it to `on_line`."""
        self.retried.append(attempt)
        self._on_line(f"WARNING:paritygate:{attempt.status}: {attempt.message}; it is done again")

    def _attempt(self, job: Job[Request, Answer]) -> Outcome[Answer]:
        log = self._logs / f"{job.name}.log"
        if not self._wait_for_room(job):
            return Outcome(status="cancelled", message=f"{job.name} was not started: the run is ending", log=log)
        started = time.monotonic()
        follower = LogFollower(log)
        try:
            child = self._start(job, log)
            with self._changed:
                self._running[job.name] = child
            broken, peak = self._watch(job, child, started, follower)
        finally:
            with self._changed:
                self._running.pop(job.name)
                self._memory_held.pop(job.name, None)
                self._changed.notify_all()
        seconds = time.monotonic() - started
        for line in follower.rest():
            self._on_line(line)
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
        """Kills every running job, and the fork servers unless they are shared. Safe to call twice."""
        self._closing.set()
        with self._changed:
            children = [child for child in self._running.values() if child is not None]
            self._changed.notify_all()
        for child in children:
            if not child.ended.is_set():
                child.kill()
        if not self._shared:
            self._fork_servers.close()

    def _wait_for_room(self, job: Job[Any, Any]) -> bool:
        """Waits until the job may start; returns False when the run is ending.

        Raises:
            ValueError: a job of this name is running; both would write the same files.
        """
        with self._changed:
            self._queue.append(job)
            self._changed.wait_for(lambda: self._closing.is_set() or (self._next() is job and self._has_room()))
            self._queue.remove(job)
            self._changed.notify_all()
            if self._closing.is_set():
                return False
            if job.name in self._running:
                msg = f"a job named {job.name} is already running"
                raise ValueError(msg)
            # Taken before the process exists, so that jobs that wait see the name and the memory as used.
            self._running[job.name] = None
            self._memory_held[job.name] = _TYPICAL_MEMORY
            return True

    def _next(self) -> Job[Any, Any]:
        return next((job for job in self._queue if job.priority), self._queue[0])

    def _has_room(self) -> bool:
        if not self._running:
            return True  # otherwise a job larger than the budget would never start
        return len(self._running) < self._cores and sum(self._memory_held.values()) + _TYPICAL_MEMORY <= self._memory

    def _start(self, job: Job[Any, Any], log: Path) -> Child:
        request, result = self._files(job)
        result.unlink(missing_ok=True)  # of an attempt before this one
        function = name_of(job.function)
        request.write_text(encode_request(job.function, job.request), "utf-8")
        server = self._fork_servers.get(job.fork_server) if job.fork_server else None
        if server is not None:
            return server.fork(function, request, result, log)
        return start_interpreter(function, request, result, log, job.environment)

    def _files(self, job: Job[Any, Any]) -> tuple[Path, Path]:
        return self._folder / f"{job.name}.request.json", self._folder / f"{job.name}.result.json"

    def _watch(
        self, job: Job[Any, Any], child: Child, started: float, follower: LogFollower
    ) -> tuple["_RawOutcome | None", int]:
        """Waits for the end; returns the end of a killed job (else None), and the job's peak memory in bytes."""
        peak = 0
        meter = process_tree.MemoryMeter(typical=_TYPICAL_MEMORY, bound=job.limits.memory)
        while not child.ended.wait(min(_POLL, max(0.0, started + job.limits.seconds - time.monotonic()))):
            for line in follower.lines():
                self._on_line(line)
            if child.pid is not None:
                held = meter.read((child.pid, *job.companions))
                peak = max(peak, held)
                self._memory_held[job.name] = max(held, _TYPICAL_MEMORY)
            broken = self._broken_bound(job, peak, time.monotonic() - started)
            if broken is not None:
                child.kill()
                if broken.status == "out of memory":
                    for pid in job.companions:
                        process_tree.kill(pid)
                if child.pid is not None:
                    child.ended.wait(10)
                return broken, peak
        return None, peak

    def _broken_bound(self, job: Job[Any, Any], peak: int, seconds: float) -> "_RawOutcome | None":
        if self._closing.is_set():
            return _RawOutcome(status="cancelled", message=f"{job.name} was stopped: the run is ending")
        if seconds > job.limits.seconds:
            return _RawOutcome(
                status="timeout",
                message=f"{job.name} was still running after {job.limits.seconds:g} s and was killed",
                next_step="Raise limits.seconds in release.toml if the model needs longer.",
            )
        if peak > job.limits.memory:
            return _RawOutcome(
                status="out of memory",
                message=f"{job.name} held {peak / GIB:.1f} GiB, more than its bound of "
                f"{job.limits.memory / GIB:.1f} GiB, and was killed",
                next_step="Raise limits.memory_gib in release.toml if the machine has more.",
            )
        return None

    def _read(self, job: Job[Any, Any], child: Child) -> "_RawOutcome":
        """Reads the end of a job that was not killed."""
        # `close` kills the children: that exit status is no crash.
        if self._closing.is_set():
            return _RawOutcome(status="cancelled", message=f"{job.name} was stopped: the run is ending")
        _, result = self._files(job)
        if result.exists():
            return _RawOutcome(**json.loads(result.read_text("utf-8")))
        return _RawOutcome(status="crashed", message=_describe_death(job.name, child))


def _describe_death(name: str, child: Child) -> str:
    if child.exit_code is None:
        return f"{name} could not run: {child.failure}"
    if child.exit_code < 0:
        name_of_signal = signal.Signals(-child.exit_code).name
        hint = " (possibly the system's out-of-memory killer)" if name_of_signal == "SIGKILL" else ""
        return f"{name} crashed ({name_of_signal}){hint}"
    return f"{name} ended with exit status {child.exit_code} and no answer"
