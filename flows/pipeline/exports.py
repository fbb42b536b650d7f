"""The export stages: admission, lowering, one job for every artifact.

In: the model and the settings. Out: `ModelFacts`, lowered graphs in scratch space, and an `Artifact` for every row:
exported and placed in the release, or the record of why not. One exporter's failure is data and stops no other.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.contract import STATIC, Artifact, Finding, Signature, WeightsRecord
from exporters.errors import BadInput
from exporters.files.atomic import place
from exporters.files.hashing import digest_tree
from exporters.formats.registry import ExporterRow, rows_of
from exporters.jobs import GIB, Job, Limits, Outcome, Workers
from exporters.source.admission import ModelFacts
from exporters.source.admission.job import LIMITS as ADMISSION
from exporters.source.keras_version import READERS
from exporters.source.readers.detection import files_of
from exporters.source.readers.weights_with_architecture import builder_file, is_builder
from exporters.toolchain import versions
from flows.config.settings import Settings
from flows.pipeline.resume import Finished, mark_of
from flows.pipeline.workspace import Workspace
from validators.preloads import TENSORFLOW
from validators.release.evidence import EVIDENCE, EXACT, NOISE
from validators.runtimes.registry import ORIGINAL


class Exports:
    """Runs the export jobs of one release.

    Args:
        settings: the release's settings.
        workers: where jobs run.
        workspace: where bytes go.

    Attributes:
        finished: the stages that are, those of a killed run before among them.
    """

    def __init__(self, settings: Settings, workers: Workers, workspace: Workspace) -> None:
        self.finished = Finished(workspace)
        self._settings = settings
        self._workers = workers
        self._workspace = workspace
        self._model = settings.model
        self._samples = settings.samples.path
        self._weights = workspace.scratch / "weights"
        self._given: dict[Path, Path] = {}
        self._forms: Mapping[str, Any] = {}
        self._lowering = Outcome(status="ok", log=workspace.logs / "lowering.log")
        bounds = Limits(seconds=settings.limits.seconds, memory=int(settings.limits.memory_gib * GIB))
        self._around: dict[str, Any] = {
            "limits": bounds,
            "retries": settings.limits.retries,
            "host": TENSORFLOW,
            "ahead": True,
        }
        self._reader: tuple[str, ...] = ()
        self._how_to_load: dict[str, Any] = {
            "architecture": settings.architecture or "",
            "custom_objects": list(settings.custom_objects),
            "trust_lambda": settings.trust_lambda,
            "input_shapes": {name: list(shape) for name, shape in settings.input_shapes.items()},
        }

    def admit(self) -> ModelFacts:
        """Looks at the model before any framework does.

        What is looked at is a copy, and every later stage reads the same copy: a training run may write the next
        checkpoint under the same name meanwhile.

        Raises:
            BadInput: the file is refused.
        """
        self._model = self._copied_model(self._settings.model.absolute())
        self._how_to_load["architecture"] = self._copied_architecture(self._settings.architecture or "")
        self._samples = self._copied(self._samples) if self._samples else None
        request = {
            "model": str(self._model),
            "architecture": self._how_to_load["architecture"],
            "custom_objects": bool(self._settings.custom_objects),
            "trust_lambda": self._settings.trust_lambda,
            "input_shapes": bool(self._settings.input_shapes),
        }
        job = Job(name="admission", function="exporters.source.admission.job:run", request=request, limits=ADMISSION)
        facts = TypeAdapter(ModelFacts).validate_python(self._workers.run(job).unwrap())
        self._reader = READERS.get(facts.generation, ())
        self.finished.begin(mark_of(self._settings, model=facts.digest, samples=self._samples))
        return facts

    @property
    def samples(self) -> Path | None:
        """The copy of the user's samples, once admitted; None when there are none."""
        return self._samples

    @contextmanager
    def naming_what_was_given(self) -> Iterator[None]:
        """While active, bad input is told of by the user's paths, not by those of our copies."""
        try:
            yield
        except BadInput as error:
            for copy, path in self._given.items():
                error.message = error.message.replace(str(copy), str(path))
                error.next_step = error.next_step.replace(str(copy), str(path))
            raise

    def _copied_model(self, path: Path) -> Path:
        """A copy of every file of the model; a checkpoint has several, and its path is none of them."""
        copy = self._place_for(path)
        for file in files_of(path):
            target = copy.parent / os.path.relpath(file, path.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        return copy

    def _copied_architecture(self, architecture: str) -> str:
        """The same of a `model.json` or a builder's file; a module is found where it lies."""
        if not is_builder(architecture):
            return str(self._copied(Path(architecture))) if Path(architecture).is_file() else architecture
        if file := builder_file(architecture):
            self._given[file.absolute()] = file
            return f"{file.absolute()}:{architecture.rpartition(':')[2]}"  # beside the modules that it may import
        return architecture

    def _copied(self, path: Path) -> Path:
        copy = self._place_for(path)
        if path.is_dir():
            shutil.copytree(path, copy)
        else:
            shutil.copyfile(path, copy)
        return copy

    def _place_for(self, path: Path) -> Path:
        copy = self._workspace.scratch / "given" / str(len(self._given)) / path.name
        self._given[copy] = path
        copy.parent.mkdir(parents=True)
        return copy

    def lower(self) -> str:
        """Traces the model into every form that a wanted exporter starts from; a failure becomes theirs.

        Returns:
            Why it did not work, in a line; empty when it did.

        Raises:
            BadInput: Keras cannot load the model.
            Cancelled: the run is ending.
        """
        forms = sorted({row.source for row in rows_of(self._settings.formats)} - {"model"})
        if not forms:
            return ""
        lowered = self._workspace.scratch / "lowered"
        if (found := self.finished.find("lowering")) is not None:
            self._forms = {name: str(lowered / form) if isinstance(form, str) else form for name, form in found.items()}
            return ""
        request = {
            "model": str(self._model),
            "destination": str(lowered),
            "forms": forms,
            **self._how_to_load,
        }
        job = Job(name="lowering", function="exporters.lowering.tracing.job:lower", request=request, **self._around)
        self._lowering = self._workers.run(job)
        if self._lowering.status in {"ok", "bad input", "cancelled"}:
            self._forms = self._lowering.unwrap()["forms"]
            names = {name: Path(form).name if isinstance(form, str) else form for name, form in self._forms.items()}
            self.finished.keep("lowering", value=names, made={lowered: "", self._lowering.log: ""})
            return ""
        return f"{self._lowering.status}: {self._lowering.message}".partition("\n")[0]

    def refer(self) -> dict[str, Any]:
        """Computes the reference; see `validators.reference.job.run` for what it returns."""
        found: dict[str, Any] | None = self.finished.find("reference")
        if found is not None:
            return found
        request = {
            **self._evidence_request(),
            "samples": str(self._samples) if self._samples else None,
            "batches": list(self._settings.samples.batches),
            "metric": self._settings.samples.metric or "",
            "weights": str(self._weights),
        }
        job = Job(name="reference", function="validators.reference.job:run", request=request, **self._around)
        outcome = self._workers.run(job)
        answer: dict[str, Any] = outcome.unwrap()
        evidence = (self._workspace.release / EVIDENCE).iterdir()
        made = {part: "" for part in (*evidence, Path(request["more"])) if part != self._workspace.logs}
        self.finished.keep("reference", value=answer, made={**made, self._weights: "", outcome.log: ""})
        return answer

    def measure(self) -> Outcome:
        """Measures the original's own rounding; see `validators.reference.noise_floor.run` for what comes of it.

        Raises:
            Cancelled: the run is ending.
        """
        inputs = (self.finished.digest("reference"),)
        if (found := self.finished.find("oracle", *inputs)) is not None:
            return Outcome(status="ok", value=found, log=self._workspace.logs / "oracle.log")
        request = self._evidence_request()
        job = Job(name="oracle", function="validators.reference.noise_floor:run", request=request, **self._around)
        outcome = self._workers.run(job)
        if outcome.status == "cancelled":
            outcome.unwrap()
        if outcome.status == "ok":
            evidence = self._workspace.release / EVIDENCE
            made = {evidence / NOISE: "", evidence / EXACT: "", outcome.log: ""}
            self.finished.keep("oracle", *inputs, value=outcome.value, made=made)
        return outcome

    def _evidence_request(self) -> dict[str, Any]:
        """What reference and oracle have in common."""
        return {
            "model": str(self._model),
            "release": str(self._workspace.release),
            "more": str(self._workspace.scratch / "more"),
            **self._how_to_load,
        }

    def original(self, signature: Signature) -> Artifact:
        """The model itself in the place of an artifact, for the cells that run it on another device."""
        path = str(self._model)  # absolute, so that it stays itself below the release
        return Artifact(format=ORIGINAL, variant="default", status="exported", path=path, signature=signature)

    def whole(self) -> dict[str, Any]:
        """The admitted copy of the model and how to load it, as jobs take them."""
        return {"model": str(self._model), **self._how_to_load}

    def loading(self) -> dict[str, str]:
        """How such a cell loads it, as its runtime's options."""
        return {key: json.dumps(value) for key, value in self._how_to_load.items()}

    def export(
        self, row: ExporterRow, *, model_digest: str, shapes: Mapping[str, Sequence[int]] | None = None
    ) -> Artifact:
        """Exports one row and places what it wrote.

        Args:
            row: of `exporters.formats.registry`.
            model_digest: SHA-256 of the source model.
            shapes: of the model's inputs, for a static variant; used by no other.
        """
        stage = f"export {row.key}"
        source = model_digest if row.source == "model" else self.finished.digest("lowering")
        inputs = (source, json.dumps(shapes, sort_keys=True))
        if (found := self.finished.find(stage, *inputs)) is not None:
            return TypeAdapter(Artifact).validate_python(found)
        options = self._settings.export_options(row)
        artifact = Artifact(
            format=row.format,
            variant=row.variant,
            status="errored",
            precision=row.precision,
            source=model_digest,
            options=options,
            toolchain=versions((*row.toolchain, *self._reader)),
        )
        if row.source != "model" and self._lowering.status != "ok":
            return self._placed(artifact, self._lowering, Path())
        form = self._model if row.source == "model" else self._forms[row.source]
        if isinstance(form, dict):
            message, limit, next_step = form["limited"]
            return replace(artifact, status="limited", reason=_sentence(message, next_step), limit=limit)
        written = self._workspace.scratch / f"{row.format}-{row.variant}"
        request = {
            "artifact": row.key,
            "source": str(form),
            "destination": str(written),
            "options": {**options, **self._how_to_load, **({"shapes": shapes} if row.variant == STATIC else {})},
            "weights": str(self._weights),
        }
        name = f"export-{row.format}-{row.variant}"
        job = Job(name=name, function="exporters.formats.job:export", request=request, **self._around)
        outcome = self._workers.run(job)
        artifact = self._placed(replace(artifact, seconds=round(outcome.seconds, 3)), outcome, written)
        if artifact.status != "errored":
            made = {self._workspace.release / artifact.path: artifact.digest} if artifact.path else {}
            value = TypeAdapter(Artifact).dump_python(artifact, mode="json")
            self.finished.keep(stage, *inputs, value=value, made={**made, outcome.log: ""})
        return artifact

    def _placed(self, artifact: Artifact, outcome: Outcome, written: Path) -> Artifact:
        """The artifact under its final name with its digest, or the record of why there is none."""
        if outcome.status in {"cancelled", "bad input"}:
            outcome.unwrap()
        if outcome.status == "limited":
            reason = _sentence(outcome.message, outcome.next_step)
            return replace(artifact, status="limited", reason=reason, limit=outcome.limit)
        if outcome.status != "ok":
            return replace(artifact, reason=_sentence(f"{outcome.status}: {outcome.message}", outcome.next_step))
        relative = Path("artifacts", artifact.format, artifact.variant)
        place(written, self._workspace.release / relative)
        digest, size = digest_tree(self._workspace.release / relative)
        return replace(
            artifact,
            status="exported",
            path=relative.as_posix(),
            digest=digest,
            size=size,
            signature=TypeAdapter(Signature).validate_python(outcome.value["signature"]),
            weights=TypeAdapter(WeightsRecord).validate_python(outcome.value["weights"]),
            preprocessing=outcome.value["preprocessing"],
            findings=TypeAdapter(tuple[Finding, ...]).validate_python(outcome.value["findings"]),
        )


def _sentence(message: str, next_step: str) -> str:
    """What happened and what to do about it, in one line."""
    return f"{message}. {next_step}" if next_step else message
