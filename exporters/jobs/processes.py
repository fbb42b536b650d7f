"""Two ways to start a job's process: a fork of the preloaded host, or a fresh interpreter.

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

from exporters.jobs import process_tree as tree

FORK_IS_SAFE = sys.platform == "linux"

# What a job's process must not inherit or must see. A GPU visible while an RNN is traced bakes cuDNN ops into every
# artifact (tf2onnx#2359); the reference runs on the CPU as well. Only a job that asks for a card sees one, by an
# environment of its own. The backend is TensorFlow whatever the user's default.
_ENVIRONMENT = {
    "CUDA_VISIBLE_DEVICES": "-1",
    "KERAS_BACKEND": "tensorflow",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "PYTHONUNBUFFERED": "1",
    "PYTHONHASHSEED": "0",  # converters walk sets of names; the same model shall become the same bytes
}
_ROOT = Path(__file__).resolve().parents[2]
_DIED = "the preloaded process died"


# -P: the folder the user stands in may hold a `json.py`; our own code and the installed packages come first.
_PYTHON = (sys.executable, "-P", "-m")


def finding_us() -> dict[str, str]:
    """The environment of an interpreter that finds these packages wherever it is started, installed or not."""
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}


def environment_of_jobs() -> dict[str, str]:
    """What every job's process inherits of this one's environment, and what it gets in its place."""
    return {**finding_us(), **_ENVIRONMENT}


@dataclass(slots=True)
class Child:
    """A started job process. `exit_code` is negative for a signal and None while it runs or when its host died."""

    ended: threading.Event = field(default_factory=threading.Event)
    pid: int | None = None
    unwanted: bool = False
    exit_code: int | None = None
    failure: str = ""

    def begin(self, pid: int) -> None:
        """Records the process; one that was given up while it waited for its host is killed at once."""
        self.pid = pid
        if self.unwanted:
            tree.kill(pid)

    def kill(self) -> None:
        """Kills the process with its descendants, also one that a busy host has yet to fork."""
        self.unwanted = True
        if self.pid is not None:
            tree.kill(self.pid)

    def finish(self, exit_code: int | None, failure: str = "") -> None:
        """Records the end and wakes whoever waits."""
        self.exit_code = exit_code
        self.failure = failure
        self.ended.set()


def fresh(function: str, request: Path, result: Path, log: Path, environment: Mapping[str, str]) -> Child:
    """Starts the job in an interpreter of its own, with these variables on top of what every job gets."""
    child = Child()
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*_PYTHON, "exporters.jobs.child", function, str(request), str(result), str(os.getpid())],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**environment_of_jobs(), **environment},
        )
    child.begin(process.pid)
    threading.Thread(target=lambda: child.finish(process.wait()), name=f"wait {process.pid}", daemon=True).start()
    return child


class Host:
    """The supervisor's end of `exporters.jobs.fork_server`.

    Args:
        modules: what it imports before it serves.
        log: where the host's own output goes.
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
                env=environment_of_jobs(),
            )
        threading.Thread(target=self._listen, name="preloaded host", daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def fork(self, function: str, request: Path, result: Path, log: Path) -> Child:
        """Asks for a fork; returns at once, also while the imports are still under way."""
        child = Child()
        with self._lock:
            if self._ended:  # its end of stdin may be the last one that the system closes
                child.finish(None, self._failure or _DIED)
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
                child.finish(None, self._failure or _DIED)
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
                    self._children[message["id"]].begin(message["pid"])
                elif "exit" in message:
                    self._children.pop(message["id"]).finish(message["exit"])
        with self._lock:
            self._ended = True
            orphans = list(self._children.values())
            self._children.clear()
        for child in orphans:
            child.finish(None, self._failure or _DIED)

    def close(self) -> None:
        """Ends the host; children that still run die with it."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):  # a task that a dead host never took is still in the buffer
            self._stdin.close()
