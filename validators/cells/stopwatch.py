"""Measures an artifact's speed while its cell runs: how long it took to load, and how long its calls took.

In: a loaded runtime, through which all calls of a cell pass. Out: a `Performance`. These figures never decide parity,
and cost little: the calls of the comparison are timed, and a few more calls of the smallest and of the largest batch
are made within `BUDGET`. A software GPU gets no additional calls, because it is too slow.
"""

import math
import os
import time
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from validators.contract import Performance, Tensors, Timing

BUDGET = 0.05
"""Seconds of additional calls in one cell, by the machine's clock. Our choice: 1 % of the time of a cell."""
MOST = 10
"""Calls of one batch after which no additional one is made."""

_DIGITS = 6  # of a second: the clock of an isolated page ticks every 5 microseconds


class TimedRuntime(Protocol):
    """Describes the call that is timed: one inference of a runtime."""

    def infer(self, inputs: Tensors, /) -> dict[str, np.ndarray]: ...


@runtime_checkable
class SelfTimedRuntime(Protocol):
    """Describes a runtime in a page, which times itself there: the way to the page and back does not count."""

    @property
    def load_seconds(self) -> float: ...

    @property
    def call_seconds(self) -> float:
        """Returns the seconds of the last call."""
        ...


@dataclass(slots=True)
class _Calls:
    """Collects calls with inputs of one shape: the first inputs, to repeat them, and the seconds that count."""

    inputs: Tensors
    batch: int
    warm_up: int = 0
    last: float = 0.0
    seconds: list[float] = field(default_factory=list)


class Stopwatch:
    """Times the calls of a runtime as they pass.

    Args:
        runtime: the loaded artifact.
        load: seconds that loading took, seen from here.
    """

    def __init__(self, runtime: TimedRuntime, *, load: float) -> None:
        self._runtime = runtime
        self._page = runtime if isinstance(runtime, SelfTimedRuntime) else None
        self._load = self._page.load_seconds if self._page else load
        self._first: float | None = None
        self._calls: dict[tuple[tuple[int, ...], ...], _Calls] = {}
        self._before: _Calls | None = None

    def infer(self, inputs: Tensors, /) -> dict[str, np.ndarray]:
        """Times one call of the runtime."""
        started = time.perf_counter()
        outputs = self._runtime.infer(inputs)
        seconds = self._page.call_seconds if self._page else time.perf_counter() - started
        if self._first is None:
            self._first = seconds
        key = tuple(inputs[name].shape for name in sorted(inputs))
        calls = self._calls.setdefault(key, _Calls(inputs=inputs, batch=len(next(iter(inputs.values())))))
        calls.last = seconds
        if calls is self._before:  # a call after another shape compiles and allocates, so it does not count
            calls.seconds.append(seconds)
        else:
            calls.warm_up += 1
        self._before = calls
        return outputs

    def repeat(self) -> None:
        """Makes the additional calls, half of the budget for each of the two batches; the last shapes fed go first."""
        chosen = self._chosen()
        for calls in reversed(chosen):
            until = time.monotonic() + BUDGET / len(chosen)
            while len(calls.seconds) < MOST and time.monotonic() + calls.last <= until:
                self.infer(calls.inputs)

    def read(self, *, threads: int | None) -> Performance | None:
        """Returns the figures; None when no call was made."""
        if self._first is None:
            return None
        return Performance(
            load=round(self._load, _DIGITS),
            first=round(self._first, _DIGITS),
            clock="page" if self._page else "process",
            threads=threads,
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            timings=tuple(_timing(calls) for calls in self._chosen() if calls.seconds),
        )

    def _chosen(self) -> list[_Calls]:
        """Returns the calls of the smallest and largest batch; of several shapes with one batch, the most called."""
        batches = {calls.batch for calls in self._calls.values()}
        return [
            max((calls for calls in self._calls.values() if calls.batch == batch), key=lambda calls: len(calls.seconds))
            for batch in sorted({min(batches), max(batches)} if batches else ())
        ]


def _timing(calls: _Calls) -> Timing:
    ranked = sorted(calls.seconds)
    return Timing(
        batch=calls.batch,
        shapes={name: tuple(array.shape) for name, array in sorted(calls.inputs.items())},
        warm_up=calls.warm_up,
        calls=len(ranked),
        fastest=round(ranked[0], _DIGITS),
        median=round(float(np.median(ranked)), _DIGITS),
        p95=round(ranked[math.ceil(0.95 * len(ranked)) - 1], _DIGITS),
    )
