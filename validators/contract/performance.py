"""Records how fast an artifact was in its cell, and under which conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Records the times that calls with inputs of one shape took, in seconds.

    Attributes:
        batch: rows a call; divided by `median` it is the throughput.
        shapes: of the inputs, by name, as the artifact took them.
        warm_up: calls that do not count, because the one before had other shapes: such a call compiles and allocates.
        calls: how many calls were measured.
        fastest: of the calls; the figure that other work on the machine disturbs least.
        median: of the calls.
        p95: 19 of 20 calls took no longer (nearest rank, so below 20 calls it is the slowest).
    """

    batch: int
    shapes: Mapping[str, tuple[int, ...]]
    warm_up: int
    calls: int
    fastest: float
    median: float
    p95: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """Records how fast an artifact was in its cell, and the conditions of the measurement.

    Attributes:
        load: seconds until the artifact could be called; of a page, fetching the runtime from loopback included.
        first: seconds of the very first call, which also compiles.
        clock: `page`: taken in the page around load and inference, input and output in its memory; `process`: taken
            in the cell's process around the runtime's call.
        threads: how many the runtime computes with; None where it chooses and does not say.
        cores: processors that the cell could use. Other cells and exports of the release may have run on them at the
            same time.
        timings: of the smallest and of the largest batch, smallest first; a batch with a single call has none.
    """

    load: float
    first: float
    clock: Literal["process", "page"]
    threads: int | None
    cores: int
    timings: tuple[Timing, ...]
