"""Cells that share one Chromium: what breaks in one costs no other cell its verdict."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from processes import below
from tfjs_graphs import dense

from exporters.contract import Artifact, TensorSpec
from exporters.errors import Broken
from exporters.jobs import Outcome, Workers
from flows.config.sections import JobLimits
from flows.config.settings import Settings
from flows.pipeline.cells import Cells
from validators.cells.job import NO_DEVICE
from validators.contract import Cell
from validators.hardware.graphics_cards import Card
from validators.preloads import preloaded_modules
from validators.release.evidence import reference_folder, write_evidence
from validators.runtimes.registry import runtime
from validators.samples import check_samples, generate, plan
from validators.samples.tensor_files import write_tensors
from validators.web.browser import BrowserHost
from validators.web.devtools import open_page
from validators.web.gpu_adapters import NO_GPU

COMPUTED = "Object.keys(tf.backend().binaryCache ?? tf.backend().pipelineCache ?? {}).length > 0"


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A release with one TF.js artifact and enough samples to be at work for some seconds; and that artifact."""
    folder = tmp_path_factory.mktemp("release")
    (folder / "artifacts" / "tfjs").mkdir(parents=True)
    path, signature, expected = dense(folder / "artifacts" / "tfjs" / "default")
    specs = (TensorSpec(name="x", dtype="float32", shape=(None, 3), native="x:0"),)
    user = check_samples({"x": np.random.default_rng(1).normal(size=(3200, 3)).astype(np.float32)}, specs)
    sets = plan(specs, user=user)
    samples = {each.name: generate(each, specs, user=user) for each in sets}
    write_evidence(folder, signature=signature, sets=sets, samples=samples)
    for name, tensors in samples.items():
        write_tensors(reference_folder(folder, name), {"y": expected(tensors["x"])})
    return folder, Artifact(
        format="tfjs", variant="default", path=str(path.relative_to(folder)), status="exported", signature=signature
    )


def cells(folder, workers, browser):
    settings = Settings(model=Path("model.keras"), limits=JobLimits(seconds=120))
    return Cells(workers, browser, folder, policy=settings.record)


@pytest.fixture
def browser():
    with BrowserHost() as started:
        yield started


@pytest.fixture
def started(tmp_path, release, browser):
    """Starts one cell for each runtime; gives futures."""
    folder, artifact = release
    with Workers(tmp_path, tmp_path, fork_servers=preloaded_modules()) as workers, ThreadPoolExecutor(3) as pool:
        shared = cells(folder, workers, browser)
        yield lambda *names: [
            pool.submit(shared.run, artifact, runtime(f"tfjs-{name}", device)) for name, device in names
        ]


