"""What goes on beside the stages, without a server: it is played."""

import threading

import pytest

from exporters.errors import Broken, Cancelled
from flows.pipeline.stages import Stage
from flows.progress.events import Event


@pytest.fixture
def beside(monkeypatch):
    from flows.prefect import run_monitor as beside

    monkeypatch.setattr(beside, "is_embedded", lambda: False)
    monkeypatch.setattr(beside, "_LOOK_SECONDS", 0.01)
    return beside


@pytest.mark.parametrize("error", [Cancelled("a cell was not started: the run is ending"), Broken("no such task run")])
def test_a_run_is_cancelled_also_where_its_progress_cannot_be_shown(beside, monkeypatch, error):
    cancelled, refused = threading.Event(), threading.Event()

    def refuse(*_):
        refused.set()
        raise beside.PrefectException("no artifact may be made")

    monkeypatch.setattr(beside, "create_progress_artifact", refuse)
    monkeypatch.setattr(beside, "_cancelling", lambda _: refused.is_set())
    stage = Stage(name="admission", needs=(), run=lambda: None)

    def run():
        with beside.Beside("release-m", cancelled.set) as here:
            here.watching(lambda stages, *, cancel: None)([stage], cancel=lambda: None)
            here(Event(stage="admission", state="passed", total=1))
            assert cancelled.wait(2)
            raise error

    with pytest.raises(Cancelled, match="somebody cancelled the run"):
        run()
