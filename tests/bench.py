"""One bench for all slow tests: TensorFlow is imported once, one Chromium serves all cells, every model is exported and
run once, however many tests look at what came of it.
"""

import itertools
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import factory

from exporters.contract import Artifact, Signature
from exporters.formats.job import Exported, ExportRequest, export
from exporters.formats.registry import FORMATS, ExporterRow, rows_of
from exporters.jobs import Answer, Job, Outcome, Request, Workers
from exporters.jobs.messages import resolve
from exporters.lowering.tracing.job import Lowered, LoweredForm, LowerRequest, lower
from exporters.source.model_source import ModelSource
from flows.config.sections import JobLimits
from flows.config.settings import Settings, load_settings
from flows.pipeline.cells import Cells
from flows.pipeline.exports import Exports
from flows.pipeline.workspace import Workspace
from tests.exporters.unmended import ExportWithout, LowerWithout, export_without, lower_without
from validators.contract import Cell, ComparisonBasis, SampleSet, Verdict
from validators.gate.verdict import judge
from validators.preloads import TENSORFLOW, preloaded_modules
from validators.runtimes.registry import RUNTIMES, default_requirements, planned
from validators.runtimes.row import RuntimeRow
from validators.samples import static_shapes
from validators.web.browser import BrowserHost

ON_GPUS = {
    *("single_input", "dict_inputs", "dict_outputs", "dynamic_sequence", "recurrent", "grouped_convolution"),
    *("tests.contract.more_models:twins", "tests.contract.more_models:double"),
}
"""Models that run on software GPUs too, unless a test asks for something else: their cells take half of the time. Each
has operators, types or shapes that no other one has."""

ON_REQUEST = tuple(row.requirement for row in RUNTIMES if row.on_request)
"""The runtimes that a release runs only where it is asked to; the same models run on them."""

Rows = Callable[[RuntimeRow], bool]
"""Which of the runtimes that a release would run a proof runs."""


def every(_: RuntimeRow) -> bool:
    return True


def required(row: RuntimeRow) -> bool:
    """What the default policy demands: a test of how a model is read asks no more."""
    return row.required


