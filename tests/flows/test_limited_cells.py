"""What becomes of a cell whose job ran into a limit of its runtime, with jobs that end as the test says."""

from dataclasses import replace
from pathlib import Path

import pytest
import small_release

from exporters.jobs import Outcome
from exporters.target_limits import LIMITS
from flows.pipeline.cells import Cells
from validators.contract import ToleranceOverride
from validators.release.manifest import load
from validators.runtimes.registry import runtime

NO_KERNEL = "Fail: Could not find an implementation for Cast(13) node with name ''"


class Workers:
    """Every job ends with one outcome."""

    closing = False

    def __init__(self, **outcome):
        self._outcome = Outcome(**outcome, log=Path("log"))

    def run(self, job):
        self.asked = job.request
        return self._outcome


class Browser:
    pid = None

    def endpoint(self):
        return "ws://nowhere"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the small release's artifact in a runtime, with a job that ends as given."""
    monkeypatch.setattr("flows.pipeline.cells.missing", lambda _row, **_: "")
    release = small_release.make(tmp_path / "r")
    manifest = load(release)

    def once(name, **outcome):
        cells = Cells(Workers(**outcome), Browser(), release, policy=manifest.policy)
        return cells.run(manifest.artifacts[0], runtime(name, "cpu"))

    return once


def test_a_limit_is_a_finding_of_its_cell_with_the_way_out(run):
    cell = run("onnxruntime", status="limited", message="no loops", next_step="Unroll it.", limit="loop")
    assert (cell.status, cell.reason, cell.message) == ("limited", "loop", "no loops")
    (found,) = cell.findings
    assert (found.code, found.blocking, found.limit) == ("loop", True, "loop")
    assert (found.message, found.way_out) == ("no loops", "Unroll it.")


def test_a_runtimes_own_words_for_a_limit_bring_its_way_out(run):
    cell = run("ort-web-wasm", status="python error", message=NO_KERNEL)
    assert (cell.status, cell.reason) == ("limited", "ortweb-no-kernel")
    (row,) = [limit for limit in LIMITS if limit.id == "ortweb-no-kernel"]
    assert [found.way_out for found in cell.findings] == [row.way_out]


def test_the_same_words_from_another_runtime_are_an_error(run):
    cell = run("onnxruntime", status="python error", message=NO_KERNEL)
    assert (cell.status, cell.reason, cell.findings) == ("errored", "python error", ())


def test_a_cell_is_asked_under_the_tolerances_that_the_policy_sets_for_it(run, tmp_path):
    release = tmp_path / "r"
    manifest = load(release)
    entries = tuple(
        ToleranceOverride(cells=cells, atol=atol) for cells, atol in {"tfjs * *": 1.0, "onnx * cpu": 2.0}.items()
    )
    workers = Workers(status="crashed")
    cells = Cells(workers, Browser(), release, policy=replace(manifest.policy, tolerances=entries, rtol=0.5))
    cells.run(manifest.artifacts[0], runtime("onnxruntime", "cpu"))
    assert [(each.atol, each.rtol) for each in workers.asked.tolerances] == [(2.0, None), (None, 0.5)]
