"""The stopwatch of a cell, with a runtime whose calls take what the test says."""

import numpy as np
import pytest

from validators.cells import stopwatch
from validators.cells.stopwatch import MOST, Stopwatch


class Runtime:
    """Each call moves the clock by the next of `takes`, then by the last of them for ever."""

    def __init__(self, clock, *takes):
        self.clock, self.takes, self.fed = clock, list(takes), []

    def infer(self, inputs):
        self.fed.append(len(inputs["x"]))
        self.clock.now += self.takes.pop(0) if len(self.takes) > 1 else self.takes[0]
        return dict(inputs)


class PageRuntime(Runtime):
    load_seconds = 0.5
    call_seconds = 0.002


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    ticking = Clock()
    monkeypatch.setattr(stopwatch.time, "perf_counter", ticking)
    monkeypatch.setattr(stopwatch.time, "monotonic", ticking)
    return ticking


def rows(count, width=3):
    return {"x": np.zeros((count, width), np.float32)}


def fed(runtime, *inputs, load=0.25):
    watch = Stopwatch(runtime, load=load)
    for each in inputs:
        watch.infer(each)
    return watch


def test_the_figures_are_those_of_the_calls_after_the_first_of_their_shape(clock):
    runtime = Runtime(clock, 0.9, *(0.001 * n for n in range(1, 21)))
    done = fed(runtime, *[rows(1)] * 21).read(threads=2)
    assert (done.load, done.first, done.clock, done.threads) == (0.25, 0.9, "process", 2)
    assert done.cores >= 1
    (timing,) = done.timings
    assert (timing.batch, timing.shapes, timing.warm_up, timing.calls) == (1, {"x": (1, 3)}, 1, 20)
    assert (timing.fastest, timing.median, timing.p95) == (0.001, 0.0105, 0.019)


def test_below_20_calls_the_slowest_one_is_p95(clock):
    (timing,) = fed(Runtime(clock, 9, 0.003, 0.001, 0.002), *[rows(1)] * 4).read(threads=None).timings
    assert (timing.calls, timing.fastest, timing.median, timing.p95) == (3, 0.001, 0.002, 0.003)


def test_a_call_with_other_shapes_than_the_one_before_compiles_and_does_not_count(clock):
    runtime = Runtime(clock, 9, 0.001, 8, 7, 0.003)
    done = fed(runtime, rows(1), rows(1), rows(7), rows(1), rows(1)).read(threads=None)
    (timing,) = done.timings
    assert (timing.batch, timing.warm_up, timing.calls) == (1, 2, 2)
    assert (timing.fastest, timing.p95) == (0.001, 0.003)


def test_a_batch_that_was_called_once_has_no_figures_and_an_artifact_never_called_none_at_all(clock):
    assert fed(Runtime(clock, 1.0), rows(1)).read(threads=None).timings == ()
    assert fed(Runtime(clock, 1.0)).read(threads=None) is None


def test_only_the_smallest_and_the_largest_batch_are_shown_and_of_several_shapes_the_one_called_most(clock):
    calls = [rows(1)] * 2 + [rows(2)] * 3 + [rows(7, 5)] * 2 + [rows(7)] * 4
    done = fed(Runtime(clock, 0.001), *calls).read(threads=None)
    assert [(timing.batch, timing.shapes["x"], timing.calls) for timing in done.timings] == [
        (1, (1, 3), 1),
        (7, (7, 3), 3),
    ]


def test_further_calls_are_made_of_the_two_batches_until_there_are_enough(clock):
    runtime = Runtime(clock, 0.0001)
    watch = fed(runtime, rows(1), rows(1), rows(2), rows(7))
    watch.repeat()
    assert [(timing.batch, timing.calls) for timing in watch.read(threads=None).timings] == [(1, MOST), (7, MOST)]
    assert runtime.fed == [1, 1, 2, 7, *[7] * MOST, *[1] * MOST]


def test_further_calls_stay_within_their_budget(clock):
    watch = fed(Runtime(clock, 0.01), *[rows(1)] * 2, *[rows(7)] * 2)
    began = clock.now
    watch.repeat()
    assert 0.03 < clock.now - began <= stopwatch.BUDGET + 1e-9


def test_a_slow_runtime_is_not_called_again(clock):
    runtime = Runtime(clock, 2.0)
    fed(runtime, rows(1), rows(7)).repeat()
    assert runtime.fed == [1, 7]


def test_a_page_takes_its_own_time(clock):
    done = fed(PageRuntime(clock, 5.0), rows(1), rows(1)).read(threads=None)
    assert (done.clock, done.load, done.first) == ("page", 0.5, 0.002)
    assert done.timings[0].median == 0.002
