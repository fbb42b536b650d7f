"""The flow `validate`, the hand-over of cells to a work pool, and the slots that keep two runs off one card.

With a real server and a real worker on loopback; what runs there are CPU cells, so no card is needed.
"""

import contextlib
import json
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import small_release
import yaml
from prefect_server import PREFECT, ask, environment

from exporters.errors import BadInput
from flows import cli
from flows.cli.options import Flags
from validators.release.integrity import manifest_digest

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.keras"
CELLS = {"cell tflite/dynamic litert-reference cpu", "cell tflite/batch1 litert-reference cpu"}
POLICY = """
formats = ["tflite"]
[limits]
pool_seconds = {seconds}
[policy]
gpu = "off"
required = ["tflite litert-xnnpack cpu"]
elsewhere = ["tflite litert-reference cpu"]
gpu_pool = "{pool}"
"""


def until(found, *, seconds=90):
    """Waits for something to be there."""
    deadline = time.monotonic() + seconds
    while not (it := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.1)
    return it


class Site:
    """A server with pools, and what runs against it."""

    def __init__(self, api, folder):
        self.api, self.folder = api, folder
        self.environment = environment(
            PREFECT_API_URL=api,
            PREFECT_HOME=folder / "home",
            PREFECT_WORKER_QUERY_SECONDS=1,
            PYTHONPATH=f"{ROOT / 'tests'}:{ROOT / 'tests' / 'validators'}",
        )

    def pool(self, name):
        ask(f"{self.api}/work_pools/", {"name": name, "type": "process"})
        return name

    def start(self, *command, **options):
        return subprocess.Popen([*map(str, command)], cwd=ROOT, env=self.environment, text=True, **options)

    def release(self, out, pool, *, seconds=300):
        """Starts a release of the digits model whose second cell the pool has to prove."""
        config = self.folder / f"{pool}.toml"
        config.write_text(POLICY.format(pool=pool, seconds=seconds))
        command = [sys.executable, "-m", "flows.cli", "release", DIGITS, "-o", out, "--config", config]
        return self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def script(self, text):
        command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(text)]
        return self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def runs(self, flow, pool=None):
        body = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC"}
        if pool:
            body["work_pools"] = {"name": {"any_": [pool]}}
        return ask(f"{self.api}/flow_runs/filter", body)

    def tasks(self, run):
        tasks = ask(f"{self.api}/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
        return {task["name"]: task["state"]["name"] for task in tasks}


@pytest.fixture(scope="module")
def site(server, tmp_path_factory):
    return Site(server, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def cards(site):
    """A pool with a worker; gives its name."""
    name = site.pool("cards")
    with (site.folder / "worker.log").open("wb") as log:
        worker = site.start(
            PREFECT, "worker", "start", "--pool", name, "--type", "process", stdout=log, stderr=subprocess.STDOUT
        )
        try:
            until(lambda: ask(f"{site.api}/work_pools/{name}/workers/filter", {}))
            yield name
        finally:
            worker.terminate()
            worker.wait(30)


def warnings(site, run):
    """What the log of a run on the server warns of."""
    return ask(f"{site.api}/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}, "level": {"ge_": 30}}})


@contextlib.contextmanager
def paused(site, pool):
    """Nobody takes a run from the pool meanwhile."""
    url = f"{site.api}/work_pools/{pool}"
    ask(url, {"is_paused": True}, method="PATCH")
    try:
        yield
    finally:
        ask(url, {"is_paused": False}, method="PATCH")


def test_a_pool_needs_prefect(tmp_path):
    config = tmp_path / "release.toml"
    config.write_text(POLICY.format(pool="cards", seconds=1))
    with pytest.raises(BadInput, match="--no-prefect was given") as refused:
        cli.release.release(DIGITS, flags=Flags(config=config), output=tmp_path / "out", no_prefect=True)
    assert "paritygate verify" in refused.value.next_step


def test_a_pool_needs_a_server_that_workers_reach(tmp_path, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    config = tmp_path / "release.toml"
    config.write_text(POLICY.format(pool="cards", seconds=1))
    with pytest.raises(BadInput, match="PREFECT_API_URL is not set"):
        cli.release.release(DIGITS, flags=Flags(config=config), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_release_waits_for_its_pool_and_goes_out_on_the_workers_word(site, cards, tmp_path):
    out = tmp_path / "digits.release"
    process = site.release(out, cards)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stdout + stderr
    assert "AWAITING" in stdout
    assert "2 attested cells" in stdout[stdout.index("AWAITING") :]
    digest = manifest_digest(out)
    (attestation,) = (out / "attestations").iterdir()
    attested = json.loads(attestation.read_text("utf-8"))
    assert attested["manifest"] == digest
    assert {f"cell {c['format']}/{c['variant']} {c['runtime']} {c['device']}" for c in attested["cells"]} == CELLS

    child = site.runs("validate", cards)[0]
    assert child["name"] == f"validate-digits-{digest[:8]}"
    assert (child["state"]["type"], child["state"]["name"]) == ("COMPLETED", "Proven")
    assert attestation.name in child["state"]["message"]
    assert site.tasks(child) == dict.fromkeys(CELLS, "Passed")
    (artifact,) = ask(f"{site.api}/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [child["id"]]}}})
    assert artifact["key"] == "validate-digits"
    assert "`tflite/batch1 litert-reference cpu` | ✓ passed" in artifact["data"]
    parent = site.runs("release")[0]
    assert parent["state"]["name"] == "Released"
    assert f"{child['name']} (cpu): Proven" in parent["state"]["message"]
    deployment = ask(f"{site.api}/deployments/name/validate/{cards}")
    assert deployment["tags"] == ["paritygate"]  # as the automation wants it that looks for runs that fell silent
    others = yaml.safe_load((ROOT / "flows" / "deployment" / "prefect.yaml").read_text())["definitions"]["environment"]
    assert deployment["job_variables"] == others
    assert (deployment["entrypoint"], deployment["pull_steps"]) == ("flows.prefect.validate.validate", [])


def finished(site, release, pool, *, seconds=300):
    """Starts the last step of the flow `release`, over a small release that awaits one cell from the pool."""
    return site.script(f"""
        from pathlib import Path
        from types import SimpleNamespace
        from prefect import flow
        from flows.prefect.release import _conclusion
        from flows.config.sections import JobLimits
        from flows.config.settings import Policy, Settings
        from validators.release.integrity import manifest_digest
        from validators.release.manifest import load

        out = Path({str(release)!r})
        policy = Policy(required=["onnx onnxruntime gpu"], elsewhere=["onnx onnxruntime cpu"], gpu_pool={pool!r})
        limits = JobLimits(pool_seconds={seconds})
        settings = Settings(model=Path("small.keras"), output=out, formats=["onnx"], policy=policy, limits=limits)
        run = SimpleNamespace(settings=settings, manifest=load(out), digest=manifest_digest(out), judged=None)
        run.follow = lambda name, work: work().message

        @flow(name="finished")
        def finished():
            return _conclusion(run)

        state = finished(return_state=True)
        print(run.judged.verdict.exit_code, state.name, state.message)
        """)


@pytest.fixture
def awaiting(tmp_path):
    """A small release that awaits its CPU cell from elsewhere."""
    demands = {"required": (small_release.GPU,), "elsewhere": [small_release.CPU]}
    return small_release.make(tmp_path / "small.release", own=small_release.cell("gpu"), **demands)


@pytest.mark.slow
def test_bytes_that_changed_before_the_worker_saw_them_refuse_the_release(site, cards, awaiting):
    before = len(site.runs("validate", cards))
    with paused(site, cards):
        process = finished(site, awaiting, cards)
        until(lambda: len(site.runs("validate", cards)) > before)
        (model,) = (awaiting / "artifacts").rglob("*.onnx")
        model.write_bytes(model.read_bytes()[:-1] + b"\1")
    stdout, stderr = process.communicate()
    assert stdout.startswith("1 Refused digest mismatch: "), stdout + stderr
    assert f"{model.name}: was changed" in stdout
    child = site.runs("validate", cards)[0]
    assert (child["state"]["type"], child["state"]["name"]) == ("FAILED", "Refuted")
    assert f"{model.name}: was changed" in child["state"]["message"]
    assert not list(awaiting.glob("attestations/*"))


@pytest.mark.slow
def test_a_worker_that_never_comes_is_waited_for_so_long_and_the_release_still_awaits(site, awaiting):
    pool = site.pool("nobody")
    stdout, stderr = finished(site, awaiting, pool, seconds=2.5).communicate()
    assert stdout.startswith("1 Awaiting awaiting attestation: onnx/default onnxruntime cpu: "), stdout + stderr
    assert "2.5 s (limits.pool_seconds)" in stdout
    assert "no worker of the work pool 'nobody' is online" in stdout
    parent, child = site.runs("finished")[0], site.runs("validate", pool)[0]
    assert child["state"]["type"] == "CANCELLED"
    warned = [log["message"] for log in warnings(site, parent) if "waits: no worker" in log["message"]]
    assert len(warned) == 1
    assert "prefect worker start --pool nobody" in warned[0]


@pytest.mark.slow
def test_no_such_pool_is_bad_input_before_anything_runs(site, tmp_path):
    process = site.release(tmp_path / "out", "nowhere")
    _, stderr = process.communicate()
    assert process.returncode == 2, stderr
    assert "prefect work-pool create nowhere" in stderr
    assert "Traceback" not in stderr
    run = site.runs("release")[0]
    assert (run["state"]["type"], run["state"]["name"]) == ("FAILED", "Bad input")
    assert site.tasks(run) == {}
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_release_that_is_cancelled_cancels_what_it_waits_for(site, tmp_path):
    pool = site.pool("idle")
    release = small_release.make(tmp_path / "small.release", elsewhere=[small_release.GPU])
    process = site.script(f"""
        from pathlib import Path
        from prefect import flow
        from exporters.errors import Cancelled
        from flows.prefect.remote_cells import prove_elsewhere
        from flows.config.settings import Policy, Settings

        asked = Policy(elsewhere=("onnx onnxruntime gpu",), gpu_pool={pool!r})
        settings = Settings(model=Path("small.keras"), output=Path({str(release)!r}), formats=("onnx",), policy=asked)

        @flow(name="waiting")
        def waiting():
            try:
                prove_elsewhere(settings, {manifest_digest(release)!r})
            except Cancelled as error:
                print(error)

        waiting()
        """)
    child = until(lambda: site.runs("validate", pool))[0]
    assert child["parameters"] == {
        "release_dir": str(release),
        "digest": manifest_digest(release),
        "runtimes": ["onnxruntime"],
        "device": "gpu",
    }
    waiting = until(lambda: site.runs("waiting"))[0]
    ask(f"{site.api}/flow_runs/{waiting['id']}/set_state", {"state": {"type": "CANCELLING"}})
    stdout, stderr = process.communicate()
    assert "the release was cancelled" in stdout, stderr
    assert site.runs("validate", pool)[0]["state"]["type"] == "CANCELLED"


@pytest.mark.slow
def test_the_flow_needs_no_tensorflow_and_names_its_state_after_what_came_of_it(site, tmp_path):
    good = small_release.make(tmp_path / "good.release")
    other = small_release.make(tmp_path / "other.release", off_by=0.5)
    process = site.script(f"""
        import sys
        absent = ("tensorflow", "keras", "tensorflowjs", "tf2onnx", "ai_edge_litert", "h5py", "onnx")
        sys.modules.update(dict.fromkeys(absent))
        from pathlib import Path
        from flows.prefect.validate import validate

        def run(folder, digest, **asked):
            state = validate(Path(folder), digest, device="cpu", return_state=True, **asked)
            print(state.type.name, state.name, state.message.replace("\\n", " "), sep="|")

        run({str(good)!r}, {manifest_digest(good)!r}, runtimes=["onnxruntime"])
        run({str(other)!r}, {manifest_digest(other)!r}, runtimes=["onnxruntime"])
        run({str(good)!r}, {manifest_digest(other)!r})
        run({str(tmp_path / "gone")!r}, {manifest_digest(good)!r})
        """)
    stdout, stderr = process.communicate()
    states = [line.split("|") for line in stdout.splitlines()]
    assert [state[:2] for state in states] == [
        ["COMPLETED", "Proven"],
        ["FAILED", "Refuted"],
        ["FAILED", "Refuted"],
        ["FAILED", "Bad input"],
    ], stderr
    assert "tolerance exceeded" in states[1][2]
    assert len(list((other / "attestations").iterdir())) == 1  # what another machine found wrong is kept too
    assert "is not the manifest of that release" in states[2][2]
    assert "under the same path" in states[3][2]


@pytest.mark.slow
def test_gpu_cells_share_the_slots_of_a_card_and_nothing_else_takes_one(site):
    process = site.script("""
        import threading
        from prefect import flow
        from prefect.client.orchestration import get_client
        from prefect.exceptions import ObjectNotFound
        from flows.prefect import gpu_concurrency
        from flows.pipeline.stages import StagePlan, stages_of
        from flows.prefect.tasks import THREADS, TaskLog, run_as_tasks
        from flows.progress.events import StageOutcome
        from validators.hardware.graphics_cards import Card

        gpu_concurrency.LIMIT = "paritygate-gpu-fresh"
        both, here, most = threading.Condition(), 0, 0
        waits = False

        def work():
            global here, most
            with both:
                here += 1
                most = max(most, here)
                both.notify_all()
                # Until the other one is here too or was told to wait: a machine may be slow to start it.
                both.wait_for(lambda: most == 2 or waits, timeout=60)
                here -= 1
            return StageOutcome(True, "")

        def limit():
            with get_client(sync_client=True) as client:
                try:
                    found = client.read_global_concurrency_limit_by_name(gpu_concurrency.LIMIT)
                except ObjectNotFound:
                    return None
                return found.limit, found.active_slots

        @flow(name="slots", task_runner=THREADS)
        def run(*names):
            global most
            most = 0
            ended = {}

            log = TaskLog()

            def listen(event):
                global waits
                log(event)
                with both:
                    waits |= event.state == "waiting" and bool(event.message)
                    both.notify_all()
                if event.ended:
                    ended[event.stage] = event

            plans = [
                StagePlan(name=name, work=work, device="gpu" if name.startswith("gpu") else "cpu") for name in names
            ]
            run_as_tasks(stages_of(plans, listen), cancel=lambda: None, ended=ended)
            print(most, limit(), sep="|")

        gpu_concurrency.cards = lambda: ()
        run("gpu a", "gpu b")
        gpu_concurrency.cards = lambda: (Card(uuid="GPU-1", name="A card", driver="1"),)
        run("cell cpu", "export gpu")
        run("gpu a", "gpu b")
        """)
    stdout, stderr = process.communicate()
    assert stdout.split() == ["2|None", "2|None", "1|(1,", "0)"], stderr
    # Logs travel to the server every two seconds.
    waits = until(
        lambda: [
            log["message"] for run in site.runs("slots") for log in warnings(site, run) if "waits" in log["message"]
        ]
    )
    assert len(waits) == 1
    assert "paritygate-gpu" in waits[0]
