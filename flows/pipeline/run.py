"""Runs one release from its settings to its directory: plans the stages and passes their results on.

In: `Settings`. Out: a release directory under its final name, or nothing at all. Leaving the context kills every child
and removes what is unfinished.
"""

import contextlib
import shutil
import tempfile
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self

from pydantic import TypeAdapter

from exporters.errors import Broken
from exporters.formats.registry import ExporterRow, rows_of
from exporters.jobs import ForkServers, Workers
from exporters.source.model_source import ModelSource
from flows.config.input_files import settings_digest
from flows.config.settings import Settings
from flows.pipeline.baseline import load_baseline
from flows.pipeline.cells import Cells, outcome_of
from flows.pipeline.exports import Exports, original
from flows.pipeline.preconditions import refuse_absent, refuse_unrunnable
from flows.pipeline.stage_results import StageResults
from flows.pipeline.stages import Engine, StagePlan, stages_of
from flows.pipeline.verdict import ReleaseResults, judge_and_write
from flows.pipeline.workspace import Workspace, refuse_target
from flows.progress.events import Event, Listener, StageOutcome, StageWork, perform, report_output
from flows.review.gate import GateReport
from validators.contract import Cell
from validators.preloads import LIGHT, TENSORFLOW, preloaded_modules
from validators.release.evidence import unmeasured, without_floor, write_noise
from validators.release.integrity import manifest_digest
from validators.release.manifest import Manifest
from validators.report.view.matrix import headline
from validators.runtimes.availability import missing
from validators.runtimes.registry import ORIGINAL
from validators.runtimes.row import RuntimeRow
from validators.samples import check_samples, read_samples, static_shapes
from validators.text import counted
from validators.web.browser import BrowserHost


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedResources:
    """Holds the processes that several releases share, so that each need not start its own; their creator closes them.

    Attributes:
        fork_servers: the processes that jobs fork from.
        browser: the Chromium of all cells.
        cores: how many jobs each release runs at once; None for as many as `Workers` sees fit.
        memory: bytes that the jobs of each release may use together; None for what `Workers` sees fit.
    """

    fork_servers: ForkServers
    browser: BrowserHost
    cores: int | None = None
    memory: int | None = None