def of_kernels_of_its_own(row: RuntimeRow) -> bool:
    """All but what runs a native runtime's own kernels again, compiled for browsers: half of what runs there."""
    return row.name not in {"ort-web-wasm", "litertjs-wasm"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What came of one model.

    Attributes:
        model: the `.keras` file.
        release: folder with `artifacts/` and `evidence/`.
        forms: the lowered forms.
        signature, sets: of the reference.
        weights: folder with the original's weights.
        artifacts: by `format/variant`.
        cells: by `Cell.key`.
    """

    model: Path
    release: Path
    forms: Mapping[str, LoweredForm]
    signature: Signature
    sets: tuple[SampleSet, ...]
    weights: Path
    artifacts: Mapping[str, Artifact]
    cells: Mapping[str, Cell]

    def verdict(self, *instead: Cell, digest_problems: Sequence[str] = ()) -> Verdict:
        """What the gate says under the default policy, with these cells in the place of the good ones."""
        base = factory.manifest()
        manifest = replace(
            base,
            model=replace(base.model, signature=self.signature),
            policy=replace(base.policy, required=default_requirements(FORMATS)),
            samples=tuple(self.sets),
            grounds=ComparisonBasis(),
            artifacts=tuple(self.artifacts.values()),
            cells=tuple({**self.cells, **{cell.key: cell for cell in instead}}.values()),
        )
        return judge(manifest, problems=digest_problems, today=date.max)


class Lane:
    """`Workers.run` under names of its own, so that several models share one pool of processes."""

    def __init__(self, workers: Workers, name: str) -> None:
        self._workers = workers
        self._name = name

    def run(self, job: Job[Request, Answer]) -> Outcome[Answer]:
        return self._workers.run(replace(job, name=f"{self._name}-{job.name}"))


class Bench:
    """Runs jobs, exports and cells for tests.

    Args:
        folder: everything is written below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        jobs = folder / "jobs"
        jobs.mkdir()
        self.workers = Workers(jobs, jobs, fork_servers=preloaded_modules())
        self.browser = BrowserHost()
        self._pool = ThreadPoolExecutor(3, thread_name_prefix="bench")
        self._proofs: dict[str, Future[Proof]] = {}
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def close(self) -> None:
        self.workers.close()
        self.browser.close()
        self._pool.shutdown(cancel_futures=True)

    def outcome(
        self, function: str | Callable[[Any], Any], request: Any, *, fork_server: str | None = TENSORFLOW
    ) -> Outcome[Any]:
        """Runs one function as a job, however it ends; `MODULE:NAME` for one of a test's own modules."""
        called = resolve(function) if isinstance(function, str) else function
        name = f"{called.__name__}-{next(self._numbers)}"
        return self.workers.run(Job(name=name, function=called, request=request, fork_server=fork_server))

    def call(self, function: str | Callable[[Any], Any], request: Any, *, fork_server: str | None = TENSORFLOW) -> Any:
        """Runs one function as a job that must succeed."""
        return self.outcome(function, request, fork_server=fork_server).unwrap()

    def lower(
        self, source: ModelSource, folder: Path, forms: Sequence[str], *, without: str | None = None
    ) -> Outcome[Lowered]:
        """Lowers a model, with one of our rewrites left out if wanted."""
        request = LowerRequest(model=source, destination=folder, forms=tuple(forms))
        if without is None:
            return self.outcome(lower, request)
        return self.outcome(lower_without, LowerWithout(request=request, without=without))

    def export(
        self,
        row: ExporterRow,
        source: ModelSource,
        form: LoweredForm | None,
        folder: Path,
        *,
        without: str | None = None,
    ) -> Outcome[Exported]:
        """Exports one row, with one of our rewrites left out if wanted."""
        graph = form.folder if form and row.source != "model" else None
        request = ExportRequest(
            artifact=row.key, model=source, graph=graph, destination=folder, options=dict(row.options)
        )
        if without is None:
            return self.outcome(export, request)
        return self.outcome(export_without, ExportWithout(request=request, without=without))

    def build(self, model: str, *, seed: int = 7) -> Path:
        """Builds a model of `tests/models.py`, or of another table: `MODULE:NAME`."""
        table, _, name = model.rpartition(":")
        folder = self.folder / "models" / table / f"{name}-{seed}"  # models of two tables may have one name
        folder.mkdir(parents=True, exist_ok=True)
        request = {"name": name, "folder": str(folder), "seed": seed}
        return Path(self.call(f"{table or 'tests.models'}:build", request))

    def prove(self, models: Sequence[str], settings: Mapping[str, Any] | None = None, *, rows: Rows = every) -> None:
        """Begins the work on several models, which then runs side by side.

        Args:
            models: as `build` takes them.
            settings: of the release, where they are not the default ones; without GPUs for most models (`ON_GPUS`).
            rows: the runtimes.
        """
        with self._lock:
            for model in models:
                if model not in self._proofs:
                    own = settings or ({} if model in ON_GPUS else {"policy": {"gpu": "off"}})
                    self._proofs[model] = self._pool.submit(self._prove, model, own, rows)

    def proof(self, model: str, settings: Mapping[str, Any] | None = None, *, rows: Rows = every) -> Proof:
        """What came of a model; the work is done once, as it was asked for first."""
        self.prove([model], settings, rows=rows)
        return self._proofs[model].result()

    def cell(self, release: Path, artifact: Artifact, row: RuntimeRow, *, lane: str = "") -> Cell:
        """Runs one cell of an artifact in a release, from any thread."""
        jobs = Lane(self.workers, lane or f"cell{next(self._numbers)}")
        patient = JobLimits(seconds=300, sample_seconds=240, software_seconds=120)  # a busy machine skips no sample
        settings = Settings(model=release / "model.keras", limits=patient)
        cells = Cells(jobs, self.browser, release, policy=settings.record)
        return cells.run(artifact, row)

    def _prove(self, name: str, given: Mapping[str, Any], rows: Rows) -> Proof:
        model = self.build(name)
        lane = re.sub(r"\W+", "-", name)
        own = {"model": str(model), "output": str(self.folder / f"{lane}.release")}
        settings = load_settings(None, {**own, **given})
        workspace = Workspace(settings.release_dir)
        exports = Exports(settings, Lane(self.workers, lane), workspace)
        admitted = exports.admit()
        exports.finished.begin("")  # nothing goes on from here, and its logs do not lie in the workspace
        lowered = exports.lower(admitted)
        reference = exports.refer(admitted)
        exports.measure(admitted).unwrap()
        signature, sets = reference.signature, reference.sets
        shapes = static_shapes(signature.inputs, sets)
        artifacts = {
            row.key: exports.export(row, model=admitted, lowered=lowered, shapes=shapes)
            for row in rows_of(FORMATS, signature.inputs)
        }
        cells = [
            self.cell(workspace.release, artifact, row, lane=lane)
            for artifact in artifacts.values()
            for row in planned((artifact.format,), gpu=settings.policy.gpu, asked=ON_REQUEST if name in ON_GPUS else ())
            if rows(row)
        ]
        return Proof(
            model=model,
            release=workspace.release,
            forms=lowered.value.forms if lowered.value else {},
            signature=signature,
            sets=sets,
            weights=workspace.scratch / "weights",
            artifacts=artifacts,
            cells={cell.key: cell for cell in cells},
        )
