"""What a diagnosis does, step by step.

In: a release directory, the name of a cell, the model. Out: a `Diagnosis`, and a reproduction folder.

1. The cell runs again: only what fails here can be looked into. One of its failing calls is taken.
2. The artifact is opened and run over that call, the original beside it: `validators.diagnosis.search` names the layer.
3. The suspect alone: the part of the artifact that computes it, and the layer exported anew, each over the original's
   own inputs to that layer.
4. Where the artifact is right tensor by tensor, or does not run at all: beginnings of the model are exported anew, and
   bisected for the first that fails.
5. The whole cell again with each of the runtime's settings changed.
"""

import math
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.errors import BadInput
from exporters.toolchain import versions
from flows.config.settings import load_settings
from flows.diagnose.experiments import Laboratory
from flows.diagnose.failing_call import Sampled, failing_call
from flows.diagnose.isolated_layer import WRONG, Shown, cut_out, exhibit_of, shown_anew, try_anew
from flows.diagnose.prefix_bisection import first_failing
from flows.diagnose.result import Diagnosis, Suspect, Switch
from flows.diagnose.runtime_settings import switches_of
from flows.diagnose.target import Subject, find_subject
from flows.pipeline.run import Shared
from flows.progress.events import Listener, perform
from validators.diagnosis.contract import Files, Part, Suspicion
from validators.diagnosis.reproduction import ReproductionCase, write

_SUBSTITUTED = (
    "with that tensor of the artifact in the layer's place, the original goes on to compute what the artifact "
    "computes: there is no other fault"
)
_CHANGED = "the artifact's files are not those that the manifest names: they were changed after the release was made"
_PACKAGES = (
    *("tensorflow", "keras", "tf_keras", "numpy", "onnx", "tf2onnx", "onnxruntime", "ai-edge-litert", "tensorflowjs"),
)


def diagnose(  # noqa: PLR0913 - each is a choice of its own, named at every call
    release: Path,
    cell: str,
    *,
    model: Path | None = None,
    loading: Mapping[str, Any] | None = None,
    output: Path | None = None,
    listen: Listener,
    shared: Shared | None = None,
) -> Diagnosis:
    """Finds the layer that a cell's artifact gets wrong.

    Args:
        release: the release directory; nothing in it is changed.
        cell: `FORMAT/VARIANT RUNTIME DEVICE`.
        model: the model that the release was made from; None to look for it (see `find_subject`).
        loading: `architecture`, `custom_objects`, `trust_lambda` and `input_shapes`, as for a release.
        output: the reproduction folder; None for `CELL.repro` in the working directory.
        listen: told when a step starts and ends.
        shared: what it has in common with other runs; None to start its own.

    Raises:
        BadInput: there is no such cell or model, this machine cannot run it, or the folder exists.
        Broken: the original cannot be run here.
    """
    started = time.monotonic()
    how = {key: value for key, value in (loading or {}).items() if value is not None}
    subject = find_subject(release, cell, model, how.get("architecture"))
    target = output or Path(f"{cell.replace('/', '-').replace(' ', '-')}.repro")
    if target.exists():
        raise BadInput(f"{target}: exists", next_step="Remove it, or choose another folder with -o.")
    settings = load_settings(None, {"model": subject.model, **how})
    with tempfile.TemporaryDirectory(prefix="paritygate-diagnose-") as scratch:
        laboratory = Laboratory(subject, settings, Path(scratch), shared)
        with laboratory.open():
            found = Investigation(subject, laboratory, target, listen).run()
    return replace(found, seconds=round(time.monotonic() - started, 3))


