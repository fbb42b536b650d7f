"""Runs what a diagnosis needs to know: the original by layers, artifacts opened and cut, parts exported anew.

Each in a bounded process of its own.
In: a `Subject`, workers and a scratch folder. Out: arrays and what the jobs answer.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from exporters.contract import Signature
from exporters.formats.job import ExportRequest, export
from exporters.formats.registry import EXPORTERS
from exporters.jobs import GIB, Answer, Job, Limits, Outcome, Request, Workers
from exporters.lowering.tracing.job import LowerRequest, lower
from flows.config.settings import Settings
from flows.diagnose.target import Subject
from flows.pipeline.cells import Cells
from flows.pipeline.exports import Exports
from flows.pipeline.run import Shared
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
class Anew:
    """Something to run: an artifact, an opened copy of one, a part exported anew.

    Attributes:
        folder: where it lies.
        signature: what it takes and gives.
        preprocessing: the file that says what runs before it; empty for none.
        inner: the outputs that are inner tensors of the artifact it was copied from.
    """

    folder: Path
    signature: Signature
    preprocessing: str
    inner: frozenset[str] = frozenset()


class Laboratory:
    """Jobs of one diagnosis.

    Args:
        subject: what is looked into.
        settings: how to load the model.
        folder: scratch space.
        shared: what it has in common with other runs; None to start its own.
    """

    def __init__(self, subject: Subject, settings: Settings, folder: Path, shared: Shared | None) -> None:
        self.subject = subject
        self._settings = settings
        self._folder = folder
        self._shared = shared
        self._numbers = itertools.count()
        self._limits = Limits(
            seconds=subject.manifest.policy.seconds, memory=int(subject.manifest.policy.memory_gib * GIB)
        )

    @contextmanager
    def open(self) -> Iterator[None]:
        """Holds workers and browser, and admits the model; nothing of it is left afterwards."""
        row = self.subject.row
        workspace = Workspace(self._folder / "work")
        shared = self._shared
        fork_servers = shared.fork_servers if shared else preloaded_modules()
        with ExitStack() as held:
            browser = shared.browser if shared else held.enter_context(BrowserHost())
            workers = held.enter_context(Workers(workspace.scratch, workspace.logs, fork_servers=fork_servers))
            held.callback(workspace.remove)
            self._workers = workers
            for name in {TENSORFLOW, row.fork_server or TENSORFLOW}:
                workers.preload(name)
            if row.browser:
                browser.start()
            self._cells = Cells(workers, browser, self.subject.release, policy=self.subject.manifest.policy)
            exports = Exports(self._settings, workers, workspace)
            with exports.copies.naming_originals():
                self._model = exports.admit().source
            yield

    def cell(self, options: Mapping[str, str] | None = None) -> Cell:
        """The whole cell again, over all the evidence."""
        return self._cells.run(self.subject.artifact, self.subject.row, options=options)

    def keep(self, tensors: Mapping[str, np.ndarray]) -> Path:
        """Writes inputs of one call."""
        folder = self._new("inputs")
        write_tensors(folder, tensors)
        return folder

    def opened(
        self, artifact: Path, signature: Signature, *, cut: tuple[Files, Sequence[str]] | None = None
    ) -> Anew | str:
        """A copy of an artifact that shows what is inside it.

        Args:
            artifact: its folder.
            signature: its signature.
            cut: what the copy starts from and what it shows; None for all of the artifact.

        Returns:
            The copy, or why the artifact cannot be read, or not be cut so.
        """
        folder = self._new("opened")
        request = ExposeRequest(
            format=self.subject.artifact.format,
            artifact=artifact,
            destination=folder,
            signature=signature,
            fed=cut[0] if cut else None,
            wanted=tuple(cut[1]) if cut else None,
        )
        outcome = self._run(expose_inner_tensors, request)
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        shown = outcome.unwrap().signature
        if shown is None:
            return outcome.unwrap().refused or "it cannot be cut"
        preprocessing = "" if cut else self.subject.artifact.preprocessing
        own = 0 if cut else len(signature.outputs)
        inner = frozenset(spec.name for spec in shown.outputs[own:])
        return Anew(folder=folder, signature=shown, preprocessing=preprocessing, inner=inner)

    def taps(self, what: Anew, inputs: Path) -> dict[str, Path] | str:
        """Runs an artifact over one call.

        Returns:
            Its tensors by `input NAME`, `output NAME`, or the artifact's own name for an inner one; or what broke.
        """
        row = self.subject.row
        request = CaptureRequest(
            artifact=what.folder,
            signature=what.signature,
            preprocessing=what.preprocessing,
            runtime=row.name,
            device=row.device,
            options={},
            inputs=inputs,
            destination=self._new("captured"),
        )
        outcome = self._cells.capture(row, request, name=f"capture-{next(self._numbers)}")
        if outcome.status == "cancelled":
            outcome.unwrap()
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        inner = {spec.name: spec.path for spec in what.signature.outputs if spec.name in what.inner}
        return {_called(name, inner): path for name, path in outcome.unwrap().tensors.items()}

    def search(self, inputs: Path, tensors: Files) -> tuple[Suspicion, tuple[Call, ...]]:
        """Looks for the layer that the artifact gets wrong, by its tensors."""
        outputs = {name.removeprefix("output "): p for name, p in tensors.items() if name.startswith("output ")}
        request = SearchRequest(model=self._model, inputs=inputs, tensors=tensors, outputs=outputs)
        searched = self._run(search_layers, request).unwrap()
        return searched.suspicion, searched.calls

    def part(self, inputs: Path, calls: Sequence[int], *, until: bool = False) -> Part:
        """Some layers of the original alone, or all that leads to the last of them."""
        request = PartRequest(
            model=self._model, inputs=inputs, calls=tuple(calls), until=until, destination=self._new("part")
        )
        return self._run(cut_part, request).unwrap()

    def export(self, model: Path) -> Anew | str:
        """Exports a part anew, as the artifact was; or says what broke."""
        row = next(row for row in EXPORTERS if row.key == self.subject.artifact.key)
        part = replace(self._model, path=model, architecture=None, input_shapes={})
        graph = None
        if row.source != "model":
            lowered = self._run(lower, LowerRequest(model=part, destination=self._new("lowered"), forms=(row.source,)))
            if lowered.status != "ok":
                return f"{lowered.status}: {lowered.message}"
            form = lowered.unwrap().forms[row.source]
            if form.limited:
                return form.limited.message
            graph = form.folder
        folder = self._new("exported")
        request = ExportRequest(
            artifact=row.key,
            model=part,
            graph=graph,
            destination=folder,
            options={**row.options, **self.subject.artifact.options},
        )
        outcome = self._run(export, request)
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        exported = outcome.unwrap()
        return Anew(folder=folder, signature=exported.signature, preprocessing=exported.preprocessing)

    def artifact(self) -> Anew:
        """The artifact as it lies in the release."""
        artifact = self.subject.artifact
        return Anew(
            folder=self.subject.release / artifact.path,
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

    def calls(self, inputs: Path) -> tuple[Call, ...]:
        """Every layer that runs over these inputs, in order."""
        return self.search(inputs, {})[1]

    def folder(self, name: str) -> Path:
        """A new folder."""
        folder = self._new(name)
        folder.mkdir()
        return folder

    def _new(self, name: str) -> Path:
        return self._folder / f"{name}-{next(self._numbers)}"


def _called(name: str, inner: Mapping[str, str]) -> str:
    """What a tensor that a runtime gave is called here; `inner` holds the artifact's names of inner ones."""
    return name if name.startswith("input ") else inner.get(name, f"output {name}")
