"""The monitor of a run in Prefect, without a server: the server is faked."""

import threading

import pytest

from exporters.errors import Broken, Cancelled
from flows.pipeline.stages import Stage
from flows.progress.events import Event


@pytest.fixture
def run_monitor(monkeypatch):
    from flows.prefect import run_monitor

    monkeypatch.setattr(run_monitor, "is_embedded", lambda: False)
    monkeypatch.setattr(run_monitor, "_LOOK_SECONDS", 0.01)
    return run_monitor


@pytest.mark.parametrize("error", [Cancelled("a cell was not started: the run is ending"), Broken("no such task run")])
def test_a_run_is_cancelled_also_where_its_progress_cannot_be_shown(run_monitor, monkeypatch, error):
    cancelled, refused = threading.Event(), threading.Event()

    def refuse(*_):
        refused.set()
        raise run_monitor.PrefectException("no artifact may be made")

    monkeypatch.setattr(run_monitor, "create_progress_artifact", refuse)
    monkeypatch.setattr(run_monitor, "_cancelling", lambda _: refused.is_set())
    stage = Stage(name="admission", needs=(), run=lambda: None)

    def run():
        with run_monitor.RunMonitor("release-m", cancelled.set) as here:
            here.watching(lambda stages, *, cancel: None)([stage], cancel=lambda: None)
            here(Event(stage="admission", state="passed", total=1))
            assert cancelled.wait(2)
            raise error

    with pytest.raises(Cancelled, match="the run was cancelled"):
        run()
