"""A stage that a killed run had finished is taken over when nothing it depends on has changed, and only then."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from exporters.contract import Artifact, Signature
from exporters.files.hashing import sha256_file
from exporters.formats.registry import rows_of
from exporters.jobs import Outcome
from exporters.source.admission import examine
from exporters.source.model_source import ModelSource
from flows.config.input_files import settings_digest
from flows.config.settings import Settings
from flows.pipeline.exports import AdmittedModel, Exports
from flows.pipeline.resume import FinishedStages, run_digest
from flows.pipeline.run import ReleaseRun
from flows.pipeline.verdict import _trusted
from flows.pipeline.workspace import Workspace
from flows.prefect.bundle import pack, unpack
from validators.contract import Cell, ComparisonBasis, SampleSet
from validators.reference.job import Reference
from validators.reference.noise_floor import MeasuredNoise
from validators.release.evidence import write_evidence, write_noise
from validators.release.manifest import load
from validators.runtimes.registry import runtime

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.keras"


@pytest.fixture
def killed(tmp_path):
    """Leaves what a killed run leaves: one finished stage with a folder and a file. Gives its staging folder."""
    workspace = Workspace(tmp_path / "m.release")
    finished = FinishedStages(workspace)
    finished.begin("mark")
    folder = workspace.release / "artifacts" / "onnx"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"model")
    log = workspace.logs / "export.log"
    log.write_text("said")
    finished.keep("export onnx", dict, "source", value={"size": 5}, made={folder: "", log: ""})
    workspace._lock.release()  # as its process's end does
    return workspace.staging


@pytest.fixture
def again(tmp_path):
    """The next run on the same target; gives its workspace and its stages."""
    opened = []

    def begin(mark="mark"):
        workspace = Workspace(tmp_path / "m.release")
        opened.append(workspace)
        finished = FinishedStages(workspace)
        finished.begin(mark)
        return workspace, finished

    yield begin
    opened[-1].remove()
    assert list(tmp_path.iterdir()) == []


def test_a_finished_stage_is_found_with_its_files_and_kept_for_the_run_after(killed, again):
    workspace, finished = again()
    assert finished.find("export onnx", dict, "source") == {"size": 5}
    assert (workspace.release / "artifacts" / "onnx" / "model.onnx").read_bytes() == b"model"
    assert (workspace.logs / "export.log").read_text() == "said"
    assert finished.found == ["export onnx"]
    assert finished.digest("export onnx")
    workspace._lock.release()  # killed too
    _, third = again()
    assert third.find("export onnx", dict, "source") == {"size": 5}


@pytest.mark.parametrize(
    ("mark", "stage", "inputs"),
    [
        ("other", "export onnx", ("source",)),
        ("mark", "export onnx", ("another source",)),
        ("mark", "export onnx", ("source", "more")),
        ("mark", "export-onnx", ("source",)),  # of the same file name
        ("mark", "export tflite", ("source",)),
        (None, "export onnx", ("source",)),
        ("mark", "export onnx", (None,)),
    ],
)
def test_another_run_stage_or_input_finds_nothing(killed, again, mark, stage, inputs):
    _, finished = again(mark)
    assert finished.find(stage, dict, *inputs) is None
    assert finished.found == []


def _other_bytes(left):
    (left / "release/artifacts/onnx/model.onnx").write_bytes(b"Model")


def _more_files(left):
    (left / "release/artifacts/onnx/more").touch()


def _no_file(left):
    (left / "release/evidence/logs/export.log").unlink()


def _a_link(left):
    file = left / "release/artifacts/onnx/model.onnx"
    file.rename(left / "elsewhere")
    file.symlink_to(left / "elsewhere")


def _half_a_record(left):
    (record,) = (left / "stages").iterdir()
    record.write_bytes(record.read_bytes()[:40])


def _another_shape(left):
    (record,) = (left / "stages").iterdir()
    record.write_text('["key", "value", "trees"]')


def _out_of_the_folder(left):
    (record,) = (left / "stages").iterdir()
    written = json.loads(record.read_text())
    (left.parent / "outside").write_text("said")
    written["trees"]["../outside"] = written["trees"].pop("release/evidence/logs/export.log")
    record.write_text(json.dumps(written))


@pytest.mark.parametrize(
    "spoil", [_other_bytes, _more_files, _no_file, _a_link, _half_a_record, _another_shape, _out_of_the_folder]
)
def test_what_is_not_whole_is_done_again(killed, again, tmp_path, spoil):
    spoil(killed)
    workspace, finished = again()
    assert finished.find("export onnx", dict, "source") is None
    assert not (workspace.release / "artifacts").exists()
    (tmp_path / "outside").unlink(missing_ok=True)


def test_a_mark_changes_with_the_model_the_samples_and_the_terms_and_there_is_none_for_code_of_the_users(tmp_path):
    settings = Settings(model=DIGITS, formats=("onnx",))
    mark = run_digest(settings, model="m", samples=None)
    assert mark
    assert mark == run_digest(settings.model_copy(update={"output": tmp_path}), model="m", samples=None)
    others = [
        run_digest(settings, model="other", samples=None),
        run_digest(settings, model="m", samples=DIGITS.with_name("samples.npz")),
        run_digest(Settings(model=DIGITS, formats=("onnx",), policy={"atol": 1e-3}), model="m", samples=None),
    ]
    assert len({mark, *others}) == 4
    code = tmp_path / "mine.py"
    code.write_text("x = 1")
    metric = {"samples": {"metric": f"{code}:score"}}
    code_of = ({"custom_objects": (str(code),)}, {"architecture": f"{code}:build"}, {"custom_objects": ("package",)})
    for own in (*code_of, metric):
        assert run_digest(Settings(model=DIGITS, **own), model="m", samples=None) is None


def test_a_mark_changes_with_a_version_and_with_the_processor(monkeypatch):
    settings = Settings(model=DIGITS, formats=("onnx",))
    mark = run_digest(settings, model="m", samples=None)
    monkeypatch.setattr("flows.pipeline.resume.toolchain", lambda _, **__: {"onnxruntime": "0.0"})
    other = run_digest(settings, model="m", samples=None)
    monkeypatch.setattr("flows.pipeline.resume.processor", lambda: "another")
    assert len({mark, other, run_digest(settings, model="m", samples=None)}) == 3


def test_a_mark_changes_with_what_the_libraries_read_in_the_environment_and_in_keras_json(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def mark():
        return run_digest(Settings(model=DIGITS, formats=("onnx",)), model="m", samples=None)

    def keras(**said):
        (tmp_path / "keras.json").write_text(json.dumps(said))

    first = mark()
    keras(floatx="float32", epsilon=1e-7, backend="tensorflow", image_data_format="channels_last")  # Keras wrote it
    monkeypatch.setenv("KERAS_BACKEND", "jax")  # a job gets another one
    monkeypatch.setenv("EDITOR", "ed")
    assert mark() == first
    marks = {first}
    for said in ({"floatx": "float16"}, {"epsilon": 1e-3}, {"image_data_format": "channels_first"}):
        keras(**said)
        marks.add(mark())
    (tmp_path / "keras.json").write_text("no JSON")
    marks.add(mark())
    (tmp_path / "keras.json").unlink()
    for name in ("XLA_FLAGS", "TF_ENABLE_ONEDNN_OPTS", "OMP_NUM_THREADS", "NVIDIA_TF32_OVERRIDE"):
        monkeypatch.setenv(name, "1")
        marks.add(mark())
    assert len(marks) == 9


def test_a_metric_of_the_users_is_asked_anew_when_its_file_changes_and_travels_with_the_samples(tmp_path):
    code = tmp_path / "far" / "mine.py"
    code.parent.mkdir()

    def mark(metric):
        return settings_digest(Settings(model=DIGITS, samples={"metric": metric}), model="m", samples=None)

    code.write_text("def score(labels, outputs): return 1")
    first = mark(f"{code}:score")
    moved = code.rename(tmp_path / "mine.py")
    assert mark(f"{moved}:score") == first
    assert mark(f"{moved}:other") != first
    moved.write_text("def score(labels, outputs): return 0")
    assert mark(f"{moved}:score") != first
    assert mark("package.module:score") == ""

    settings = Settings(model=DIGITS, samples={"metric": f"{moved}:score"})
    sent, url = pack(settings, str(tmp_path / "inbox"))
    assert sent.samples.metric == "metric/mine.py:score"
    assert _trusted(settings) == (f"metric: mine.py:score (SHA-256 {sha256_file(moved)})",)
    (tmp_path / "fetched").mkdir()
    assert unpack(sent, url, tmp_path / "fetched").samples.metric == f"{tmp_path / 'fetched' / 'metric/mine.py'}:score"
    assert (tmp_path / "fetched/metric/mine.py").read_bytes() == moved.read_bytes()


SET = SampleSet(name="seeded", rows=1, batch=1, origin="seeded", seed=1)


class Jobs:
    """Workers and cells that answer at once and count what they are asked; `noise` is how its job ends."""

    def __init__(self, workspace, noise):
        self.asked, self._workspace, self._noise = [], workspace, noise

    def run(self, job, runtime=None, **_more):
        release, name = self._workspace.release, "cell" if runtime else job.name
        self.asked.append(name)
        (release / "evidence" / "logs" / f"{name}.log").write_text("said")
        if name == "cell":
            place = {"format": job.format, "variant": job.variant, "runtime": runtime.name, "device": runtime.device}
            return Cell(**place, status="passed", log="evidence/logs/cell.log")
        if name == "reference":
            write_evidence(release, signature=Signature(inputs=(), outputs=()), sets=(SET,), samples={SET.name: {}})
            value = Reference(sets=(), signature=Signature(inputs=(), outputs=()), grounds=ComparisonBasis(), code=())
            return Outcome(status="ok", value=value, log=release / "evidence/logs/reference.log")
        if self._noise == "ok":
            write_noise(release, {})
        return Outcome(status=self._noise, value=MeasuredNoise(by_set={}), log=release / "evidence/logs/noise.log")


def reference_noise_and_cell(target, *, noise):
    """Runs these three stages as a run does, and is killed; gives the jobs that it needed."""
    run = ReleaseRun(Settings(model=DIGITS, formats=("onnx",), output=target), lambda _: None)
    run._workspace = workspace = Workspace(target)
    run._validate = jobs = Jobs(workspace, noise)
    run._export = Exports(run.settings, jobs, workspace)
    run._export.finished.begin("mark")
    (row,) = rows_of(("onnx",))
    facts = examine(DIGITS)
    run._done.admission = AdmittedModel(facts=facts, source=ModelSource(path=DIGITS), samples=None)
    run._done.artifacts[row.key] = Artifact(format=row.format, variant=row.variant, status="exported", digest="d")
    run._refer()
    run._measure()
    run._run_cell(row, runtime("onnxruntime", "cpu"))
    workspace._lock.release()
    return jobs.asked


def test_a_cell_is_taken_over_with_the_rounding_that_its_tolerances_came_of_and_not_without(tmp_path):
    target = tmp_path / "m.release"
    assert reference_noise_and_cell(target, noise="timeout") == ["reference", "noise", "cell"]
    assert reference_noise_and_cell(target, noise="ok") == ["noise", "cell"]  # no longer under the default
    assert reference_noise_and_cell(target, noise="timeout") == []


@pytest.mark.slow
def test_a_release_that_was_killed_goes_on_where_it_was(tmp_path):
    """Killed with SIGKILL after its first exports; the second run does the rest alone, and what was lost again."""
    out = tmp_path / "d.release"
    command = [sys.executable, "-m", "flows.cli", "release", str(DIGITS), "-o", str(out), "--no-prefect"]
    command += ["--gpu", "off", "--formats", "onnx", "tflite"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as first:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob(".d.release.partial-*/stages/export-tflite-batch1.json")):
            assert time.monotonic() < deadline
            assert first.poll() is None
            time.sleep(0.02)
        os.kill(first.pid, signal.SIGKILL)
    (left,) = tmp_path.glob(".d.release.partial-*")
    finished = {path.stem for path in (left / "stages").glob("*.json")}
    assert {"lowering", "reference", "export-tflite-batch1"} <= finished
    shutil.rmtree(left / "release" / "artifacts" / "tflite" / "batch1")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = load(out)
    assert {"lowering", "reference"} <= set(manifest.resumed)
    assert "export tflite/batch1" not in manifest.resumed
    assert len(manifest.resumed) >= len(finished) - 2  # the export that was lost, and at most the cells of it
    assert (out / "evidence" / "logs" / "reference.log").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["d.release"]
    verified = [sys.executable, "-m", "flows.cli", "verify", str(out), "--runtimes", "onnxruntime"]
    assert subprocess.run(verified, cwd=ROOT, capture_output=True, check=False).returncode == 0
