"""The Prefect flow end to end: states, names and the artifact as a server records them."""

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from prefect_server import PREFECT, ask, environment, until
from processes import below

from flows.pipeline.workspace import Workspace
from flows.prefect.server import migrate, prefect_version
from validators.release.integrity import manifest_digest

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.keras"
COMMAND = [sys.executable, "-m", "flows.cli", "release", str(DIGITS), "--formats", "onnx"]
STAGES = {
    "admission",
    "lowering",
    "reference",
    "noise",
    "export onnx/default",
    "cell onnx/default onnxruntime cpu",
    "cell onnx/default ort-web-wasm cpu",
    "verdict",
}

NO_GPU = '[policy]\ngpu = "off"\n'  # what a machine lacks is data too, and other tests' subject

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path):
    """A release.toml without GPU cells."""
    file = tmp_path / "release.toml"
    file.write_text(NO_GPU)
    return file


def run_on(api, *arguments, home):
    settings = environment(PREFECT_API_URL=api, PREFECT_HOME=home)
    return subprocess.run([*COMMAND, *arguments], cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


def latest_run(api):
    runs = ask(f"{api}/flow_runs/filter", {"sort": "START_TIME_DESC", "limit": 1})
    tasks = ask(f"{api}/task_runs/filter", {"flow_runs": {"id": {"any_": [runs[0]["id"]]}}})
    return runs[0], {task["name"]: task["state"] for task in tasks}


def told(api, event, release):
    """The payload of an event about a release directory, once the server has it."""
    body = {"filter": {"event": {"name": [event]}, "occurred": {"since": "2020-01-01T00:00:00Z"}}, "limit": 50}
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for found in ask(f"{api}/events/filter", body)["events"]:
            if found["payload"]["release_dir"] == str(release):
                return found["payload"]
        time.sleep(0.2)
    raise AssertionError(f"no {event} about {release}")


def test_a_released_model_is_a_completed_run_with_a_task_for_every_stage_and_the_matrix(server, tmp_path, config):
    out = tmp_path / "digits.release"
    done = run_on(server, "-o", out, "--config", config, "--json", home=tmp_path / "home")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (out / "release.json").read_text("utf-8")
    run, tasks = latest_run(server)
    digest = json.loads(done.stdout)["model"]["digest"]
    assert run["name"] == f"release-digits-{digest[:8]}"
    assert (run["state"]["type"], run["state"]["name"]) == ("COMPLETED", "Released")
    assert str(out) in run["state"]["message"]
    assert set(tasks) == STAGES
    assert {(state["type"], state["name"]) for state in tasks.values()} == {("COMPLETED", "Passed")}
    assert tasks["export onnx/default"]["message"].endswith("MB")
    artifacts = ask(f"{server}/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [run["id"]]}}})
    artifacts = {artifact["key"]: artifact["data"] for artifact in artifacts}
    assert set(artifacts) >= {"release-digits", "release-digits-distances"}
    assert "onnxruntime" in artifacts["release-digits"]
    assert "](data:image/svg+xml;base64," in artifacts["release-digits-distances"]
    event = told(server, "paritygate.release.published", out)
    assert (event["digest"], event["reasons"]) == (manifest_digest(out), [])


def test_a_refused_model_is_a_failed_run_named_refused_with_the_reasons(server, tmp_path, config):
    config.write_text(f"{NO_GPU}atol = 0.0\nrtol = 0.0\n")
    done = run_on(server, "-o", tmp_path / "out", "--config", config, home=tmp_path / "home")
    assert done.returncode == 1, done.stderr
    run, tasks = latest_run(server)
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "Refused")
    assert "onnx/default onnxruntime cpu" in run["state"]["message"]
    reason, *_ = told(server, "paritygate.release.refused", tmp_path / "out")["reasons"]
    assert "onnx/default onnxruntime cpu" in reason
    cell = tasks["cell onnx/default onnxruntime cpu"]
    assert (cell["type"], cell["name"]) == ("COMPLETED", "Failed")  # a parity failure is data; its task did its work


def test_bad_input_fails_the_run_by_name_and_leaves_the_later_stages_unstarted(server, tmp_path):
    samples = tmp_path / "samples"
    samples.mkdir()
    done = run_on(server, "-o", tmp_path / "out", "--samples", samples, home=tmp_path / "home")
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    run, tasks = latest_run(server)
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "Bad input")
    assert str(samples) in run["state"]["message"]
    assert tasks["admission"]["name"] == "Bad input"
    assert not [path for path in (tmp_path / "home").rglob("*") if path.parent.name == "storage"]


