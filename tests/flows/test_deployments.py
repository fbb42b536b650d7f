"""What `deployments/` puts on a Prefect server, and the flow `nightly`, on a real server with a real worker."""

import contextlib
import json
import shutil
import sys
from pathlib import Path

import fsspec
import psutil
import pytest
from prefect_server import QUICK, ask, carried_out, restart, run, submit, until
from processes import below

from exporters.errors import BadInput
from exporters.files.hashing import sha256_file
from flows.batch.loop_in_prefect import find_models
from flows.config.input_files import settings_digest
from flows.config.settings import Settings
from flows.prefect.storage import fetched
from validators.release.manifest import load

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.keras"
PARTS = ("preparation", "exports", "cells", "verdict")

pytestmark = pytest.mark.slow


def test_the_deployments_have_their_schedules_queues_and_collision_strategies(deployed):
    deployments, _ = deployed
    assert set(deployments) == {"nightly", "weekly-full", "watch", "after-training", "manual", "fleet"}
    schedules = {name: d["schedules"] for name, d in deployments.items()}
    (nightly,), (weekly,) = schedules["nightly"], schedules["weekly-full"]
    assert (nightly["active"], nightly["schedule"]["cron"]) == (True, "0 2 * * *")
    assert [schedule["active"] for schedule in schedules["watch"]] == [False]
    assert (weekly["active"], weekly["schedule"]["timezone"]) == (False, "Europe/Berlin")
    assert schedules["manual"] == schedules["after-training"] == schedules["fleet"] == []
    assert {name: d["work_queue_name"] for name, d in deployments.items()} == {
        "nightly": "cpu",
        "weekly-full": "gpu",
        "watch": "cpu",
        "after-training": "cpu",
        "manual": "cpu",
        "fleet": "cpu",
    }
    strategies = {name: (d["concurrency_options"] or {}).get("collision_strategy") for name, d in deployments.items()}
    assert strategies["nightly"] == strategies["weekly-full"] == strategies["watch"] == "CANCEL_NEW"
    assert strategies["manual"] == strategies["after-training"] == "ENQUEUE"
    assert deployments["fleet"]["concurrency_limit"] is None


def test_the_form_of_a_manual_run_is_the_settings_model(deployed):
    schema = deployed[0]["manual"]["parameter_openapi_schema"]
    settings = schema["definitions"]["Settings"]
    assert next(iter(settings["properties"])) == "model"
    assert settings["required"] == ["model"]
    assert "Axis" not in settings["properties"]
    assert schema["definitions"]["Policy"]["properties"]["gpu"]["enum"] == ["any", "hardware", "off"]
    assert schema["definitions"]["WaiverSection"]["properties"]["until"]["format"] == "date"
    assert schema["definitions"]["Baseline"]["properties"]["size_ratio"]["default"] == 1.1
    assert settings["properties"]["baseline"]["title"] == "Baseline"


def test_a_second_bootstrap_keeps_what_a_person_has_set(server, deployed):
    _, said = deployed
    assert "work pool paritygate: was there" in said
    assert "work queue paritygate/cpu: was there" in said
    assert "concurrency limit paritygate-gpu: was there" in said
    assert "automation paritygate: runs that fell silent: was there" in said
    assert ask(f"{server}/work_pools/paritygate")["concurrency_limit"] == 3
    queues = {queue["name"] for queue in ask(f"{server}/work_pools/paritygate/queues/filter", {})}
    assert {"cpu", "gpu"} <= queues


def test_a_bootstrap_without_a_server_says_what_to_do(home):
    done = run("", home, sys.executable, "-m", "flows.cli", "server", "deploy")
    assert (done.returncode, done.stdout) == (2, "")
    assert "`paritygate server start` starts one" in done.stderr
    away = run("http://127.0.0.1:9/api", home, sys.executable, "-m", "flows.cli", "server", "deploy")
    assert away.returncode == 3
    assert "the Prefect server failed" in away.stderr
    assert "Traceback" not in away.stderr


