"""`run_on_threads`: order, failure, which error reaches the user, and interruption."""

import threading
import time

import pytest

from exporters.errors import BadInput, Broken, Cancelled
from flows.pipeline.stages import Stage, raise_first, run_on_threads


def stage(name, *needs, run=lambda: None):
    return Stage(name=name, needs=needs, run=run)


def no_cancel():
    pytest.fail("nothing failed, so nothing may be cancelled")


def raiser(error):
    def run():
        raise error

    return run


def test_a_stage_runs_after_everything_it_needs():
    done = []
    slow_first = {"a": 0.05, "b": 0.0, "c": 0.0}

    def work(name):
        time.sleep(slow_first[name])
        done.append(name)

    stages = [
        stage("a", run=lambda: work("a")),
        stage("b", "a", run=lambda: work("b")),
        stage("c", "a", "b", run=lambda: work("c")),
    ]
    run_on_threads(stages, cancel=no_cancel)
    assert done == ["a", "b", "c"]


def test_stages_that_need_nothing_of_each_other_run_side_by_side():
    meeting = threading.Barrier(2, timeout=5)
    run_on_threads([stage("a", run=meeting.wait), stage("b", run=meeting.wait)], cancel=no_cancel)


def test_a_failed_stage_cancels_the_run_and_nothing_that_needs_it_starts():
    cancelled, started = threading.Event(), []
    stages = [
        stage("a", run=raiser(Broken("the disk is gone"))),
        stage("b", "a", run=lambda: started.append("b")),
        stage("c", run=lambda: cancelled.wait(5)),  # ends only because it is cancelled
    ]
    with pytest.raises(Broken, match="the disk is gone"):
        run_on_threads(stages, cancel=cancelled.set)
    assert cancelled.is_set()
    assert not started


def test_the_error_that_caused_the_end_is_raised_and_not_the_cancellations_that_followed():
    cancelled = threading.Event()

    def stopped():
        cancelled.wait(5)
        raise Cancelled("was stopped")

    stages = [stage("a", run=stopped), stage("b", run=raiser(ValueError("true cause")))]
    with pytest.raises(ValueError, match="true cause"):
        run_on_threads(stages, cancel=cancelled.set)


def test_bad_input_wins_over_everything():
    errors = [Cancelled("stopped"), ValueError("bug"), Broken("broken"), BadInput("NaN in the samples")]
    with pytest.raises(BadInput, match="NaN"):
        raise_first(errors)
    with pytest.raises(Broken, match=r"^broken$"):
        raise_first(errors[:3])
    raise_first([])


def test_an_interruption_of_the_waiting_thread_cancels_the_run(monkeypatch):
    cancelled = threading.Event()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("flows.pipeline.stages.wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_on_threads([stage("a", run=lambda: cancelled.wait(5))], cancel=cancelled.set)
    assert cancelled.is_set()
