"""One release from its settings to its directory: the stages, and what they hand to each other.

In: `Settings`. Out: a release directory under its final name, or nothing at all. Leaving the context kills every child
and removes what is unfinished.
"""

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import TypeAdapter

from exporters.contract import Artifact
from exporters.errors import BadInput, Broken
from exporters.formats.registry import ExporterRow, rows_of
from exporters.jobs import ForkServers, Outcome, Workers
from exporters.lowering.tracing.job import Lowered
from exporters.source.model_source import ModelSource
from exporters.source.readers.detection import exists
from exporters.source.readers.weights_with_architecture import builder_file
from flows.config.input_files import asked
from flows.config.settings import Settings
from flows.machine.identity import today
from flows.pipeline.baseline import blessed
from flows.pipeline.cells import Cells, outcome_of
from flows.pipeline.exports import AdmittedModel, Exports, original
from flows.pipeline.stages import Engine, Row, stages_of
from flows.pipeline.verdict import Results, conclude
from flows.pipeline.workspace import Workspace, refuse_target
from flows.progress.events import Event, Listener, Work, perform, said
from flows.review.gate import GateReport
from validators.contract import Cell, ComparisonBasis, NoiseBySet
from validators.preloads import LIGHT, TENSORFLOW, preloaded_modules
from validators.reference.job import Reference
from validators.release.evidence import unmeasured, without_floor, write_noise
from validators.release.integrity import manifest_digest
from validators.release.manifest import Manifest
from validators.report.matrix import headline
from validators.runtimes.availability import missing
from validators.runtimes.registry import ORIGINAL, RUNTIMES, RuntimeRow
from validators.samples import check_samples, read_samples, static_shapes
from validators.web.browser import BrowserHost


def refuse_unrunnable(settings: Settings) -> None:
    """Says before anything runs that a required cell cannot run here.

    Raises:
        BadInput: the policy demands what this machine lacks; names the cell and how to get it.
    """
    rows = {row.requirement: row for row in RUNTIMES}
    waived = {waiver.cell for waiver in settings.policy.waivers if today() <= waiver.until}
    for requirement in settings.required:
        if {str(requirement), str(requirement.of_format)} & waived:
            continue
        if lacking := missing(rows[requirement.of_format], gpu=settings.policy.gpu):
            raise BadInput(
                f"the policy requires `{requirement}`, which this machine cannot run: {lacking}",
                next_step="`paritygate doctor` shows what runs here; policy.required in release.toml names what must.",
            )