WITHOUT_PARITYGATE = """
import runpy, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"exporters", "validators", "flows", "deployments"}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
script, sys.argv = sys.argv[1], sys.argv[1:]
sys.path[0] = script.rpartition("/")[0]
runpy.run_path(script, run_name="__main__")
"""


def test_a_training_run_has_its_model_released_with_nothing_of_paritygate_installed(
    server, deployed, worker, home, tmp_path
):
    example = ROOT / "examples" / "train_and_release.py"
    to = tmp_path / "trained"
    done = run(server, home, sys.executable, "-c", WITHOUT_PARITYGATE, example, "--to", to, "--epochs", 3)
    assert done.returncode == 0, done.stderr
    mine = {"deployments": {"name": {"any_": ["after-training"]}}}

    def ended():
        runs = ask(f"{server}/flow_runs/filter", mine)
        return [run for run in runs if run["state"] and run["state"]["type"] in {"COMPLETED", "FAILED", "CRASHED"}]

    (one,) = until(ended, seconds=300)
    assert one["state"]["name"] == "Released", one["state"]["message"]
    release = Path(one["state"]["message"].split()[0])
    try:
        assert load(release).samples[0].origin == "user"
        assert load(release).model.name == "digits.keras"
    finally:
        shutil.rmtree(release)


def test_a_submitted_model_is_released_once_and_followed_to_the_verdict(server, worker, home, tmp_path, quick):
    model, out = tmp_path / "mine.keras", tmp_path / "mine.release"
    shutil.copy(DIGITS, model)
    given = (model, "-o", out, "--config", quick, "--samples", DIGITS.with_name("samples.npz"), "--json")
    other = {"name": f"paritygate_release_{sha256_file(DIGITS)}", "value": {"name": "release-other"}}
    turn = ask(f"{server}/variables/", other)["id"]  # as if a run to another directory released these very bytes
    waits = {"logs": {"flow_run_id": {"any_": [json.loads(submit(server, home, *given)[1])["run"]]}}}
    until(lambda: "waits: for release-other" in str(ask(f"{server}/logs/filter", waits)))
    assert not list(tmp_path.glob(".mine.release.partial-*/stages"))
    ask(f"{server}/variables/{turn}", method="DELETE")
    given = (*given, "--wait")
    code, said, err = submit(server, home, *given)
    assert code == 0, err
    first = json.loads(said)
    assert not ask(f"{server}/variables/filter", {"variables": {"name": {"any_": [other["name"]]}}})
    assert first["state"] == "Released"
    assert load(out).verdict.passed
    assert load(out).samples[0].origin == "user"
    made = (out / "release.json").stat().st_mtime_ns
    code, said, _ = submit(server, home, *given)
    assert json.loads(said)["run"] == first["run"]
    assert (out / "release.json").stat().st_mtime_ns == made


def test_a_submitted_bundle_travels_with_its_samples_and_what_was_uploaded_is_proven(
    server, worker, home, tmp_path, quick
):
    inbox, out = tmp_path / "inbox", tmp_path / "far.release"
    samples = DIGITS.with_name("samples.npz")
    given = (DIGITS, "-o", out, "--config", quick, "--samples", samples, "--storage", inbox)
    code, _, err = submit(server, home, *given, "--wait")
    assert code == 0, err
    (bundle,) = inbox.iterdir()
    assert sorted(path.name for path in bundle.rglob("*") if path.is_file()) == [
        ".complete",
        "digits.keras",
        "samples.npz",
    ]
    assert load(out).samples[0].origin == "user"
    stored = bundle / "model" / "digits.keras"
    stored.write_bytes(stored.read_bytes()[::-1])
    broken = (*given[:2], tmp_path / "other", *given[3:], "--wait")
    code, said, _ = submit(server, home, *broken)
    assert code == 2
    assert "its files are not the ones that were submitted" in said
    stored.write_bytes(b"another")  # of another length: the next upload mends it
    code, said, _ = submit(server, home, *broken)
    assert code == 0, said