class ReleaseRun:
    """Owns one release while its stages run.

    Attributes:
        settings: the release's settings.
        manifest: the result; None until the verdict.
        digest: SHA-256 of `release.json`; empty until the verdict.
        ended: the last event of each ended stage, by its name.
        judged: the gate's report after a work pool ran its cells; None where the policy names no pool.

    Args:
        settings: the release's settings.
        listen: called when a stage starts and ends, from any thread.
        shared: processes that it shares with other releases; None to start its own.

    Raises:
        BadInput: a file is not there, the target directory is not ours, or the policy demands what this machine cannot
            run.
    """

    def __init__(self, settings: Settings, listen: Listener, *, shared: SharedResources | None = None) -> None:
        refuse_absent(settings)
        refuse_target(settings.release_dir.absolute())
        refuse_unrunnable(settings)
        self.settings = settings
        self.manifest: Manifest | None = None
        self.digest = ""
        self.ended: dict[str, Event] = {}
        self.judged: GateReport | None = None
        self._listen = listen
        self._shared = shared
        self._exporters = rows_of(settings.formats)
        self._runtimes = settings.runtimes
        self._done = StageResults()

    def __enter__(self) -> Self:
        self._workspace = Workspace(self.settings.release_dir.absolute())
        shared = self._shared
        self._workers = Workers(
            self._workspace.scratch,
            self._workspace.logs,
            fork_servers=shared.fork_servers if shared else preloaded_modules(),
            cores=shared.cores if shared else None,
            memory=shared.memory if shared else None,
            on_line=report_output,
        )
        self._browser = shared.browser if shared else BrowserHost()
        self._export = Exports(self.settings, self._workers, self._workspace)
        self._validate = Cells(
            self._workers,
            self._browser,
            self._workspace.release,
            policy=self.settings.record,
            metric=self.settings.samples.metric,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.cancel()
        if isinstance(error, Broken):
            self._keep_logs(error)
        self._workspace.remove()

    def _keep_logs(self, error: Broken) -> None:
        """Copies the logs out of the staging folder when the error tells the user to read one."""
        logs = str(self._workspace.logs)
        if logs in error.next_step:
            kept = tempfile.mkdtemp(prefix="paritygate-logs-")
            with contextlib.suppress(OSError):  # a full disk must not hide what broke
                shutil.copytree(logs, kept, dirs_exist_ok=True)
                if self._shared:
                    shutil.copytree(self._shared.fork_servers.logs, kept, dirs_exist_ok=True)
            error.next_step = error.next_step.replace(logs, kept)

    def warm_up(self) -> None:
        """Starts what takes long (TensorFlow's import, Chromium), to overlap with the next work."""
        for host in (TENSORFLOW, LIGHT):
            self._workers.preload(host)
        if any(row.browser and not missing(row, gpu=self.settings.policy.gpu) for row in self._runtimes):
            self._browser.start()

    @property
    def cancelled(self) -> bool:
        """Tells whether the run is ending, so that waits for another run end too."""
        return self._workers.closing

    def cancel(self) -> None:
        """Ends every process of the run; stages whose jobs still ran end as cancelled."""
        self._workers.close()
        if self._shared is None:
            self._browser.close()

    def carry_out(self, engine: Engine) -> None:
        """Runs all stages: first those that find the model's inputs, since the list of artifacts depends on them.

        Raises:
            ParitygateError: what a stage raised.
        """
        begin = [
            StagePlan(name="admission", work=self._admit),
            StagePlan(name="lowering", needs=("admission",), work=self._lower),
            StagePlan(name="reference", needs=("admission",), work=self._refer),
        ]
        known = len(begin)
        engine(stages_of(begin, self._note, total=known + len(self._plan_rest())), cancel=self.cancel)
        # Nothing is exported before the reference holds: the samples may turn out not to fit the model.
        self._exporters = rows_of(self.settings.formats, self._done.referred().signature.inputs)
        rest = self._plan_rest()
        engine(stages_of(rest, self._note, total=known + len(rest)), cancel=self.cancel)

    def _plan_rest(self) -> list[StagePlan]:
        """Plans the exports, the cells and the verdict."""
        # What takes longest goes first: the exports that most browser cells wait for, and cells on a GPU.
        exporters = sorted(self._exporters, key=self._cells_to_come, reverse=True)
        runtimes = sorted(self._runtimes, key=lambda row: row.device, reverse=True)
        plans = [StagePlan(name=f"export {row.key}", work=partial(self._export_one, row)) for row in exporters]
        # Every cell's tolerance follows from the noise, and no export waits for it.
        plans.append(StagePlan(name="noise", work=self._measure))
        plans += [
            StagePlan(
                name=f"cell {row.key} {runtime.name} {runtime.device}",
                needs=(f"export {row.key}", "noise"),
                work=partial(self._run_cell, row, runtime),
                device=runtime.device,
            )
            for row in exporters
            for runtime in runtimes
            if self.settings.runs_here(row.key, runtime)
        ]
        plans += [
            StagePlan(
                name=f"cell {ORIGINAL}/default {runtime.name} {runtime.device}",
                needs=("noise",),
                work=partial(self._rerun, runtime),
                device=runtime.device,
            )
            for runtime in runtimes
            if runtime.format == ORIGINAL
        ]
        plans.append(StagePlan(name="verdict", needs=tuple(plan.name for plan in plans), work=self._judge))
        return plans

    def add_listener(self, listener: Listener) -> None:
        """Adds a listener for all events from now on."""
        first = self._listen

        def both(event: Event) -> None:
            first(event)
            listener(event)

        self._listen = both

    def follow(self, name: str, work: StageWork) -> str:
        """Does work after the stages and shows it like a stage; returns its line for a person."""
        events: list[Event] = []

        def listen(event: Event) -> None:
            events.append(event)
            self._listen(event)

        perform(name, work, total=len(self.ended) + 1, listen=listen)
        return events[-1].message

    def _cells_to_come(self, row: ExporterRow) -> int:
        """Counts the browser cells that wait for an export."""
        return sum(runtime.browser for runtime in self._runtimes if runtime.format == row.format)

    def _note(self, event: Event) -> None:
        if event.ended:
            self.ended[event.stage] = event
        self._listen(event)

    def _admit(self) -> StageOutcome:
        if self.settings.baseline:  # read first: a baseline that the gate does not pass is bad input too
            self._done.baseline = load_baseline(self.settings.baseline)
        with self._export.copies.naming_originals():
            admitted = self._export.admit()
            facts = admitted.facts
            if admitted.samples is not None:
                read = read_samples(admitted.samples)
                if facts.inputs is not None:  # the reference checks again, with what Keras says
                    check_samples(read, facts.inputs)
        self._done.admission = admitted
        layers = f"{facts.layer_count} layers, " if facts.layer_count else ""
        dropped = f"; {facts.optimizer_bytes:,} bytes of optimizer state left out" if facts.optimizer_bytes else ""
        return StageOutcome(True, f"{facts.name}: {layers}{facts.parameters:,} parameters{dropped}")

    def _lower(self) -> StageOutcome:
        with self._export.copies.naming_originals():
            outcome = self._export.lower(self._done.admitted())
        self._done.lowering = outcome
        if outcome.status == "ok":
            return StageOutcome(True, "weights as constants, calls inlined")
        return StageOutcome(False, f"{outcome.status}: {outcome.message}".partition("\n")[0])

    def _refer(self) -> StageOutcome:
        with self._export.copies.naming_originals():
            reference = self._export.refer(self._done.admitted())
        self.settings.policy.refuse_unknown_outputs([output.name for output in reference.signature.outputs])
        self._done.reference = reference
        rows = sum(sample_set.rows for sample_set in reference.sets)
        dropped = "; ".join(f"without {name}: {why}" for name, why in reference.grounds.dropped.items())
        message = f"{rows} samples through Keras, fp32 on CPU" + (f"; {dropped}" if dropped else "")
        return StageOutcome(True, message)

    def _measure(self) -> StageOutcome:
        """Measures the original's rounding; where its float64 model breaks, reports default tolerances instead."""
        reference = self._done.referred()
        outcome = self._export.measure(self._done.admitted())
        if outcome.status == "ok":
            noise = outcome.unwrap().by_set
        else:
            noise = unmeasured(f"{outcome.status}: {outcome.message}", reference.sets, reference.signature)
            write_noise(self._workspace.release, noise)
        self._done.noise = noise
        if lacking := without_floor(noise, reference.signature):
            names = ", ".join(f"`{name}`" for name in lacking)
            return StageOutcome(None, f"default tolerances for {names}: {next(iter(lacking.values()))}")
        floors = [each.floor for by_output in noise.values() for each in by_output.values() if each.floor is not None]
        return StageOutcome(True, f"rounding measured in float64: {max(floors, default=0.0):.1e} at most")

    def _export_one(self, row: ExporterRow) -> StageOutcome:
        done = self._done
        reference = done.referred()
        shapes = static_shapes(reference.signature.inputs, reference.sets)
        artifact = self._export.export(row, model=done.admitted(), lowered=done.lowered(), shapes=shapes)
        done.artifacts[row.key] = artifact
        if artifact.status != "exported":
            passed = None if artifact.status == "limited" else False
            return StageOutcome(passed, f"{artifact.status}: {artifact.reason}")
        return StageOutcome(True, f"{artifact.size / 1e6:.2f} MB")

    def _run_cell(self, row: ExporterRow, runtime: RuntimeRow) -> StageOutcome:
        artifact = self._done.artifacts[row.key]
        finished = self._export.finished
        stage = f"cell {artifact.key} {runtime.name} {runtime.device}"
        # Tolerances follow from the noise: without one that was kept, a later run might have others.
        inputs = (artifact.digest, *map(finished.digest, ("reference", "noise")))
        if (earlier := finished.find(stage, Cell, *inputs)) is not None:
            return self._keep_cell(earlier)
        cell = self._validate.run(artifact, runtime, task=self._done.referred().grounds.task)
        if cell.log and cell.status in {"passed", "failed", "limited"}:
            finished.keep(stage, Cell, *inputs, value=cell, made={self._workspace.release / cell.log: ""})
        return self._keep_cell(cell)

    def _rerun(self, runtime: RuntimeRow) -> StageOutcome:
        """Runs the original model itself on another device."""
        done = self._done
        model, reference = done.admitted(), done.referred()
        options = {"model": TypeAdapter(ModelSource).dump_json(model.source).decode()}
        artifact = original(model, reference.signature)
        return self._keep_cell(self._validate.run(artifact, runtime, task=reference.grounds.task, options=options))

    def _keep_cell(self, cell: Cell) -> StageOutcome:
        self._done.cells[cell.key] = cell
        return outcome_of(cell)

    def _judge(self) -> StageOutcome:
        self.cancel()  # before the files are hashed: no process may still write to a log
        done = self._done
        model, reference = done.admitted(), done.referred()
        results = ReleaseResults(
            asked=settings_digest(self.settings, model=model.facts.digest, samples=model.samples),
            facts=model.facts,
            signature=reference.signature,
            sets=reference.sets,
            grounds=done.grounds(),
            code=reference.code,
            artifacts=tuple(done.artifacts[row.key] for row in self._exporters),
            cells=tuple(done.cells[key] for key in sorted(done.cells)),
            seconds={name: event.seconds for name, event in self.ended.items()},
            retried=tuple(self._workers.retried),
            resumed=tuple(sorted(self._export.finished.found)),
            baseline=done.baseline,
        )
        manifest = judge_and_write(self._workspace.release, self.settings, results)
        self.digest = manifest_digest(self._workspace.release)
        self._workspace.publish()
        self.manifest = manifest
        verdict = manifest.verdict
        if verdict.passed:
            return StageOutcome(True, "released")
        if headline(verdict) == "AWAITING":
            return StageOutcome(None, ", ".join(dict.fromkeys(reason.code for reason in verdict.reasons)))
        word = "refused" if verdict.exit_code == 1 else "broken"
        return StageOutcome(False, f"{word}: {counted(len(verdict.reasons), 'reason')}")
