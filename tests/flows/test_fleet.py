"""How a fleet hands over: never more at once than asked, one run for what is the same, an outcome for every model."""

import time
import uuid
from types import SimpleNamespace

import fsspec
import pytest
import small_release

from exporters.errors import BadInput
from flows.config.settings import Settings, Terms
from flows.prefect.release import release_dir
from flows.review.decisions import approve
from validators.release.manifest import load


@pytest.fixture
def through(monkeypatch, tmp_path):
    """Hands names over to a server that ends one run at every look; gives outcomes and the most at once."""
    from flows.batch import loop_in_prefect

    runs, most = {}, []

    def settings_of(model, _releases, _terms):
        if model.name == "bad":
            raise BadInput("no model")
        return model

    def ended(under_way):
        most.append(len(under_way))
        return {run: SimpleNamespace(name="Released", message="done") for run in under_way[:1]}

    def begin(model):
        return runs.setdefault(model.name.partition("=")[0], uuid.uuid4())

    monkeypatch.setattr(loop_in_prefect, "settings_of", settings_of)

    def run(paths, at_once):
        outcomes = loop_in_prefect.release_each(
            fsspec.filesystem("file"), paths, tmp_path, Terms(), begin=begin, ended=ended, at_once=at_once
        )
        return [(outcome.model, outcome.state) for outcome in outcomes], max(most)

    return run


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_never_more_than_so_many_are_under_way_and_the_outcomes_keep_the_order_of_the_models(through, at_once):
    paths = [f"models/{letter}.keras" for letter in "edcba"]
    outcomes, most = through(paths, at_once)
    assert outcomes == [(path.removeprefix("models/"), "Released") for path in paths]
    assert most == min(at_once, len(paths))


def test_two_files_that_are_one_run_both_get_its_outcome_and_a_bad_model_stops_no_other(through):
    outcomes, most = through(["one=1", "bad", "one=2", "two"], 4)
    assert outcomes == [("one=1", "Released"), ("bad", "Bad input"), ("one=2", "Released"), ("two", "Released")]
    assert most == 2


def test_a_copy_that_comes_after_its_run_has_ended_gets_that_end_too(through):
    outcomes, most = through(["one=1", "two", "one=2"], 1)
    assert outcomes == [("one=1", "Released"), ("two", "Released"), ("one=2", "Released")]
    assert most == 1


def test_a_run_that_was_deleted_on_the_server_has_ended_broken(monkeypatch):
    from flows.batch import fleet

    done, busy, gone = (uuid.uuid4() for _ in range(3))
    waits = []

    class Client:
        def read_flow_runs(self, **_):
            ended = SimpleNamespace(name="Released", message="there", is_final=lambda: True)
            states = {done: ended, busy: SimpleNamespace(is_final=lambda: False)}
            return [SimpleNamespace(id=run, state=state) for run, state in states.items()]

    monkeypatch.setattr(time, "sleep", waits.append)
    told = fleet._ended(Client(), (done, busy, gone))
    assert {run: (state.name, state.message) for run, state in told.items()} == {
        gone: ("Broken", f"the run {gone} was deleted on the server"),
        done: ("Released", "there"),
    }
    assert fleet._ended(Client(), (done, gone)).keys() >= {done, gone}
    assert waits == [1.0]


def test_a_fleet_without_a_server_says_what_to_do(call, monkeypatch, tmp_path):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    code, out, err = call("fleet", tmp_path, "-o", tmp_path / "releases")
    assert (code, out) == (2, "")
    assert "PREFECT_API_URL names no Prefect server" in err


@pytest.mark.parametrize("demanded", [True, False])
def test_a_release_that_is_there_is_told_of_as_the_gate_judges_it_today(tmp_path, monkeypatch, demanded):
    from flows.batch import fleet, watch

    model, releases = tmp_path / "net.keras", tmp_path / "releases"
    model.write_bytes(b"model")
    settings = Settings(model=model)
    settings = settings.model_copy(update={"output": release_dir(settings, releases)})
    releases.mkdir()
    there = small_release.make(settings.release_dir, approval=demanded)
    monkeypatch.setattr("flows.prefect.release.settings_digest", lambda *_, **__: load(there).asked)
    monkeypatch.setattr(watch, "inspect", lambda *_: None)
    how = fleet.FleetOptions(releases=releases, terms=Terms())

    def told():
        state = fleet._submit_model(settings, how=how)
        assert "was there" in state.message
        assert watch._released("net.keras", settings).state == state.name
        return state.name

    assert told() == ("Awaiting" if demanded else "Released")
    approve(there, act="approved", who="Ann", why="read it")
    assert told() == "Released"
    (there / "artifacts/onnx/default/model.onnx").write_bytes(b"other")
    assert demanded or told() == "Refused"
