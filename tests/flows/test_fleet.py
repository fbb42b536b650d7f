"""How a fleet hands over: never more at once than asked, one run for what is the same, an outcome for every model."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pytest
import small_release

from flows.config.settings import Settings, Terms
from flows.prefect.release import release_dir
from flows.review.decisions import approve
from validators.release.manifest import load


@dataclass
class Handed:
    run: uuid.UUID


@pytest.fixture
def through(monkeypatch):
    """Runs a shelf of names through a server that ends one run at every look; gives outcomes and the most at once."""
    from flows.batch import fleet

    runs, most = {}, []

    def hand_over(_shelf, path, _how):
        if path == "bad":
            return fleet.Outcome(model=path, state="Bad input", message="no model")
        return Handed(runs.setdefault(path.partition("=")[0], uuid.uuid4()))

    def ended(_client, under_way):
        most.append(len(under_way))
        return [(run, "Released", "done") for run in under_way[:1]]

    monkeypatch.setattr(fleet, "_handed_over", hand_over)
    monkeypatch.setattr(fleet, "_ended", ended)
    monkeypatch.setattr(fleet, "_POLL_SECONDS", 0)

    def run(paths, at_once):
        how = fleet.HandOver(releases=Path("releases"), terms=Terms(), at_once=at_once)
        outcomes = fleet._through(None, None, paths, how)
        return [(outcome.model, outcome.state) for outcome in outcomes], max(most)

    return run


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_never_more_than_so_many_are_under_way_and_the_outcomes_keep_the_shelfs_order(through, at_once):
    paths = [f"shelf/{letter}.keras" for letter in "edcba"]
    outcomes, most = through(paths, at_once)
    assert outcomes == [(path.removeprefix("shelf/"), "Released") for path in paths]
    assert most == min(at_once, len(paths))


def test_two_files_that_are_one_run_both_get_its_outcome_and_a_bad_model_stops_no_other(through):
    outcomes, most = through(["one=1", "bad", "one=2", "two"], 4)
    assert outcomes == [("one=1", "Released"), ("bad", "Bad input"), ("one=2", "Released"), ("two", "Released")]
    assert most == 2


def test_a_run_that_was_deleted_on_the_server_has_ended_broken():
    from flows.batch import fleet

    done, busy, gone = (uuid.uuid4() for _ in range(3))

    class Client:
        def read_flow_runs(self, **_):
            ended = SimpleNamespace(name="Released", message="there", is_final=lambda: True)
            states = {done: ended, busy: SimpleNamespace(is_final=lambda: False)}
            return [SimpleNamespace(id=run, state=state) for run, state in states.items()]

    told = fleet._ended(Client(), (done, busy, gone))
    assert told == [(gone, "Broken", f"the run {gone} was deleted on the server"), (done, "Released", "there")]


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
    monkeypatch.setattr("flows.prefect.release.asked", lambda *_, **__: load(there).asked)
    monkeypatch.setattr(watch, "inspect", lambda *_: None)
    how = fleet.HandOver(releases=releases, terms=Terms())

    def told():
        outcome = fleet._handed_over(fsspec.filesystem("file"), str(model), how)
        assert "was there" in outcome.message
        assert watch._released(settings).state == outcome.state
        return outcome.state

    assert told() == ("Awaiting" if demanded else "Released")
    approve(there, act="approved", who="Ann", why="read it")
    assert told() == "Released"
    (there / "artifacts/onnx/default/model.onnx").write_bytes(b"other")
    assert demanded or told() == "Refused"