def refuse_absent(settings: Settings) -> None:
    """Says before anything starts that a file is not there; what is in it, admission judges.

    Raises:
        BadInput: the model, the samples or the metric's file do not exist.
    """
    metric = builder_file(settings.samples.metric or "")
    named = {"model": settings.model, "samples": settings.samples.path, "samples.metric": metric}
    for what, path in named.items():
        if path is not None and not (exists(path) if what == "model" else path.exists()):
            raise BadInput(f"{path}: no such file ({what})", next_step=f"Check the path; relative to {Path.cwd()}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What several releases have in common, so that none of them starts it anew; whoever made it closes it.

    Attributes:
        fork_servers: the processes that jobs fork from.
        browser: the Chromium of all cells.
        cores: how many jobs each release runs at once; None for as many as `Workers` sees fit.
        memory: bytes that the jobs of each release may hold together; None for what `Workers` sees fit.
    """

    fork_servers: ForkServers
    browser: BrowserHost
    cores: int | None = None
    memory: int | None = None


@dataclass(slots=True, kw_only=True)
class StageResults:
    """What the stages of a release handed over so far; each field is set once, by the stage of that name.

    Attributes:
        admission: the model that was let in.
        lowering: how the trace ended; exports take the forms from it.
        reference: what the original answers.
        noise: the original's own rounding.
        artifacts: by `format/variant`.
        cells: by `Cell.key`.
    """

    admission: AdmittedModel | None = None
    lowering: Outcome[Lowered] | None = None
    reference: Reference | None = None
    noise: NoiseBySet | None = None
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)

    def admitted(self) -> AdmittedModel:
        return _there(self.admission, "admission")

    def lowered(self) -> Outcome[Lowered]:
        return _there(self.lowering, "lowering")

    def referred(self) -> Reference:
        return _there(self.reference, "reference")

    def grounds(self) -> ComparisonBasis:
        """Returns what the comparisons rest on, the measured noise included."""
        grounds = self.referred().grounds
        return replace(grounds, noise=self.noise) if self.noise is not None else grounds


Result = TypeVar("Result")


def _there(result: Result | None, stage: str) -> Result:
    """Returns the result of a stage that the asking stage waits for."""
    if result is None:
        msg = f"a stage ran before `{stage}`, which it takes its input from"
        raise RuntimeError(msg)
    return result


class ReleaseRun:
    """The state of one release while its stages run.

    Attributes:
        settings: what was asked.
        manifest: the result; None until the verdict.
        digest: SHA-256 of `release.json`; empty until the verdict.
        ended: how each stage that ended did, by its name.
        judged: what the gate said once a work pool had its turn; None where the policy names no pool.

    Args:
        settings: what to do.
        listen: told when a stage starts and ends, from any thread.
        shared: what it has in common with other releases; None to start its own.

    Raises:
        BadInput: a file is not there, the target directory is not ours, the policy demands what this machine cannot
            run, or the baseline did not go out.
    """

    def __init__(self, settings: Settings, listen: Listener, *, shared: Shared | None = None) -> None:
        refuse_absent(settings)
        refuse_target(settings.release_dir.absolute())
        refuse_unrunnable(settings)
        self._baseline = blessed(settings.baseline) if settings.baseline else None
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
            on_line=said,
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
        """Starts what takes long (TensorFlow's import, Chromium), to overlap with whatever comes next."""
        for name in (TENSORFLOW, LIGHT):
            self._workers.preload(name)
        if any(row.browser and not missing(row, gpu=self.settings.policy.gpu) for row in self._runtimes):
            self._browser.start()

    @property
    def cancelled(self) -> bool:
        """Whether the run is ending: whoever waits for another run gives up."""
        return self._workers.closing

    def cancel(self) -> None:
        """Ends every process of the run; stages whose jobs still ran end as cancelled."""
        self._workers.close()
        if self._shared is None:
            self._browser.close()

    def carry_out(self, engine: Engine) -> None:
        """Runs all stages: what tells the model's inputs first, since which artifacts there are depends on them.

        Raises:
            ParitygateError: what a stage raised.
        """
        begin: list[Row] = [
            ("admission", (), self._admit, None),
            ("lowering", ("admission",), self._lower, None),
            ("reference", ("admission",), self._refer, None),
        ]
        known = len(begin)
        engine(stages_of(begin, self._note, total=known + len(self._to_make())), cancel=self.cancel)
        # Nothing is exported before the reference holds: the samples may turn out not to fit the model.
        self._exporters = rows_of(self.settings.formats, self._done.referred().signature.inputs)
        rest = self._to_make()
        engine(stages_of(rest, self._note, total=known + len(rest)), cancel=self.cancel)

    def _to_make(self) -> list[Row]:
        """Exports, cells and the verdict."""
        # What takes longest goes first: the exports that most browser cells wait for, and cells on a GPU.
        exporters = sorted(self._exporters, key=self._cells_to_come, reverse=True)
        runtimes = sorted(self._runtimes, key=lambda row: row.device, reverse=True)
        table: list[Row] = [(f"export {row.key}", (), partial(self._make, row), None) for row in exporters]
        # Every cell's tolerance follows from the noise, and no export waits for it.
        table.append(("noise", (), self._measure, None))
        table.extend(
            (
                f"cell {row.key} {runtime.name} {runtime.device}",
                (f"export {row.key}", "noise"),
                partial(self._run, row, runtime),
                runtime.device,
            )
            for row in exporters
            for runtime in runtimes
            if self.settings.runs_here(row.key, runtime)
        )
        table.extend(
            (
                f"cell {ORIGINAL}/default {runtime.name} {runtime.device}",
                ("noise",),
                partial(self._rerun, runtime),
                runtime.device,
            )
            for runtime in runtimes
            if runtime.format == ORIGINAL
        )
        table.append(("verdict", tuple(name for name, *_ in table), self._conclude, None))
        return table

    def tell(self, listener: Listener) -> None:
        """Tells one more listener what goes on from here."""
        first = self._listen

        def both(event: Event) -> None:
            first(event)
            listener(event)

        self._listen = both

    def follow(self, name: str, work: Work) -> str:
        """Does what comes after the stages, shown like one of them; returns the line for a person that came of it."""
        events: list[Event] = []

        def listen(event: Event) -> None:
            events.append(event)
            self._listen(event)

        perform(name, work, total=len(self.ended) + 1, listen=listen)
        return events[-1].message

    def _cells_to_come(self, row: ExporterRow) -> int:
        """How many browser cells wait for an export."""
        return sum(runtime.browser for runtime in self._runtimes if runtime.format == row.format)

    def _note(self, event: Event) -> None:
        if event.ended:
            self.ended[event.stage] = event
        self._listen(event)

    def _admit(self) -> tuple[bool, str]:
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
        return True, f"{facts.name}: {layers}{facts.parameters:,} parameters{dropped}"

    def _lower(self) -> tuple[bool, str]:
        with self._export.copies.naming_originals():
            outcome = self._export.lower(self._done.admitted())
        self._done.lowering = outcome
        if outcome.status == "ok":
            return True, "weights as constants, calls inlined"
        return False, f"{outcome.status}: {outcome.message}".partition("\n")[0]

    def _refer(self) -> tuple[bool, str]:
        with self._export.copies.naming_originals():
            reference = self._export.refer(self._done.admitted())
        self.settings.policy.refuse_unknown_outputs([output.name for output in reference.signature.outputs])
        self._done.reference = reference
        rows = sum(sample_set.rows for sample_set in reference.sets)
        dropped = "; ".join(f"without {name}: {why}" for name, why in reference.grounds.dropped.items())
        return True, f"{rows} samples through Keras, fp32 on CPU" + (f"; {dropped}" if dropped else "")

    def _measure(self) -> tuple[bool | None, str]:
        """A float64 model that breaks costs nothing but the tolerances that would have come of it, and it is said."""
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
            return None, f"default tolerances for {names}: {next(iter(lacking.values()))}"
        floors = [each.floor for by_output in noise.values() for each in by_output.values() if each.floor is not None]
        return True, f"rounding measured in float64: {max(floors, default=0.0):.1e} at most"

    def _make(self, row: ExporterRow) -> tuple[bool | None, str]:
        done = self._done
        reference = done.referred()
        shapes = static_shapes(reference.signature.inputs, reference.sets)
        artifact = self._export.export(row, model=done.admitted(), lowered=done.lowered(), shapes=shapes)
        done.artifacts[row.key] = artifact
        if artifact.status != "exported":
            return None if artifact.status == "limited" else False, f"{artifact.status}: {artifact.reason}"
        return True, f"{artifact.size / 1e6:.2f} MB"

    def _run(self, row: ExporterRow, runtime: RuntimeRow) -> tuple[bool | None, str]:
        artifact = self._done.artifacts[row.key]
        finished = self._export.finished
        stage = f"cell {artifact.key} {runtime.name} {runtime.device}"
        # Tolerances follow from the noise: without one that was kept, a later run might have others.
        inputs = (artifact.digest, *map(finished.digest, ("reference", "noise")))
        if (found := finished.find(stage, Cell, *inputs)) is not None:
            return self._noted(found)
        cell = self._validate.run(artifact, runtime, task=self._done.referred().grounds.task)
        if cell.log and cell.status in {"passed", "failed", "limited"}:
            finished.keep(stage, Cell, *inputs, value=cell, made={self._workspace.release / cell.log: ""})
        return self._noted(cell)

    def _rerun(self, runtime: RuntimeRow) -> tuple[bool | None, str]:
        """Runs the original model itself on another device."""
        done = self._done
        model, reference = done.admitted(), done.referred()
        options = {"model": TypeAdapter(ModelSource).dump_json(model.source).decode()}
        artifact = original(model, reference.signature)
        return self._noted(self._validate.run(artifact, runtime, task=reference.grounds.task, options=options))

    def _noted(self, cell: Cell) -> tuple[bool | None, str]:
        self._done.cells[cell.key] = cell
        return outcome_of(cell)

    def _conclude(self) -> tuple[bool | None, str]:
        self.cancel()  # before the files are hashed: nobody may write to a log any more
        done = self._done
        model, reference = done.admitted(), done.referred()
        results = Results(
            asked=asked(self.settings, model=model.facts.digest, samples=model.samples),
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
            baseline=self._baseline,
        )
        manifest = conclude(self._workspace.release, self.settings, results)
        self.digest = manifest_digest(self._workspace.release)
        self._workspace.publish()
        self.manifest = manifest
        verdict = manifest.verdict
        if verdict.passed:
            return True, "released"
        reasons = len(verdict.reasons)
        if headline(verdict) == "AWAITING":
            return None, ", ".join(dict.fromkeys(reason.code for reason in verdict.reasons))
        return False, f"{'refused' if verdict.exit_code == 1 else 'broken'}: {reasons} reason{'s' * (reasons > 1)}"
