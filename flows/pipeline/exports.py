"""Starts the jobs of the export stages: admission, lowering, reference, noise, and one export for every artifact.

In: the model and the settings. Out: a record from each stage, which the next one takes: `AdmittedModel`, `Lowered`,
`Reference`, the noise, and an `Artifact` for every row: exported and placed in the release, or the record of why not.
One exporter's failure is data and stops no other.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from exporters.contract import STATIC, Artifact, Signature
from exporters.files.atomic import place
from exporters.files.hashing import digest_tree
from exporters.formats.job import Exported, ExportRequest, export
from exporters.formats.registry import ExporterRow, rows_of
from exporters.jobs import GIB, Answer, Job, Limits, Outcome, Request, Workers
from exporters.lowering.tracing.job import Lowered, LoweredForm, LowerRequest, lower
from exporters.source.admission.job import LIMITS as ADMISSION
from exporters.source.admission.job import AdmitRequest, admit_model
from exporters.source.facts import ModelFacts
from exporters.source.keras_version import READERS
from exporters.source.model_source import ModelSource
from exporters.toolchain import versions
from flows.config.settings import Settings
from flows.pipeline.input_copies import InputCopies
from flows.pipeline.resume import Finished, mark_of
from flows.pipeline.workspace import Workspace
from validators.preloads import TENSORFLOW
from validators.reference.job import Reference, ReferenceRequest, compute_reference
from validators.reference.noise_floor import MeasuredNoise, NoiseRequest, measure_noise
from validators.release.evidence import EVIDENCE, EXACT, NOISE
from validators.runtimes.registry import ORIGINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmittedModel:
    """A model that may reach Keras, and the samples that came with it.

    Attributes:
        facts: what admission found out.
        source: our copy of it, and how to load it.
        samples: our copy of the user's samples; None when there are none.
    """

    facts: ModelFacts
    source: ModelSource
    samples: Path | None


class Exports:
    """Runs the export jobs of one release.

    Args:
        settings: the release's settings.
        workers: where jobs run.
        workspace: where bytes go.

    Attributes:
        finished: the stages that are, those of a killed run before among them.
        copies: of the user's files.
    """

    def __init__(self, settings: Settings, workers: Workers, workspace: Workspace) -> None:
        self.finished = Finished(workspace)
        self.copies = InputCopies(workspace.scratch / "given")
        self._settings = settings
        self._workers = workers
        self._workspace = workspace
        self._weights = workspace.scratch / "weights"
        self._extra_rows = workspace.scratch / "extra-rows"

    def admit(self) -> AdmittedModel:
        """Looks at a copy of the model before any framework does.

        Raises:
            BadInput: the file is refused.
        """
        settings = self._settings
        source = ModelSource(
            path=self.copies.model(settings.model.absolute()),
            architecture=self.copies.architecture(settings.architecture) if settings.architecture else None,
            custom_objects=settings.custom_objects,
            trust_lambda=settings.trust_lambda,
            input_shapes=settings.input_shapes,
        )
        samples = self.copies.file_or_folder(settings.samples.path) if settings.samples.path else None
        request = AdmitRequest(
            path=source.path,
            architecture=source.architecture,
            custom_objects=bool(source.custom_objects),
            trust_lambda=source.trust_lambda,
            input_shapes=bool(source.input_shapes),
        )
        job = Job(name="admission", function=admit_model, request=request, limits=ADMISSION)
        facts = self._workers.run(job).unwrap()
        self.finished.begin(mark_of(settings, model=facts.digest, samples=samples))
        return AdmittedModel(facts=facts, source=source, samples=samples)

    def lower(self, model: AdmittedModel) -> Outcome[Lowered]:
        """Traces the model into every form that a wanted exporter starts from; a failure becomes theirs.

        Raises:
            BadInput: Keras cannot load the model.
            Cancelled: the run is ending.
        """
        log = self._workspace.logs / "lowering.log"
        forms = tuple(sorted({row.source for row in rows_of(self._settings.formats)} - {"model"}))
        if not forms:
            nothing = Signature(inputs=(), outputs=())
            return Outcome(status="ok", value=Lowered(signature=nothing, forms={}), log=log)
        folder = self._workspace.scratch / "lowered"
        if (found := self.finished.find("lowering", Lowered)) is not None:
            return Outcome(status="ok", value=_moved(found, lambda path: folder / path), log=log)
        request = LowerRequest(model=model.source, destination=folder, forms=forms)
        outcome = self._run("lowering", lower, request)
        if outcome.status in {"ok", "bad input", "cancelled"}:
            value = _moved(outcome.unwrap(), lambda path: Path(path.name))
            self.finished.keep("lowering", Lowered, value=value, made={folder: "", outcome.log: ""})
        return outcome

    def refer(self, model: AdmittedModel) -> Reference:
        """Computes the reference and writes the evidence.

        Raises:
            BadInput: the samples do not fit the model, or Keras cannot load it.
            Broken: the job did not end well.
        """
        if (found := self.finished.find("reference", Reference)) is not None:
            return found
        request = ReferenceRequest(
            model=model.source,
            release=self._workspace.release,
            samples=model.samples,
            batches=tuple(self._settings.samples.batches),
            metric=self._settings.samples.metric,
            extra_rows=self._extra_rows,
            weights=self._weights,
        )
        outcome = self._run("reference", compute_reference, request)
        reference = outcome.unwrap()
        evidence = (self._workspace.release / EVIDENCE).iterdir()
        made = {part: "" for part in (*evidence, self._extra_rows) if part != self._workspace.logs}
        made |= {self._weights: "", outcome.log: ""}
        self.finished.keep("reference", Reference, value=reference, made=made)
        return reference

    def measure(self, model: AdmittedModel) -> Outcome[MeasuredNoise]:
        """Measures the original's own rounding; the reference must be there.

        Raises:
            Cancelled: the run is ending.
        """
        inputs = (self.finished.digest("reference"),)
        if (found := self.finished.find("noise", MeasuredNoise, *inputs)) is not None:
            return Outcome(status="ok", value=found, log=self._workspace.logs / "noise.log")
        request = NoiseRequest(model=model.source, release=self._workspace.release, extra_rows=self._extra_rows)
        outcome = self._run("noise", measure_noise, request)
        if outcome.status == "cancelled":
            outcome.unwrap()
        if outcome.status == "ok":
            evidence = self._workspace.release / EVIDENCE
            made = {evidence / NOISE: "", evidence / EXACT: "", outcome.log: ""}
            self.finished.keep("noise", MeasuredNoise, *inputs, value=outcome.unwrap(), made=made)
        return outcome

    def export(
        self,
        row: ExporterRow,
        *,
        model: AdmittedModel,
        lowered: Outcome[Lowered],
        shapes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> Artifact:
        """Exports one row and places what it wrote.

        Args:
            row: of `exporters.formats.registry`.
            model: what admission let in.
            lowered: how lowering ended.
            shapes: of the model's inputs, for a static variant; used by no other.
        """
        stage = f"export {row.key}"
        digest = model.facts.digest
        inputs = (digest if row.source == "model" else self.finished.digest("lowering"), json.dumps(shapes))
        if (found := self.finished.find(stage, Artifact, *inputs)) is not None:
            return found
        artifact = Artifact(
            format=row.format,
            variant=row.variant,
            status="errored",
            precision=row.precision,
            source=digest,
            options=self._settings.export_options(row),
            toolchain=versions((*row.toolchain, *READERS.get(model.facts.generation, ()))),
        )
        graph = None
        if row.source != "model":
            if lowered.status != "ok":
                return _without_bytes(artifact, lowered)
            form = lowered.unwrap().forms[row.source]
            if form.limited:
                reason = _sentence(form.limited.message, form.limited.next_step)
                return replace(artifact, status="limited", reason=reason, limit=form.limited.limit)
            graph = form.folder
        written = self._workspace.scratch / f"{row.format}-{row.variant}"
        request = ExportRequest(
            artifact=row.key,
            model=model.source,
            graph=graph,
            destination=written,
            options=artifact.options,
            shapes=shapes if row.variant == STATIC else None,
            weights=self._weights,
        )
        outcome = self._run(f"export-{row.format}-{row.variant}", export, request)
        artifact = self._placed(replace(artifact, seconds=round(outcome.seconds, 3)), outcome, written)
        if artifact.status != "errored":
            made = {self._workspace.release / artifact.path: artifact.digest} if artifact.path else {}
            self.finished.keep(stage, Artifact, *inputs, value=artifact, made={**made, outcome.log: ""})
        return artifact

    def _run(self, name: str, function: Callable[[Request], Answer], request: Request) -> Outcome[Answer]:
        """Runs a job that others wait for, in a fork of the process that has TensorFlow."""
        limits = self._settings.limits
        return self._workers.run(
            Job(
                name=name,
                function=function,
                request=request,
                limits=Limits(seconds=limits.seconds, memory=int(limits.memory_gib * GIB)),
                retries=limits.retries,
                fork_server=TENSORFLOW,
                priority=True,
            )
        )

    def _placed(self, artifact: Artifact, outcome: Outcome[Exported], written: Path) -> Artifact:
        """Returns the artifact under its final name with its digest, or the record of why there is none."""
        if outcome.status != "ok":
            return _without_bytes(artifact, outcome)
        exported = outcome.unwrap()
        relative = Path("artifacts", artifact.format, artifact.variant)
        place(written, self._workspace.release / relative)
        digest, size = digest_tree(self._workspace.release / relative)
        return replace(
            artifact,
            status="exported",
            path=relative.as_posix(),
            digest=digest,
            size=size,
            signature=exported.signature,
            weights=exported.weights,
            preprocessing=exported.preprocessing,
            findings=exported.findings,
        )


def original(model: AdmittedModel, signature: Signature) -> Artifact:
    """Returns the model itself as an artifact, for the cells that run it on another device."""
    path = str(model.source.path)  # absolute, so that it stays itself below the release
    return Artifact(format=ORIGINAL, variant="default", status="exported", path=path, signature=signature)


def _moved(lowered: Lowered, place_of: Callable[[Path], Path]) -> Lowered:
    """Returns the same forms in other folders: what is kept for a later run names no path of this one."""
    forms = {
        name: form if form.folder is None else LoweredForm(folder=place_of(form.folder))
        for name, form in lowered.forms.items()
    }
    return replace(lowered, forms=forms)


def _without_bytes(artifact: Artifact, outcome: Outcome[Answer]) -> Artifact:
    """Returns the record of why there is no artifact.

    Raises:
        BadInput, Cancelled: the whole run ends by them.
    """
    if outcome.status in {"cancelled", "bad input"}:
        outcome.unwrap()
    if outcome.status == "limited":
        reason = _sentence(outcome.message, outcome.next_step)
        return replace(artifact, status="limited", reason=reason, limit=outcome.limit)
    return replace(artifact, reason=_sentence(f"{outcome.status}: {outcome.message}", outcome.next_step))


def _sentence(message: str, next_step: str) -> str:
    """Returns what happened and what to do about it, in one line."""
    return f"{message}. {next_step}" if next_step else message
