"""Job functions for the isolation tests: each ends in its own way."""

import logging
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from exporters.errors import BadInput, Limited


def echo(request: dict) -> dict:
    sys.stdout.write("said on stdout\n")
    sys.stderr.write("said on stderr\n")
    return request


def tf_version(_request: dict) -> str:
    return sys.modules["tensorflow"].__version__


def says(_request: dict) -> None:
    sys.stdout.write("on stdout\n")
    sys.stdout.flush()
    logging.getLogger("tests.says").info("a logger's word")
    logging.getLogger("tests.says").warning("and another")
    sys.stderr.write("no end of line")


def dies_once(request: dict) -> str:
    mark = Path(request["mark"])
    if mark.exists():
        return "second"
    mark.touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def segfault(_request: dict) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang(request: dict) -> None:
    """Hangs together with a grandchild; writes the grandchild's pid where it is told."""
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    if "pids" in request:
        Path(request["pids"]).write_text(f"{os.getpid()} {grandchild.pid}", "utf-8")
    time.sleep(600)


def eat(_request: dict) -> None:
    held = []
    while True:
        held.append(b"x" * (64 << 20))
        time.sleep(0.01)


def share(request: dict) -> str:
    """Holds some memory together with two forks of itself."""
    held = b"x" * request["bytes"]
    children = []
    for _ in range(2):
        if not (pid := os.fork()):
            time.sleep(request["seconds"])
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    return f"{len(held)} bytes"


def bad(_request: dict) -> None:
    raise BadInput("the input is bad", next_step="mend it")


def limited(_request: dict) -> None:
    raise Limited("the target lacks it", limit="some-limit")


def broken(_request: dict) -> None:
    raise RuntimeError("\x1b[1mthe real\x1b[0m message")


def no_json(_request: dict) -> object:
    return object()


def not_a_number(_request: dict) -> float:
    return float("nan")


def refused_memory(_request: dict) -> None:
    raise MemoryError("a whole tensor")


def leave(request: dict) -> None:
    os._exit(request["status"])


def say_in_c(_request: dict) -> None:
    """As converters do that are written in C++: past Python's streams."""
    os.write(1, b"said in C on stdout\n")
    os.write(2, b"said in C on stderr\n")


def family(_request: dict) -> list[int]:
    return [os.getpid(), os.getppid()]


def environment(_request: dict) -> dict:
    return dict(os.environ)


def nap(request: dict) -> list[float]:
    """Sleeps; returns when it began and ended, and notes that it lived to the end where it is told."""
    began = time.time()
    time.sleep(request["seconds"])
    if "mark" in request:
        Path(request["mark"]).write_text("lived", "utf-8")
    return [began, time.time()]


def allocate(request: dict) -> int:
    """Holds some memory for a while."""
    held = bytearray(os.urandom(1)) * request["bytes"]
    time.sleep(request["seconds"])
    return len(held)


def untyped(request):
    return request


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    left: Path
    right: tuple[int | None, ...]


def swap(request: Pair) -> Pair:
    assert isinstance(request, Pair)
    return request