class Investigation:
    """One diagnosis.

    Args:
        subject: what is looked into.
        laboratory: what runs it.
        target: the reproduction folder.
        listen: told when a step starts and ends.
    """

    def __init__(self, subject: Subject, laboratory: Laboratory, target: Path, listen: Listener) -> None:
        self._subject = subject
        self._lab = laboratory
        self._target = target
        self._listen = listen
        self._exhibit: ReproductionCase | None = None

    def run(self) -> Diagnosis:
        """All steps."""
        cell = self._step("the cell again", self._lab.cell)
        found = Diagnosis(
            release=self._subject.release,
            cell=self._subject.cell,
            model=self._subject.model,
            status=cell.status,
            message=cell.message,
            verdict="unknown",
            summary=f"the cell is {cell.status}: {cell.message}",
            confirmed=(_CHANGED,) if self._subject.changed else (),
        )
        if cell.status == "passed":
            return replace(found, verdict="agrees", summary="the cell passes here: there is nothing to diagnose")
        if cell.status not in {"failed", "errored"}:
            return found
        sampled = failing_call(self._subject, cell, self._lab)
        found = replace(found, sample_set=sampled.sample_set, rows=sampled.rows)
        found = self._look_inside(found, sampled)
        if found.verdict == "unknown":
            found = self._bisect(found, sampled)
        found = replace(found, switches=self._step("settings of the runtime", self._switches))
        return self._reproduced(found, sampled)

    def _step(self, name: str, work: Callable[[], Any]) -> Any:
        result: list[Any] = []

        def told() -> tuple[bool, str]:
            result.append(work())
            return True, ""

        perform(name, told, total=0, listen=self._listen)
        return result[0]

    def _note(self, found: Diagnosis, shown: Shown) -> Diagnosis:
        self._exhibit = shown.exhibit or self._exhibit
        return replace(
            found, confirmed=(*found.confirmed, *shown.confirmed), inferred=(*found.inferred, *shown.inferred)
        )

    def _look_inside(self, found: Diagnosis, sampled: Sampled) -> Diagnosis:
        whole = self._lab.artifact()
        tensors = opened = self._step("artifact, opened", lambda: self._lab.opened(whole.folder, whole.signature))
        if not isinstance(opened, str):
            tensors = self._step("its tensors", lambda: self._lab.taps(opened, sampled.inputs))
        if isinstance(tensors, str):
            return replace(found, inferred=(f"the artifact's inner tensors cannot be seen: {tensors}",))
        suspicion, _ = self._step("layer by layer", lambda: self._lab.search(sampled.inputs, tensors))
        if suspicion.misbound:
            return _misbound(found, suspicion)
        if suspicion.calls:
            return self._suspected(found, suspicion, sampled, tensors)
        note = "with all its inner tensors kept, the artifact agrees with the original in every layer"
        return replace(found, confirmed=(*found.confirmed, note))

    def _suspected(self, found: Diagnosis, suspicion: Suspicion, sampled: Sampled, tensors: Files) -> Diagnosis:
        """A layer is suspected: what shows it, beside the substitution."""
        found = replace(
            found,
            verdict="layer",
            summary=_named(suspicion),
            suspects=tuple(Suspect(layer=call.layer, kind=call.kind) for call in suspicion.calls),
            tensor=suspicion.tensor,
            distance=suspicion.distance if math.isfinite(suspicion.distance) else None,
            limit=suspicion.limit,
            confirmed=(*found.confirmed, *((_SUBSTITUTED,) if suspicion.explains else ())),
            inferred=() if suspicion.explains else ("no single tensor of the artifact explains all of the difference",),
        )
        if suspicion.why:
            found = replace(found, inferred=(*found.inferred, f"among these: {suspicion.why}"))
        numbers = sorted(call.number for call in suspicion.calls)
        part = self._step("the suspect alone", lambda: self._lab.part(sampled.inputs, numbers))
        cut = self._step("its part of the artifact", lambda: cut_out(self._lab, suspicion, part, tensors))
        return self._anew(self._note(found, cut), part, suspicion.limit)

    def _anew(self, found: Diagnosis, part: Part, limit: float) -> Diagnosis:
        trial = self._step("the suspect, exported anew", lambda: try_anew(self._lab, part))
        return self._note(found, shown_anew(self._subject, part, trial, limit))

    def _bisect(self, found: Diagnosis, sampled: Sampled) -> Diagnosis:
        """Names the layer from which on new exports of the model fail."""
        first = first_failing(self._lab, sampled, self._step)
        if isinstance(first, str):
            return replace(found, inferred=(*found.inferred, first))
        call, trial = first.call, first.trial
        off = f"does not run: {trial.broke}" if trial.broke else f"is off by {trial.apart:.1e} of its scale"
        if trial.anew is not None and not trial.broke:
            what = f"the model up to `{call.layer}`, exported anew"
            self._exhibit = exhibit_of(self._subject, first.part, trial.anew, what)
        found = replace(
            found,
            verdict="runtime",
            summary=f"new exports of the model fail from layer `{call.layer}` ({call.kind}) on",
            suspects=(Suspect(layer=call.layer, kind=call.kind),),
            distance=None if trial.broke else trial.apart,
            limit=WRONG,
            confirmed=(*found.confirmed, f"the model up to this layer, exported anew, {off}"),
        )
        return self._anew(found, self._lab.part(sampled.inputs, [call.number]), WRONG)

    def _switches(self) -> tuple[Switch, ...]:
        return tuple(
            Switch(setting=name, status=cell.status, message=cell.message, max_abs=cell.max_abs)
            for name, options in switches_of(self._subject.row)
            for cell in [self._lab.cell(options)]
        )

    def _whole(self, sampled: Sampled) -> ReproductionCase | None:
        """The whole artifact over the call; None where its numbers were not compared, or text runs before it."""
        whole = self._lab.artifact()
        native = {spec.name: spec.native for spec in whole.signature.outputs}
        if sampled.output not in sampled.expected or whole.preprocessing:
            return None
        return ReproductionCase(
            format=self._subject.artifact.format,
            runtime=self._subject.row.name,
            artifact=whole.folder,
            what="the whole artifact",
            inputs=sampled.fed,
            output=native[sampled.output] if self._subject.artifact.format == "onnx" else sampled.output,
            expected=sampled.expected[sampled.output],
        )

    def _reproduced(self, found: Diagnosis, sampled: Sampled) -> Diagnosis:
        shown = self._exhibit or self._whole(sampled)
        if shown is None:
            return found
        found = replace(found, reproduction=self._target.absolute())
        exhibit = replace(shown, title=found.summary, versions=dict(versions(_PACKAGES)))
        # Others get this folder: it names files, and not where they lie on this machine.
        told = replace(found, release=Path(found.release.name), model=Path(found.model.name), reproduction=None)
        write(exhibit, self._target, diagnosis=TypeAdapter(Diagnosis).dump_json(told, indent=1) + b"\n")
        return found


def _named(suspicion: Suspicion) -> str:
    first, *others = suspicion.calls
    text = f"layer `{first.layer}` ({first.kind}) is the first whose output the artifact gets wrong"
    if others:
        text += f"; the artifact computes it in one with {', '.join(f'`{call.layer}`' for call in others)}"
    return text


def _misbound(found: Diagnosis, suspicion: Suspicion) -> Diagnosis:
    told = [
        f"`{name}` is `{meant}`" if meant else f"`{name}` is none of the model's outputs"
        for name, meant in suspicion.misbound.items()
    ]
    return replace(
        found,
        verdict="outputs",
        summary=f"every layer is right; outputs stand under wrong names: {', '.join(told)}",
        limit=suspicion.limit,
        confirmed=(*found.confirmed, "every layer's own output is among the artifact's tensors"),
    )
