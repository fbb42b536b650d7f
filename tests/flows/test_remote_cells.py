"""The wait for a work pool when its server stumbles; with a real server in `test_validate_flow`."""

import logging
from types import SimpleNamespace

import httpx
import pytest

from flows.config.sections import JobLimits
from flows.config.settings import Settings
from flows.prefect import remote_cells

ONE = remote_cells._Handed(id="1", device="gpu")


def run_in(*, final):
    state = SimpleNamespace(is_final=lambda: final, is_scheduled=lambda: False, is_pending=lambda: False)
    return SimpleNamespace(name="validate-m", state=state)


class Server:
    """Answers in turn; an exception is raised instead."""

    def __init__(self, *answers):
        self.answers, self.cancelled = list(answers), []

    def read_flow_run(self, _):
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def set_flow_run_state(self, run, state):
        self.cancelled.append((run, state.type.value))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(remote_cells, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(remote_cells, "_is_cancelled", lambda client: False)
    monkeypatch.setattr(remote_cells, "get_run_logger", lambda: logging.getLogger("test"))


def settings(seconds):
    return Settings(model="m.keras", limits=JobLimits(pool_seconds=seconds))


def test_a_server_that_is_away_for_a_while_costs_the_release_nothing_but_the_wait(caplog):
    away = httpx.ConnectError("connection refused")
    server = Server(run_in(final=False), away, away, run_in(final=True))
    (run,) = remote_cells._awaited(server, [ONE], settings(60))
    assert run.state.is_final()
    assert [record.message for record in caplog.records] == [
        "the Prefect server gives no answer: connection refused"  # once, however often it was asked
    ]


def test_a_server_that_stays_away_is_told_of_when_the_time_is_over():
    with pytest.raises(httpx.ConnectError):
        remote_cells._awaited(Server(httpx.ConnectError("connection refused")), [ONE], settings(0.05))


def test_a_run_that_nobody_waits_for_is_cancelled_and_one_that_ended_is_not():
    server = Server(run_in(final=False), run_in(final=True))
    remote_cells._cancel_unfinished(server, ONE)
    remote_cells._cancel_unfinished(server, ONE)
    assert server.cancelled == [("1", "CANCELLING")]


def test_a_cancelling_that_fails_hides_no_other_error_and_is_logged(caplog):
    remote_cells._cancel_unfinished(Server(httpx.ReadTimeout("too slow")), ONE)
    assert "could not be cancelled: too slow" in caplog.text