class Onlooker:
    """Looks into the tabs of a browser from outside."""

    def __init__(self, page):
        self._page = page

    def _targets(self):
        self._page._session = {}
        return [
            t["targetId"] for t in self._page._command("Target.getTargets")["targetInfos"] if "page.html" in t["url"]
        ]

    def _computes(self, target):
        self._page._session = {}
        session = self._page._command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._page._session = {"sessionId": session}
        return bool(self._page.evaluate(f"globalThis.tf?.getBackend()?.startsWith('webg') && {COMPUTED}"))

    def wait_for(self, tabs):
        """Returns when so many tabs have begun to compute on the GPU."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if sum(map(self._computes, self._targets())) >= tabs:
                    return
            except Broken:  # a tab that went away meanwhile
                continue
            time.sleep(0.05)
        pytest.fail(f"{tabs} tabs never computed at the same time")


@pytest.mark.slow
def test_cells_whose_browser_is_killed_by_another_end_well(started, browser):
    running = started(("webgl", "gpu"), ("webgpu", "gpu"))
    with open_page(browser.endpoint()) as page:
        Onlooker(page).wait_for(2)
        below(browser.pid, "--headless")[0].kill()
    for cell in [future.result() for future in running]:
        assert (cell.status, cell.message) == ("passed", "")
        assert cell.placement.device == "gpu"


@pytest.mark.slow
def test_cells_whose_gpu_process_is_killed_by_another_end_well_and_the_processor_cells_notice_nothing(started, browser):
    endpoint = browser.endpoint()
    running = started(("webgl", "gpu"), ("webgpu", "gpu"), ("cpu", "cpu"))
    with open_page(endpoint) as page:
        Onlooker(page).wait_for(2)
        below(browser.pid, "--type=gpu-process")[0].kill()
    for cell in [future.result() for future in running]:
        assert (cell.status, cell.message) == ("passed", "")
    assert browser.endpoint() == endpoint


class Scripted:
    """In the place of `Workers`: every job ends as the script says; keeps the addresses that jobs were given."""

    def __init__(self, *outcomes):
        self._outcomes = list(outcomes)
        self.endpoints = []
        self.retries = []

    def record_retry(self, attempt):
        self.retries.append((attempt.job, attempt.status))

    def run(self, job):
        assert job.retries == 0  # a further attempt has a browser of its own
        self.endpoints.append(job.request.options["endpoint"])
        return Outcome(**self._outcomes.pop(0), log=Path("log"))


class FakeBrowser:
    """A browser that only has an address."""

    pid = None

    def __init__(self, name="shared"):
        self.name, self.closed = name, threading.Event()

    def endpoint(self):
        return self.name

    def another(self):
        self.own = FakeBrowser("own")
        return self.own

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed.set()


GONE = {"status": "python error", "message": "BrowserGone: Chromium went away during Runtime.evaluate"}
FULL = {"status": "out of memory", "message": "held 13.0 GiB"}
NO_ADAPTER = Cell(
    format="tfjs",
    variant="default",
    runtime="tfjs-webgpu",
    device="gpu",
    status="unavailable",
    reason=NO_DEVICE,
    message=f"{NO_GPU}: no WebGPU adapter: requestAdapter gave null",
)
ABSENT = {"status": "ok", "value": NO_ADAPTER}
PASSED = {"status": "ok", "value": replace(NO_ADAPTER, status="passed", reason="", message="")}
SOFTWARE = {"status": "ok", "value": replace(NO_ADAPTER, message="policy.gpu asks for a real card")}
WRONG = {"status": "python error", "message": "Broken: the tab crashed"}


@pytest.mark.parametrize("lost", [GONE, FULL])
def test_a_cell_that_breaks_a_browser_of_its_own_is_charged_and_not_run_a_third_time(release, lost):
    folder, artifact = release
    workers, browser = Scripted(lost, lost), FakeBrowser()
    cell = cells(folder, workers, browser).run(artifact, runtime("tfjs-webgpu", "gpu"))
    assert workers.endpoints == ["shared", "own"]
    assert workers.retries == [("cell-tfjs-default-tfjs-webgpu-gpu", lost["status"])]
    assert (cell.status, cell.reason) == ("errored", lost["status"])
    assert lost["message"] in cell.message
    assert browser.own.closed.is_set()


@pytest.mark.parametrize(("again", "status"), [(PASSED, "passed"), (ABSENT, "unavailable")])
def test_a_page_that_was_given_no_gpu_asks_once_more_in_a_browser_of_its_own(release, again, status):
    folder, artifact = release
    workers = Scripted(ABSENT, again)
    cell = cells(folder, workers, FakeBrowser()).run(artifact, runtime("tfjs-webgpu", "gpu"))
    assert workers.endpoints == ["shared", "own"]
    assert cell.status == status


def test_a_cell_for_which_the_policy_wants_another_card_is_not_run_again(release):
    folder, artifact = release
    workers = Scripted(SOFTWARE)
    cell = cells(folder, workers, FakeBrowser()).run(artifact, runtime("tfjs-webgpu", "gpu"))
    assert (workers.endpoints, cell.status) == (["shared"], "unavailable")


ONE, TWO = (Card(uuid=f"GPU-{letter}", name="NVIDIA H200", driver="") for letter in "ab")


@pytest.mark.parametrize(
    ("name", "locked", "told"),
    [
        ("tfjs-webgpu", [ONE, TWO], {}),
        ("litert-webgpu", [ONE, TWO], {}),
        ("keras", [TWO], {"CUDA_VISIBLE_DEVICES": TWO.uuid}),
    ],
)
def test_cuda_locks_the_card_it_is_given_and_all_others_lock_every_card_in_one_order(
    release, monkeypatch, name, locked, told
):
    seen = []

    @contextmanager
    def lock(card, **_):
        seen.append(card)
        yield

    monkeypatch.setattr("flows.pipeline.cells.card_lock", lock)
    monkeypatch.setattr("flows.pipeline.cells.cards", lambda: (TWO,))
    monkeypatch.setattr("flows.pipeline.cells.installed_cards", lambda: (TWO, ONE))
    folder, _ = release
    with cells(folder, Scripted(), FakeBrowser())._card(runtime(name, "gpu")) as environment:
        assert (seen, environment) == (locked, told)
    seen.clear()
    with cells(folder, Scripted(), FakeBrowser())._card(runtime("tfjs-wasm", "cpu")) as environment:
        assert (seen, environment) == ([], {})


def test_a_cell_that_broke_by_itself_is_not_run_again(release):
    folder, artifact = release
    workers = Scripted(WRONG)
    cell = cells(folder, workers, FakeBrowser()).run(artifact, runtime("tfjs-webgpu", "gpu"))
    assert workers.endpoints == ["shared"]
    assert "the tab crashed" in cell.message
