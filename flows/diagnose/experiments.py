"""Runs the experiments of a diagnosis: the original by layers, artifacts opened and cut, parts exported again.

In: a `DiagnosisTarget`, workers and a scratch folder. Out: arrays and the jobs' results. Each experiment is a job: a
process with limits of its own, because any of these tools may crash.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from exporters.contract import Signature
from exporters.formats.job import ExportRequest, export
from exporters.formats.registry import row_of
from exporters.jobs import GIB, Answer, Job, Limits, Outcome, Request, Workers
from exporters.lowering.tracing.job import LowerRequest, lower
from flows.config.settings import Settings
from flows.diagnose.target import DiagnosisTarget
from flows.pipeline.cells import Cells
from flows.pipeline.exports import Exports
from flows.pipeline.run import SharedResources
from flows.pipeline.workspace import Workspace
from validators.contract import Cell
from validators.diagnosis.contract import Call, Files, Part, Suspicion
from validators.diagnosis.inner_tensors.job import ExposeRequest, expose_inner_tensors
from validators.diagnosis.layer_comparison import PartRequest, SearchRequest, cut_part, search_layers
from validators.diagnosis.tensor_capture import CaptureRequest
from validators.preloads import TENSORFLOW, preloaded_modules
from validators.samples.tensor_files import write_tensors
from validators.web.browser import BrowserHost


@dataclass(frozen=True, slots=True, kw_only=True)
class RunnableArtifact:
    """Describes something to run: an artifact, an opened copy of one, or a part of the model exported again.

    Attributes:
        folder: its folder.
        signature: its inputs and outputs.
        preprocessing: the file that says what runs before it; empty for none.
        inner: names of the outputs that are inner tensors of the artifact it was copied from.
    """

    folder: Path
    signature: Signature
    preprocessing: str
    inner: frozenset[str] = frozenset()


class Experiments:
    """Runs the jobs of one diagnosis.

    Args:
        target: the cell that is diagnosed.
        settings: how to load the model.
        folder: scratch space.
        shared: processes that it shares with other runs; None to start its own.
    """

    def __init__(
        self, target: DiagnosisTarget, settings: Settings, folder: Path, shared: SharedResources | None
    ) -> None:
        self.target = target
        self._settings = settings
        self._folder = folder
        self._shared = shared
        self._numbers = itertools.count()
        self._limits = Limits(
            seconds=target.manifest.policy.seconds, memory=int(target.manifest.policy.memory_gib * GIB)
        )

    @contextmanager
    def open(self) -> Iterator[None]:
        """Starts workers and browser and admits the model; at the end everything is closed and removed."""
        row = self.target.row
        workspace = Workspace(self._folder / "work")
        shared = self._shared
        fork_servers = shared.fork_servers if shared else preloaded_modules()
        with ExitStack() as stack:
            browser = shared.browser if shared else stack.enter_context(BrowserHost())
            workers = stack.enter_context(Workers(workspace.scratch, workspace.logs, fork_servers=fork_servers))
            stack.callback(workspace.remove)
            self._workers = workers
            for name in {TENSORFLOW, row.fork_server or TENSORFLOW}:
                workers.preload(name)
            if row.browser:
                browser.start()
            self._cells = Cells(workers, browser, self.target.release, policy=self.target.manifest.policy)
            exports = Exports(self._settings, workers, workspace)
            with exports.copies.naming_originals():
                self._model = exports.admit().source
            yield

    def run_cell(self, options: Mapping[str, str] | None = None) -> Cell:
        """Runs the whole cell again, over all the evidence."""
        return self._cells.run(self.target.artifact, self.target.row, options=options)

    def write_inputs(self, tensors: Mapping[str, np.ndarray]) -> Path:
        """Writes the inputs of one call; returns their folder."""
        folder = self._new_path("inputs")
        write_tensors(folder, tensors)
        return folder

    def expose_tensors(
        self, artifact: Path, signature: Signature, *, cut: tuple[Files, Sequence[str]] | None = None
    ) -> RunnableArtifact | str:
        """Writes a copy of an artifact whose inner tensors are outputs.

        Args:
            artifact: the artifact's folder.
            signature: the artifact's signature.
            cut: values to feed instead of tensors, and the tensors to output; None for the whole artifact.

        Returns:
            The copy; or a sentence, when the artifact cannot be read or cannot be cut there.
        """
        folder = self._new_path("opened")
        request = ExposeRequest(
            format=self.target.artifact.format,
            artifact=artifact,
            destination=folder,
            signature=signature,
            fed=cut[0] if cut else None,
            wanted=tuple(cut[1]) if cut else None,
        )
        outcome = self._run(expose_inner_tensors, request)
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        exposed = outcome.unwrap().signature
        if exposed is None:
            return outcome.unwrap().refused or "it cannot be cut"
        preprocessing = "" if cut else self.target.artifact.preprocessing
        # The copy of a whole artifact has the artifact's own outputs first.
        own_outputs = 0 if cut else len(signature.outputs)
        inner = frozenset(spec.name for spec in exposed.outputs[own_outputs:])
        return RunnableArtifact(folder=folder, signature=exposed, preprocessing=preprocessing, inner=inner)

    def capture(self, runnable: RunnableArtifact, inputs: Path) -> dict[str, Path] | str:
        """Runs an artifact over one call and keeps its tensors.

        Returns:
            Its tensors by `input NAME`, `output NAME`, or the artifact's own name for an inner one; or a sentence, when
            it broke.
        """
        row = self.target.row
        request = CaptureRequest(
            artifact=runnable.folder,
            signature=runnable.signature,
            preprocessing=runnable.preprocessing,
            runtime=row.name,
            device=row.device,
            options={},
            inputs=inputs,
            destination=self._new_path("captured"),
        )
        outcome = self._cells.capture(row, request, name=f"capture-{next(self._numbers)}")
        if outcome.status == "cancelled":
            outcome.unwrap()
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        inner = {spec.name: spec.path for spec in runnable.signature.outputs if spec.name in runnable.inner}
        return {_tensor_name(name, inner): path for name, path in outcome.unwrap().tensors.items()}

    def search_layers(self, inputs: Path, tensors: Files) -> tuple[Suspicion, tuple[Call, ...]]:
        """Finds the layer that the artifact gets wrong by its tensors; returns every call of a layer as well."""
        outputs = {name.removeprefix("output "): p for name, p in tensors.items() if name.startswith("output ")}
        request = SearchRequest(model=self._model, inputs=inputs, tensors=tensors, outputs=outputs)
        result = self._run(search_layers, request).unwrap()
        return result.suspicion, result.calls

    def cut_part(self, inputs: Path, calls: Sequence[int], *, until: bool = False) -> Part:
        """Cuts some layers out of the original, or with `until` everything up to the last of them."""
        request = PartRequest(
            model=self._model, inputs=inputs, calls=tuple(calls), until=until, destination=self._new_path("part")
        )
        return self._run(cut_part, request).unwrap()

    def export_part(self, model: Path) -> RunnableArtifact | str:
        """Exports a part as the artifact was exported; returns a sentence when that breaks."""
        row = row_of(self.target.artifact.key)
        part = replace(self._model, path=model, architecture=None, input_shapes={})
        graph = None
        if row.source != "model":
            lowered = self._run(
                lower, LowerRequest(model=part, destination=self._new_path("lowered"), forms=(row.source,))
            )
            if lowered.status != "ok":
                return f"{lowered.status}: {lowered.message}"
            form = lowered.unwrap().forms[row.source]
            if form.limited:
                return form.limited.message
            graph = form.folder
        folder = self._new_path("exported")
        request = ExportRequest(
            artifact=row.key,
            model=part,
            graph=graph,
            destination=folder,
            options={**row.options, **self.target.artifact.options},
        )
        outcome = self._run(export, request)
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        exported = outcome.unwrap()
        return RunnableArtifact(folder=folder, signature=exported.signature, preprocessing=exported.preprocessing)

    def released_artifact(self) -> RunnableArtifact:
        """Returns the artifact as it is in the release."""
        artifact = self.target.artifact
        return RunnableArtifact(
            folder=self.target.release / artifact.path,
            signature=artifact.exported_signature(),
            preprocessing=artifact.preprocessing,
        )

    def _run(self, function: Callable[[Request], Answer], request: Request) -> Outcome[Answer]:
        name = f"{function.__name__}-{next(self._numbers)}"
        outcome = self._workers.run(
            Job(name=name, function=function, request=request, limits=self._limits, fork_server=TENSORFLOW)
        )
        if outcome.status == "cancelled":
            outcome.unwrap()
        return outcome

    def layer_calls(self, inputs: Path) -> tuple[Call, ...]:
        """Lists every layer that runs over these inputs, in order."""
        return self.search_layers(inputs, {})[1]

    def new_folder(self, name: str) -> Path:
        """Makes a new folder."""
        folder = self._new_path(name)
        folder.mkdir()
        return folder

    def _new_path(self, name: str) -> Path:
        return self._folder / f"{name}-{next(self._numbers)}"


def _tensor_name(name: str, inner: Mapping[str, str]) -> str:
    """Names a tensor that a runtime returned; `inner` maps the runtime's names to the artifact's own."""
    return name if name.startswith("input ") else inner.get(name, f"output {name}")
