"""Starts a job's process in one of two ways: as a fork of a fork server, or in a fresh interpreter.

In: a job's function and files. Out: a `Child`: a pid, a wait, an exit code.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from exporters.jobs import process_tree

FORK_IS_SAFE = sys.platform == "linux"

# Variables that every job gets whatever it would inherit. A GPU that is visible while an RNN is traced puts cuDNN
# operators into every artifact (tf2onnx#2359), and the reference must run on the CPU; only a job that asks for a card
# sees one, by `Job.environment`. The backend is TensorFlow whatever the user's default is.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",  # converters walk sets of names; the same model shall become the same bytes
}
_ROOT = Path(__file__).resolve().parents[2]
_DIED = "the fork server died"


# -P: the user's current folder may hold a `json.py`, which must not hide the standard library's.
_PYTHON = (sys.executable, "-P", "-m")


def import_environment() -> dict[str, str]:
    """Returns the environment of an interpreter that can import paritygate from any folder, installed or not."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def job_environment() -> dict[str, str]:
    """Returns the environment of every job's process: this process's own, with the fixed variables replaced."""
    return {**import_environment(), **_ENVIRONMENT}


@dataclass(slots=True)
class Child:
    """Tracks one process of a job from its start to its end.

    Attributes:
        ended: set at the end.
        pid: None until the process has started.
        kill_requested: whether it is to be killed as soon as it has started.
        exit_code: negative for a signal; None while it runs, and when its fork server died.
        failure: message for an end without an exit code.
    """

    ended: threading.Event = field(default_factory=threading.Event)
    pid: int | None = None
    kill_requested: bool = False
    exit_code: int | None = None
    failure: str = ""

    def record_start(self, pid: int) -> None:
        """Records the pid; kills the process at once if `kill` was called before its fork."""
        self.pid = pid
        if self.kill_requested:
            process_tree.kill(pid)

    def kill(self) -> None:
        """Kills the process with its descendants; one that is not forked yet is killed when it starts."""
        self.kill_requested = True
        if self.pid is not None:
            process_tree.kill(self.pid)

    def record_end(self, exit_code: int | None, failure: str = "") -> None:
        """Records the end and wakes the waiting threads."""
        self.exit_code = exit_code
        self.failure = failure
        self.ended.set()


def start_interpreter(function: str, request: Path, result: Path, log: Path, environment: Mapping[str, str]) -> Child:
    """Starts the job in a fresh interpreter; `environment` is added to the variables that every job gets."""
    child = Child()
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*_PYTHON, "exporters.jobs.child", function, str(request), str(result), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**job_environment(), **environment},
        )
    child.record_start(process.pid)
    threading.Thread(target=lambda: child.record_end(process.wait()), name=f"wait {process.pid}", daemon=True).start()
    return child


class ForkServer:
    """Starts the process of `exporters.jobs.fork_server`, and asks it for forks.

    Args:
        modules: names of the modules that it imports before it serves.
        log: file for the server's own output.
    """

    def __init__(self, modules: Sequence[str], log: Path) -> None:
        self._lock = threading.Lock()
        self._children: dict[str, Child] = {}
        self._next = 0
        self._ended = False
        self._failure = ""
        with log.open("ab") as stream:
            self._process = subprocess.Popen(
                [*_PYTHON, "exporters.jobs.fork_server", *modules],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                env=job_environment(),
            )
        threading.Thread(target=self._listen, name="fork server", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, function: str, request: Path, result: Path, log: Path) -> Child:
        """Asks for a fork; returns at once, even while the server still imports."""
        child = Child()
        with self._lock:
            if self._ended:  # a dying server may close stdout long before stdin, which then still takes tasks
                child.record_end(None, self._failure or _DIED)
                return child
            self._next += 1
            key = str(self._next)
            self._children[key] = child
            task = {"id": key, "function": function, "request": str(request), "result": str(result), "log": str(log)}
            try:
                self._stdin.write((json.dumps(task) + "\n").encode())
                self._stdin.flush()
            except (BrokenPipeError, ValueError):
                self._children.pop(key)
                child.record_end(None, self._failure or _DIED)
        return child

    @property
    def _stdin(self) -> IO[bytes]:
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe above
        return self._process.stdin

    def _listen(self) -> None:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe above
        with self._process.stdout as lines:
            for line in lines:
                message = json.loads(line)
                if "failed" in message:
                    self._failure = message["failed"]
                elif "pid" in message:
                    self._children[message["id"]].record_start(message["pid"])
                elif "exit" in message:
                    self._children.pop(message["id"]).record_end(message["exit"])
        with self._lock:
            self._ended = True
            orphans = list(self._children.values())
            self._children.clear()
        for child in orphans:
            child.record_end(None, self._failure or _DIED)

    def close(self) -> None:
        """Kills the server; children that still run die with it."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):  # the buffer may still hold a task for a dead server
            self._stdin.close()