def test_a_server_that_does_not_answer_is_broken_with_the_way_around_it(tmp_path):
    done = run_on("http://127.0.0.1:9/api", "-o", tmp_path / "out", home=tmp_path / "home")
    assert done.returncode == 3
    assert "the Prefect server failed" in done.stderr
    assert "--no-prefect" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_embedded_server_records_every_stage_before_it_goes_and_leaves_the_users_home_alone(tmp_path, config):
    settings = environment(PREFECT_HOME=tmp_path / "prefect", HOME=tmp_path / "home")
    (tmp_path / "home").mkdir()
    prepared = [sys.executable, "-m", "flows.prefect.server"]
    subprocess.run(prepared, cwd=ROOT, env=settings, check=True)
    command = [*COMMAND, "-o", str(tmp_path / "out"), "--config", str(config)]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect" / "prefect.db")) as database:
        tasks = database.execute("SELECT name, state_type FROM task_run").fetchall()
        runs = database.execute("SELECT state_name FROM flow_run").fetchall()
    assert sorted(tasks) == sorted((name, "COMPLETED") for name in STAGES)
    assert runs == [("Released",)]
    assert not (tmp_path / "home" / ".prefect").exists()


def test_a_prepared_database_is_not_prepared_again(tmp_path):
    folder = tmp_path / "prefect"
    folder.mkdir()
    (folder / "prefect.db").touch()
    (folder / f"migrated-{prefect_version()}").touch()
    migrate(folder)
    assert (folder / "prefect.db").stat().st_size == 0


def test_the_flow_runs_by_itself_as_a_deployment_calls_it(server, tmp_path):
    script = (
        "from flows.prefect.release import release; from flows.config.settings import Policy, Settings; "
        "from pathlib import Path; "
        f"s = release(Settings(model=Path({str(DIGITS)!r}), output=Path({str(tmp_path / 'out')!r}), "
        "formats=('onnx',), policy=Policy(gpu='off')), return_state=True); print(s.name)"
    )
    settings = environment(PREFECT_API_URL=server, PREFECT_HOME=tmp_path / "home", PREFECT_LOGGING_LEVEL="ERROR")
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "Released", done.stderr
    assert (tmp_path / "out" / "release.json").exists()


def test_a_run_of_the_cli_that_is_cancelled_on_the_server_ends_with_all_its_processes_and_leaves_nothing(
    server, tmp_path, config
):
    out, home = tmp_path / "cancelled.release", tmp_path / "home"
    settings = environment(PREFECT_API_URL=server, PREFECT_HOME=home)
    command = [*COMMAND, "-o", str(out), "--config", str(config)]
    with subprocess.Popen(command, cwd=ROOT, env=settings, stderr=subprocess.PIPE, text=True) as process:
        until(lambda: list(tmp_path.glob(".cancelled.release.partial-*/scratch/lowered")))
        started = psutil.Process(process.pid).children(recursive=True)
        assert below(process.pid, "exporters.jobs.fork_server")
        run, _ = latest_run(server)
        subprocess.run([PREFECT, "flow-run", "cancel", run["id"]], env=settings, check=True, capture_output=True)
        _, alive = psutil.wait_procs(started, timeout=10)
        assert alive == []
        assert process.wait(30) not in {0, 1}
        assert "the run was cancelled on the Prefect server" in " ".join(process.stderr.read().split())
    until(lambda: latest_run(server)[0]["state"]["type"] == "CANCELLED")
    assert not list(tmp_path.glob("*cancelled.release*"))


def test_a_second_run_of_one_release_waits_and_takes_what_the_first_one_made(server, tmp_path):
    out = tmp_path / "out"
    script = (
        "from flows.prefect.release import release; from flows.config.settings import Policy, Settings; "
        "from pathlib import Path; "
        f"s = release(Settings(model=Path({str(DIGITS)!r}), output=Path({str(out)!r}), "
        "formats=('onnx',), policy=Policy(gpu='off')), return_state=True); print(s.name, s.message)"
    )
    settings = environment(PREFECT_API_URL=server, PREFECT_HOME=tmp_path / "home", PREFECT_LOGGING_LEVEL="WARNING")
    command = [sys.executable, "-c", script]
    subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, check=True)
    made = manifest_digest(out)
    first = Workspace(out)
    with subprocess.Popen(
        command, cwd=ROOT, env=settings, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as second:
        while "another run is making this release" not in (line := second.stderr.readline()):
            assert line, "it did not wait"
        first.remove()
        answer, _ = second.communicate(timeout=120)
    assert answer == f"Released {out} {made}\nby another run, meanwhile\n"
    assert manifest_digest(out) == made
