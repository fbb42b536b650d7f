"""Reads LiteRT's native log, the only place where it says which adapter it selected and what stays on the CPU.

In: the text that native code writes to stderr, or the log of a browser page. Out: `LogFacts` and errors.
"""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO

from exporters.contract import Signature
from exporters.errors import Broken, Limited
from exporters.target_limits import limited

UNNAMED = "not named by LiteRT"
"""Fallbacks that LiteRT's log counts without a name: an operator that it does name cut each of them off the GPU."""

_SELECTED = re.compile(r"Selected adapter: (.+?), arch=.*?, backend=(.+?), adapterType=(.+)")
_DYNAMIC = "static-sized tensors with a graph that has dynamic-sized tensors"
_REFUSED = "Following operations are not supported by GPU delegate:"
_SPLIT = re.compile(
    r"(?:No|(\d+)) operations will run on the GPU, and (?:all|the remaining) (\d+) operations will run on"
)
_OPERATOR = re.compile(r"([A-Z][A-Z0-9_]*): ")
_INVALID = re.compile(r"\] ((?:Validation|Internal|Out of memory|Unknown) error: .*)")
_STDERR = 2
_MARK = "paritygate has read so far: "
_FORWARD = f'tee "$0" | LC_ALL=C grep --text --line-buffered --invert-match "^{_MARK}"'
_POLL = 0.0002  # seconds between two looks for a line that is on its way


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """Records the facts about a model in a section of LiteRT's log.

    Attributes:
        adapter: the adapter's name; empty when none was selected.
        backend: the API under WebGPU.
        kind: the adapter type that it reports.
        accelerated: how many operators went to the GPU, in graphs of which some stayed on the CPU; None where the log
            mentions no such graph.
        fallbacks: operators that stayed on the CPU -> how many; see `UNNAMED`.
    """

    adapter: str = ""
    backend: str = ""
    kind: str = ""
    accelerated: int | None = None
    fallbacks: Mapping[str, int] = field(default_factory=dict)


def parse_log(log: str) -> LogFacts:
    """Parses LiteRT's log of compiling or running a model.

    The operators that stay on the CPU are listed between the line that announces them and the one that counts them.
    """
    selected = _SELECTED.search(log)
    accelerated: int | None = None
    fallbacks: dict[str, int] = {}
    named: list[str] = []
    listing = False
    for line in log.splitlines():
        if _REFUSED in line:
            named, listing = [], True
        elif split := _SPLIT.search(line):
            accelerated = (accelerated or 0) + int(split[1] or 0)
            rest = int(split[2]) - len(named)
            for operator in (*named, *[UNNAMED] * rest):
                fallbacks[operator] = fallbacks.get(operator, 0) + 1
            named, listing = [], False
        elif listing and (operator_line := _OPERATOR.match(line)):
            named.append(operator_line[1])
    name, backend, kind = selected.groups() if selected else ("", "", "")
    return LogFacts(adapter=name, backend=backend, kind=kind, accelerated=accelerated, fallbacks=fallbacks)


def dynamic_shape(log: str, signature: Signature) -> Limited | None:
    """Returns the error for a graph that the accelerator refused because of a shape; None where shapes are no reason.

    Args:
        log: LiteRT's log.
        signature: of the artifact; shows whether a dynamic axis of its inputs is the reason.
    """
    if _DYNAMIC not in log:
        return None
    dynamic = [spec.name for spec in signature.inputs if None in spec.shape]
    return limited("litert-gpu-dynamic-batch", ", ".join(dynamic)) if dynamic else limited("litert-gpu-dynamic-tensor")


def raise_if_invalid(log: str) -> None:
    """Raises Broken for a WebGPU error: no call returns it, and LiteRT continues with the old buffers."""
    found = _INVALID.search(log)
    if found:
        raise Broken(f"WebGPU reports, and LiteRT only logs: {found[1]}")


class NativeLog:
    """Reads the text that native code writes to stderr.

    Args:
        copy: the file that receives a copy of the text.
        forwarder: the process that writes the copy.
    """

    def __init__(self, copy: IO[bytes], forwarder: "subprocess.Popen[bytes]") -> None:
        self._copy = copy
        self._forwarder = forwarder
        self._rest = b""
        self._marks = 0

    def read_new(self) -> str:
        """Returns the text that was written since the last call.

        A marker line is written after it: when the marker has arrived, everything before it has arrived too.

        Raises:
            Broken: the process that forwards the log is gone.
        """
        self._marks += 1
        mark = f"{_MARK}{self._marks}\n".encode()
        os.write(_STDERR, mark)
        while mark not in self._rest:
            if self._forwarder.poll() is not None:
                raise Broken("the process that forwards LiteRT's log ended, so nothing proves where the model runs")
            time.sleep(_POLL)
            self._rest += self._copy.read()
        text, _, self._rest = self._rest.partition(mark)
        return text.decode(errors="replace")


@contextmanager
def native_log() -> Iterator[NativeLog]:
    """Copies stderr, so that the text of native code can be read.

    Separate processes pass the lines on to stderr. So the lines are not lost when the native code crashes, and they do
    not wait for this process, which is busy in that code.
    """
    kept = os.dup(_STDERR)
    with tempfile.TemporaryFile(buffering=0) as copy:
        command = ["sh", "-c", _FORWARD, f"/dev/fd/{copy.fileno()}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=kept, pass_fds=[copy.fileno()]) as forwarder:
            os.dup2(forwarder.stdin.fileno(), _STDERR)  # type: ignore[union-attr]  # a pipe was asked for
            try:
                yield NativeLog(copy, forwarder)
            finally:
                os.dup2(kept, _STDERR)
                os.close(kept)