def test_cancelling_a_run_ends_all_its_processes_and_leaves_nothing(server, worker, home, tmp_path):
    out = tmp_path / "cancelled.release"
    code, said, err = submit(server, home, DIGITS, "-o", out, "--json")
    assert code == 0, err
    until(lambda: list(tmp_path.glob(".cancelled.release.partial-*/scratch/lowered")))
    assert below(worker.pid, "exporters.jobs.fork_server")
    started = psutil.Process(worker.pid).children(recursive=True)
    run = json.loads(said)["run"]
    ask(f"{server}/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}, "force": False})
    until(lambda: ask(f"{server}/flow_runs/{run}")["state"]["type"] == "CANCELLED")
    _, alive = psutil.wait_procs(started, timeout=10)
    assert alive == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_awaits_a_person_frees_its_worker_and_goes_on_with_who_and_why(
    server, worker, home, tmp_path, quick
):
    quick.write_text(quick.read_text() + "approval = true\n")
    out = tmp_path / "signed.release"
    given = (DIGITS, "-o", out, "--config", quick, "--json")
    code, said, err = submit(server, home, *given)
    assert code == 0, err
    run = json.loads(said)["run"]

    def look():
        return ask(f"{server}/flow_runs/{run}")

    def resumed(**words):
        return ask(f"{server}/flow_runs/{run}/resume", {"run_input": words})["status"]

    until(lambda: look()["state"]["name"] == "Suspended")
    until(lambda: not psutil.Process(worker.pid).children())
    written = (out / "release.json").read_bytes()
    keys = look()["state"]["state_details"]["run_input_keyset"]
    form = ask(f"{server}/flow_runs/{run}/input/{keys['schema']}")
    assert set(form["required"]) == {"who", "why"}
    assert "## Matrix" in ask(f"{server}/flow_runs/{run}/input/{keys['description']}")
    assert resumed(who=" ", why="looked at the matrix") == "REJECT"
    assert resumed(who="Ann", why="looked at the matrix") == "ACCEPT"
    state = until(lambda: (now := look()["state"])["type"] in {"COMPLETED", "FAILED", "CRASHED"} and now)
    assert state["name"] == "Released", state["message"]
    assert (out / "release.json").read_bytes() == written
    (file,) = (out / "attestations").iterdir()
    kept = json.loads(file.read_text())
    assert (kept["act"], kept["who"], kept["why"]) == ("approved", "Ann", "looked at the matrix")
    assert submit(server, home, *given, "--wait")[0] == 0


def test_a_killed_run_is_retried_where_it_was_and_a_restarted_server_loses_nothing(server, worker, home, tmp_path):
    """SIGKILL for the run's processes; then the server is started anew while the second run works."""
    out, config = tmp_path / "d.release", tmp_path / "release.toml"
    config.write_text('formats = ["onnx", "tflite"]\n[policy]\ngpu = "off"\n')
    given = (DIGITS, "-o", out, "--config", config, "--json")

    def logged(*runs):
        """Task and level of TensorFlow's warnings on the server."""
        mine = {"flow_runs": {"id": {"any_": runs}}}
        tasks = {task["id"]: task["name"] for task in ask(f"{server}/task_runs/filter", mine)}
        lines = ask(f"{server}/logs/filter", {"logs": {"flow_run_id": {"any_": runs}}, "limit": 200})
        return {
            (tasks.get(line["task_run_id"]), line["level"]) for line in lines if "tensorflow:From" in line["message"]
        }

    first = json.loads(submit(server, home, *given)[1])["run"]
    until(lambda: list(tmp_path.glob(".d.release.partial-*/stages/export-onnx-default.json")), seconds=240)
    until(lambda: ("export onnx/default", 30) in logged(first))  # logs travel to the server every two seconds
    for process in psutil.Process(worker.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    until(lambda: ask(f"{server}/flow_runs/{first}")["state"]["type"] == "CRASHED")

    again = json.loads(submit(server, home, *given)[1])["run"]
    assert again != first
    until(lambda: list(tmp_path.glob(".d.release.partial-*/stages/reference.json")), seconds=240)
    restart(server)
    until(lambda: ask(f"{server}/flow_runs/{again}")["state"]["type"] == "COMPLETED", seconds=240)
    assert {"lowering", "reference", "export onnx/default"} <= set(load(out).resumed)
    assert [path.name for path in tmp_path.iterdir() if path != config] == ["d.release"]

    (deployment,) = ask(f"{server}/deployments/filter", {"deployments": {"name": {"any_": ["manual"]}}})
    until(lambda: ask(f"{server}/v2/concurrency_limits/deployment:{deployment['id']}")["active_slots"] == 0)
    mine = {"flow_runs": {"id": {"any_": [first, again]}}}
    shown = ask(f"{server}/artifacts/filter", {**mine, "artifacts": {"type": {"any_": ["progress"]}}})
    assert {a["key"] for a in shown} == {f"release-digits-{part}" for part in PARTS}
    assert all(a["data"] == 100 for a in shown if a["flow_run_id"] == again)


def test_a_run_whose_machine_died_falls_silent_and_is_gone_on_with(server, worker, home, tmp_path, quick):
    out = tmp_path / "lost.release"
    given = (DIGITS, "-o", out, "--config", quick, "--json")
    first = json.loads(submit(server, home, *given)[1])["run"]
    until(lambda: list(tmp_path.glob(".lost.release.partial-*/stages/reference.json")))
    worker.die()
    worker.start()
    until(lambda: ask(f"{server}/flow_runs/{first}")["state"]["type"] == "CRASHED", seconds=300)
    code, said, err = submit(server, home, *given, "--wait")
    assert code == 0, err
    assert json.loads(said)["run"] != first
    assert "reference" in load(out).resumed


def test_a_fleet_releases_each_model_once_on_the_workers_and_shows_one_table(server, worker, home, tmp_path, quick):
    models, releases = tmp_path / "models", tmp_path / "releases"
    models.mkdir()
    for name in ("a", "b"):
        shutil.copy(DIGITS, models / f"{name}.keras")
    (models / "c.keras").write_text("no model")
    command = (sys.executable, "-m", "flows.cli", "fleet", models, "-o", releases, "--config", quick, "--json")
    done = run(server, home, *command)
    assert done.returncode == 2, done.stderr
    told = json.loads(done.stdout)
    assert told["state"] == "Bad input"
    assert [each["state"] for each in told["models"]] == ["Released", "Released", "Bad input"]
    written = {path: (path / "release.json").stat().st_mtime_ns for path in releases.iterdir()}
    assert len(written) == 2
    (models / "c.keras").unlink()
    done = run(server, home, *command)
    assert done.returncode == 0, done.stderr
    assert all("was there" in each["message"] for each in json.loads(done.stdout)["models"])
    assert {path: (path / "release.json").stat().st_mtime_ns for path in releases.iterdir()} == written
    (table,) = ask(f"{server}/artifacts/latest/filter", {"artifacts": {"key": {"like_": "fleet-"}}})
    assert "a.keras" in table["data"]
    none = run(server, home, *command[:-1], "--deployment", "release/none")
    assert none.returncode == 2
    assert "has no deployment 'release/none' of the flow `release`" in none.stderr


def test_bad_input_of_a_submitted_model_ends_with_its_exit_code(server, worker, home, tmp_path, quick):
    (tmp_path / "bad.keras").write_text("no model")
    code, said, _ = submit(server, home, tmp_path / "bad.keras", "-o", tmp_path / "out", "--config", quick, "--wait")
    assert code == 2
    assert said.startswith("Bad input ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("missing.keras",), "missing.keras: no such file"),
        (("s3://models/net.keras",), "s3://models/net.keras: a model in a bucket is handed over through storage"),
        (
            (DIGITS, "--deployment", "release/none"),
            "has no deployment 'release/none' of the flow `release`; it has release/after-training, release/fleet, ",
        ),
        ((DIGITS, "--deployment", "nightly/nightly"), "has no deployment 'nightly/nightly' of the flow `release`; it"),
        ((DIGITS, "--storage", "nowhere://inbox"), "nowhere://inbox: cannot be used: ValueError: Protocol not known"),
    ],
)
def test_what_cannot_be_submitted_is_bad_input(server, deployed, home, arguments, message):
    code, said, err = submit(server, home, *arguments)
    assert (code, said) == (2, "")
    assert message in err


def test_a_submission_needs_a_server(home):
    code, _, err = submit("", home, DIGITS)
    assert code == 2
    assert "PREFECT_API_URL names no Prefect server" in err
    code, _, err = submit("http://127.0.0.1:9/api", home, DIGITS)
    assert code == 3
    assert "the Prefect server failed" in err


def test_a_night_releases_what_is_new_verifies_the_rest_and_stops_at_no_failure(server, deployed, worker, tmp_path):
    models, releases = tmp_path / "models" / "deep", tmp_path / "releases"

    def night(models, **terms):
        given = {"models": str(models), "releases": str(releases), "terms": {**QUICK, **terms}}
        return carried_out(server, deployed[0]["nightly"], **given)

    models.mkdir(parents=True)
    shutil.copy(DIGITS, models / "a.keras")
    (models / "b.keras").write_bytes(b"no model")
    (models / "gone.keras").symlink_to(tmp_path / "nothing")
    name, message = night(tmp_path / "models")
    assert name == "Bad input"
    assert message.startswith("b.keras: Bad input: ")
    assert "\ngone.keras: Bad input: " in message
    assert "a.keras" not in message
    (first,) = releases.iterdir()
    written = (first / "release.json").stat().st_mtime_ns

    for name in ("b.keras", "gone.keras"):
        (models / name).unlink()
    shutil.copy(DIGITS, models / "c.keras")
    assert night(tmp_path / "models") == ("All proven", f"2 models of {tmp_path / 'models'}")
    assert (first / "release.json").stat().st_mtime_ns == written
    tasks = ask(f"{server}/task_runs/filter", {"task_runs": {"name": {"any_": [f"verify {first.name}"]}}})
    assert [task["state"]["name"] for task in tasks] == ["Verified"]

    others = {"samples": {"batches": [1, 3]}, "limits": {"seconds": 800}}
    # Under other terms the same model is released anew; a release that no longer holds is refuted, not made again.
    assert night(models / "a.keras", **others)[0] == "All proven"
    assert (first / "release.json").stat().st_mtime_ns != written
    artifact = first / "artifacts" / "saved_model" / "default" / "saved_model.pb"
    artifact.write_bytes(artifact.read_bytes() + b"\0")
    name, message = night(models / "a.keras", **others)
    assert name == "Refused"
    assert message.startswith("a.keras: Refuted: digest mismatch: ")


def test_models_in_a_bucket_are_fetched_one_at_a_time_and_gone_afterwards():
    bucket = fsspec.filesystem("memory")
    bucket.pipe({"/models/b/two.keras": b"2", "/models/one.keras": b"1", "/models/readme.md": b""})
    storage, paths = find_models("memory://models")
    assert paths == ["/models/b/two.keras", "/models/one.keras"]
    with fetched(storage, paths[0]) as file:
        assert (file.name, file.read_bytes()) == ("two.keras", b"2")
    assert not file.exists()
    assert find_models("memory://models/*.keras")[1] == ["/models/one.keras"]


@pytest.mark.parametrize("models", ["memory://nothing", "nowhere://bucket", "missing/folder"])
def test_a_folder_that_cannot_be_read_or_is_empty_is_bad_input(models):
    with pytest.raises(BadInput, match=models):
        find_models(models)


def test_new_samples_and_new_code_are_asked_anew_and_modules_always(tmp_path):
    code = tmp_path / "mine.py"
    code.write_text("x = 1")
    settings = Settings(model=DIGITS, custom_objects=(str(code),))

    def mark(**changes):
        return settings_digest(settings.model_copy(update=changes), model="m", samples=changes.get("given"))

    first = mark()
    assert mark(output=tmp_path) == first
    assert mark(trust_lambda=True) != first
    assert mark(given=DIGITS) != first
    code.write_text("x = 2")
    assert mark() != first
    assert mark(custom_objects=("package.module",)) == ""
