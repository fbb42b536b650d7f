"""Runs what a diagnosis needs to know: the original by layers, artifacts opened and cut, parts exported anew.

Each in a bounded process of its own.
In: a `Subject`, workers and a scratch folder. Out: arrays and what the jobs answer.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from exporters.contract import Artifact, Signature
from exporters.errors import Broken
from exporters.formats.registry import EXPORTERS
from exporters.jobs import GIB, Job, Limits, Outcome, Workers
from flows.config.settings import Settings
from flows.diagnose.target import Subject
from flows.pipeline.cells import Cells
from flows.pipeline.exports import Exports
from flows.pipeline.run import Shared
from flows.pipeline.workspace import Workspace
from validators.contract import Cell
from validators.diagnosis.contract import Call, Suspicion
from validators.preloads import TENSORFLOW, hosts
from validators.samples.tensor_files import write_tensors
from validators.web.browser import BrowserHost

Files = Mapping[str, str]
"""Name of a tensor -> its `.npy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some layers of the original as a model of their own.

    Attributes:
        fed, given: what they take and give, value -> `.npy`, as the original computes it.
        model: the `.keras` file; None where Keras cannot save one.
        inputs: its inputs' names -> values.
        refused: why there is no file.
    """

    fed: Files
    given: Files
    model: Path | None = None
    inputs: Mapping[str, str] | None = None
    refused: str = ""


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
        preloaded = shared.preloaded if shared else hosts()
        with ExitStack() as held:
            browser = shared.browser if shared else held.enter_context(BrowserHost())
            workers = held.enter_context(Workers(workspace.scratch, workspace.logs, hosts=preloaded))
            held.callback(workspace.remove)
            self._workers = workers
            for host in {TENSORFLOW, row.host} - {""}:
                workers.preload(host)
            if row.browser:
                browser.start()
            self._cells = Cells(workers, browser, self.subject.release, policy=self.subject.manifest.policy)
            exports = Exports(self._settings, workers, workspace)
            with exports.naming_what_was_given():
                exports.admit()
            self._whole = exports.whole()
            yield

    def cell(self, options: Mapping[str, str] | None = None) -> Cell:
        """The whole cell again, over all the evidence."""
        return self._cells.run(self.subject.artifact, self.subject.row, options)

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
        request = {
            "format": self.subject.artifact.format,
            "artifact": str(artifact),
            "destination": str(folder),
            "signature": TypeAdapter(Signature).dump_python(signature, mode="json"),
            "fed": dict(cut[0]) if cut else None,
            "wanted": list(cut[1]) if cut else None,
        }
        outcome = self._job("validators.diagnosis.inner_tensors.job:run", request)
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        answer = outcome.value
        if "refused" in answer:
            return str(answer["refused"])
        preprocessing = "" if cut else self.subject.artifact.preprocessing
        shown = TypeAdapter(Signature).validate_python(answer["signature"])
        own = 0 if cut else len(signature.outputs)
        inner = frozenset(spec.name for spec in shown.outputs[own:])
        return Anew(folder=folder, signature=shown, preprocessing=preprocessing, inner=inner)

    def taps(self, what: Anew, inputs: Path) -> dict[str, str] | str:
        """Runs an artifact over one call.

        Returns:
            Its tensors by `input NAME`, `output NAME`, or the artifact's own name for an inner one; or what broke.
        """
        row = self.subject.row
        request = {
            "artifact": str(what.folder),
            "signature": TypeAdapter(Signature).dump_python(what.signature, mode="json"),
            "preprocessing": what.preprocessing,
            "runtime": row.name,
            "device": row.device,
            "options": {},
            "inputs": str(inputs),
            "destination": str(self._new("taps")),
        }
        name = f"taps-{next(self._numbers)}"
        outcome = self._cells.ask(row, name=name, function="validators.diagnosis.tensor_capture:run", request=request)
        if outcome.status == "cancelled":
            outcome.unwrap()
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        inner = {spec.name: spec.path for spec in what.signature.outputs if spec.name in what.inner}
        return {_called(name, inner): path for name, path in outcome.value["tensors"].items()}

    def search(self, inputs: Path, tensors: Files) -> tuple[Suspicion, tuple[Call, ...]]:
        """Looks for the layer that the artifact gets wrong, by its tensors."""
        request = {
            **self._whole,
            "inputs": str(inputs),
            "tensors": dict(tensors),
            "outputs": {name.removeprefix("output "): p for name, p in tensors.items() if name.startswith("output ")},
        }
        answer = self._job("validators.diagnosis.layer_comparison:run", request).unwrap()
        suspicion = TypeAdapter(Suspicion).validate_python(answer["suspicion"])
        return suspicion, TypeAdapter(tuple[Call, ...]).validate_python(answer["calls"])

    def part(self, inputs: Path, calls: Sequence[int], *, until: bool = False) -> Part:
        """Some layers of the original alone, or all that leads to the last of them."""
        folder = self._new("part")
        request = {
            **self._whole,
            "inputs": str(inputs),
            "calls": list(calls),
            "until": until,
            "destination": str(folder),
        }
        answer = self._job("validators.diagnosis.layer_comparison:part", request).unwrap()
        return Part(
            fed=answer["fed"],
            given=answer["given"],
            model=Path(answer["model"]) if "model" in answer else None,
            inputs=answer.get("inputs"),
            refused=answer.get("refused", ""),
        )

    def export(self, model: Path) -> Anew | str:
        """Exports a part anew, as the artifact was; or says what broke."""
        row = next(row for row in EXPORTERS if row.key == self.subject.artifact.key)
        how = {key: value for key, value in self._whole.items() if key != "model"}
        how |= {"architecture": "", "input_shapes": {}}
        source = str(model)
        if row.source != "model":
            request = {"model": source, "destination": str(self._new("lowered")), "forms": [row.source], **how}
            lowered = self._job("exporters.lowering.tracing.job:lower", request)
            if lowered.status != "ok":
                return f"{lowered.status}: {lowered.message}"
            form = lowered.value["forms"][row.source]
            if isinstance(form, dict):
                return str(form["limited"][0])
            source = form
        folder = self._new("anew")
        options = {**row.options, **self.subject.artifact.options, **how}
        request = {"artifact": row.key, "source": source, "destination": str(folder), "options": options}
        outcome = self._job("exporters.formats.job:export", request)
        if outcome.status != "ok":
            return f"{outcome.status}: {outcome.message}"
        signature = TypeAdapter(Signature).validate_python(outcome.value["signature"])
        return Anew(folder=folder, signature=signature, preprocessing=outcome.value["preprocessing"])

    def artifact(self) -> Anew:
        """The artifact as it lies in the release."""
        artifact: Artifact = self.subject.artifact
        if artifact.signature is None:
            raise Broken(f"{artifact.key}: the manifest has no signature for it")
        return Anew(
            folder=self.subject.release / artifact.path,
            signature=artifact.signature,
            preprocessing=artifact.preprocessing,
        )

    def _job(self, function: str, request: Mapping[str, Any]) -> Outcome:
        name = f"{function.rpartition(':')[2]}-{next(self._numbers)}"
        outcome = self._workers.run(
            Job(name=name, function=function, request=request, limits=self._limits, host=TENSORFLOW)
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
