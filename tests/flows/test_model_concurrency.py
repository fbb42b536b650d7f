"""Two runs of one server never release the same model at once, whatever directories they write: they take turns."""

import contextlib
import signal
import subprocess
import sys
import textwrap
import threading
from contextvars import copy_context
from types import SimpleNamespace
from urllib.error import HTTPError
from uuid import uuid4

import pytest
from prefect_server import ROOT, ask, environment, until

from exporters.errors import Broken, Cancelled
from flows.prefect import model_concurrency
from flows.progress.events import perform

pytestmark = pytest.mark.slow


class Run:
    """As much of a release as its turn needs; remembers what was told."""

    def __init__(self):
        self.events, self.cancelled = [], False

    def follow(self, name, work):
        perform(name, work, total=1, listen=self.events.append)

    def cancel(self):
        self.cancelled = True

    @property
    def waits(self):
        return [event.message for event in self.events if event.state == "waiting"]


@pytest.fixture
def model(server):
    """The digest of a model that nobody else releases; what the tests leave of it is an error."""
    digest = uuid4().hex * 2
    yield digest
    assert held(server, digest) is None


def held(server, digest):
    found = ask(f"{server}/variables/filter", {"variables": {"name": {"like_": digest}}})
    return found[0] if found else None


@pytest.fixture(autouse=True)
def here(server, monkeypatch):
    """This process is a client of the server, and a run on it."""
    from prefect.settings import PREFECT_API_URL, temporary_settings  # noqa: TID251 - the address is a setting

    monkeypatch.setattr(model_concurrency, "flow_run", SimpleNamespace(id=begun(server), name="release-mine"))
    monkeypatch.setattr(model_concurrency, "_POLL_SECONDS", 0.05)
    with temporary_settings({PREFECT_API_URL: server}):
        yield


def begun(server):
    """A run that the server believes to be at work."""
    flow = ask(f"{server}/flows/", {"name": "release"})["id"]
    return ask(f"{server}/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"]


@contextlib.contextmanager
def elsewhere(server, home, digest, run):
    """A process of a run that has the turn until it is killed."""
    code = f"""
    import threading, time
    from types import SimpleNamespace
    from flows.prefect import model_concurrency
    model_concurrency.flow_run = SimpleNamespace(id="{run}", name="release-theirs")
    model_concurrency._BEAT_SECONDS = 0.1
    with model_concurrency.turn("{digest}", SimpleNamespace(cancel=lambda: None)):
        time.sleep(600)
    """
    settings = environment(PREFECT_API_URL=server, PREFECT_HOME=home)
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, env=settings) as process:
        try:
            until(lambda: held(server, digest), seconds=30)
            yield process
        finally:
            process.kill()


def started(work):
    """A thread that is a client of the same server as this one."""
    thread = threading.Thread(target=copy_context().run, args=(work,))
    thread.start()
    return thread


def waiting_for(digest, run):
    """A second run's thread, which has the turn when it ends."""

    def work():
        with model_concurrency.turn(digest, run):
            pass

    return started(work)


def test_the_second_run_waits_says_for_whom_and_goes_on_when_the_first_is_done(server, model):
    second = Run()
    with model_concurrency.turn(model, Run()):
        model_concurrency.flow_run.id = begun(server)
        thread = waiting_for(model, second)
        until(lambda: second.waits, seconds=20)
        thread.join(1)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()
    assert second.waits == ["for release-mine, which releases the same model"]
    assert second.events[-1].state == "passed"


def test_another_model_waits_for_nobody(server, model):
    alone = Run()
    with model_concurrency.turn(model, Run()), model_concurrency.turn(f"{model[:-1]}x", alone):
        pass
    assert alone.events == []


def test_the_turn_of_a_killed_run_is_taken_when_it_is_silent_known_to_have_ended_or_started_anew(
    server, home, model, monkeypatch
):
    with elsewhere(server, home, model, run := begun(server)) as process:
        process.send_signal(signal.SIGKILL)
        ask(f"{server}/flow_runs/{run}/set_state", {"state": {"type": "CRASHED"}, "force": True})
        waiting_for(model, Run()).join(10)
        assert held(server, model) is None
    with elsewhere(
        server, home, model, model_concurrency.flow_run.id
    ) as process:  # a person has it started anew: that is us
        process.send_signal(signal.SIGKILL)
        waiting_for(model, Run()).join(10)
        assert held(server, model) is None
    monkeypatch.setattr(model_concurrency, "_SILENT_SECONDS", 3.0)
    with elsewhere(server, home, model, begun(server)) as process:
        thread = waiting_for(model, Run())
        thread.join(4)  # longer than the silence: it gives signs of life
        assert thread.is_alive()
        process.send_signal(signal.SIGKILL)
        thread.join(20)
        assert not thread.is_alive()


def test_a_cancelled_run_gives_up_waiting(server, model):
    second = Run()
    second.cancelled = True
    with model_concurrency.turn(model, Run()):
        model_concurrency.flow_run.id = begun(server)
        with pytest.raises(Cancelled, match="release-mine"), model_concurrency.turn(model, second):
            pytest.fail("it is not its turn")


def test_a_run_whose_turn_another_one_took_ends(server, model, monkeypatch):
    monkeypatch.setattr(model_concurrency, "_BEAT_SECONDS", 0.1)
    first, ended = Run(), []

    def work():
        try:
            with model_concurrency.turn(model, first):
                until(lambda: first.cancelled, seconds=20)
                raise Cancelled("the run is ending")
        except Broken as error:
            ended.append(error.message)

    thread = started(work)
    mine = until(lambda: held(server, model))
    ask(f"{server}/variables/{mine['id']}", method="DELETE")
    until(lambda: (now := held(server, model)) and now["id"] != mine["id"])  # removed by hand: it has it again

    def taken():
        ask(f"{server}/variables/name/{mine['name']}", method="DELETE")
        try:
            return ask(f"{server}/variables/", {"name": mine["name"], "value": {"holder": "theirs"}})
        except HTTPError as error:  # the first was quicker
            return error.close()

    theirs = until(taken)
    thread.join(30)
    assert "another run took over" in ended[0]
    assert held(server, model)["id"] == theirs["id"]
    ask(f"{server}/variables/{theirs['id']}", method="DELETE")
