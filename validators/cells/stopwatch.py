"""What a cell learns of an artifact's speed in passing: how long it took to load, and how long its calls took.

In: a loaded runtime, through which all calls of a cell pass. Out: a `Performance`. These figures never decide parity,
and cost next to nothing: the calls of the comparison are timed, and a few more are made of the smallest and of the
largest batch, within `BUDGET`. A software GPU is not asked for one call more, it is too slow.
"""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from validators.contract import Performance, Timing

BUDGET = 0.05
"""Seconds of further calls in one cell, as the machine's clock sees them. Our choice: 1 % of what a cell costs."""
MOST = 10
"""Calls of one batch beyond which no further one is made."""

_Tensors = Mapping[str, np.ndarray]
_DIGITS = 6  # of a second: the clock of an isolated page ticks every 5 microseconds


class Infers(Protocol):
    """What is timed: one call of a runtime."""

    def infer(self, inputs: _Tensors, /) -> dict[str, np.ndarray]: ...


@runtime_checkable
class InPage(Protocol):
    """A runtime in a page, which takes its own time there: the way to the page and back is not the artifact's."""

    @property
    def load_seconds(self) -> float: ...

    @property
    def call_seconds(self) -> float:
        """Of the last call."""
        ...


@dataclass(slots=True)
class _Calls:
    """Calls with inputs of one shape: the inputs of the first one, to call again; the seconds of those that count."""

    inputs: _Tensors
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

    def __init__(self, runtime: Infers, *, load: float) -> None:
        self._runtime = runtime
        self._page = runtime if isinstance(runtime, InPage) else None
        self._load = self._page.load_seconds if self._page else load
        self._first: float | None = None
        self._calls: dict[tuple[tuple[int, ...], ...], _Calls] = {}
        self._before: _Calls | None = None

    def infer(self, inputs: _Tensors, /) -> dict[str, np.ndarray]:
        """One call of the runtime, timed."""
        started = time.perf_counter()
        outputs = self._runtime.infer(inputs)
        seconds = self._page.call_seconds if self._page else time.perf_counter() - started
        if self._first is None:
            self._first = seconds
        key = tuple(inputs[name].shape for name in sorted(inputs))
        calls = self._calls.setdefault(key, _Calls(inputs=inputs, batch=len(next(iter(inputs.values())))))
        calls.last = seconds
        if calls is self._before:
            calls.seconds.append(seconds)
        else:
            calls.warm_up += 1
        self._before = calls
        return outputs

    def repeat(self) -> None:
        """Makes the further calls, for each of the two batches in half of the budget; the last shapes fed go first."""
        chosen = self._chosen()
        for calls in reversed(chosen):
            until = time.monotonic() + BUDGET / len(chosen)
            while len(calls.seconds) < MOST and time.monotonic() + calls.last <= until:
                self.infer(calls.inputs)

    def read(self, *, threads: int | None) -> Performance | None:
        """The figures; None when no call was made."""
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
        """The calls of the smallest and of the largest batch; of several shapes with one batch, the most called."""
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
