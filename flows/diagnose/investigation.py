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

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from exporters.errors import BadInput
from exporters.store import versions
from flows.diagnose.evidence import Sampled, failing_call
from flows.diagnose.laboratory import Anew, Laboratory, Part
from flows.diagnose.record import Diagnosis, Suspect, Switch
from flows.diagnose.subject import Subject, find_subject
from flows.diagnose.switches import switches_of
from flows.progress import Listener, perform
from flows.run import Shared
from flows.settings import load_settings
from validators.diagnosis.contract import Call, Suspicion
from validators.diagnosis.match import distance
from validators.diagnosis.reproduction import Exhibit, write

_WRONG = 1e-4
"""How far a new export may lie from the original, as a share of the output's scale: 1,678 unit roundoffs of float32."""
_SUBSTITUTED = (
    "with that tensor of the artifact in the layer's place, the original goes on to compute what the artifact "
    "computes: there is no other fault"
)
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
        self._exhibit: Exhibit | None = None

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
        return replace(found, confirmed=(note,))

    def _suspected(
        self, found: Diagnosis, suspicion: Suspicion, sampled: Sampled, tensors: Mapping[str, str]
    ) -> Diagnosis:
        """A layer is suspected: what shows it, beside the substitution."""
        found = replace(
            found,
            verdict="layer",
            summary=_named(suspicion),
            suspects=tuple(Suspect(layer=call.layer, kind=call.kind) for call in suspicion.calls),
            tensor=suspicion.tensor,
            distance=suspicion.distance if np.isfinite(suspicion.distance) else None,
            limit=suspicion.limit,
            confirmed=(_SUBSTITUTED,) if suspicion.explains else (),
            inferred=() if suspicion.explains else ("no single tensor of the artifact explains all of the difference",),
        )
        if suspicion.why:
            found = replace(found, inferred=(*found.inferred, f"among these: {suspicion.why}"))
        part = self._step("the suspect alone", lambda: self._alone(suspicion, sampled))
        found = self._cut(found, suspicion, part, tensors)
        return self._anew(found, part, suspicion.limit)

    def _alone(self, suspicion: Suspicion, sampled: Sampled) -> Part:
        return self._lab.part(sampled.inputs, sorted(call.number for call in suspicion.calls))

    def _cut(self, found: Diagnosis, suspicion: Suspicion, part: Part, tensors: Mapping[str, str]) -> Diagnosis:
        """Runs the part of the artifact that stands for the suspect on the original's own inputs to it."""
        if not suspicion.tensor:
            return found
        fed = self._in_the_artifacts_layout(suspicion, part, tensors)
        whole = self._lab.artifact()
        cut = self._lab.opened(whole.folder, whole.signature, cut=(fed, [suspicion.tensor]))
        if isinstance(cut, str):
            return replace(found, inferred=(*found.inferred, f"its part of the artifact does not stand alone: {cut}"))
        inputs = {spec.name: np.load(fed[spec.path]) for spec in cut.signature.inputs}
        outputs = self._lab.taps(cut, self._lab.keep(inputs))
        if isinstance(outputs, str):
            return replace(found, inferred=(*found.inferred, f"its part of the artifact does not run alone: {outputs}"))
        (shown,) = cut.signature.outputs
        actual = np.load(outputs[shown.path])
        given = np.load(next(iter(part.given.values())))
        expected = given.transpose(suspicion.axes).reshape(actual.shape) if given.size == actual.size else given
        apart = distance(expected.astype(np.float64).ravel(), actual.astype(np.float64).ravel())
        if not apart > suspicion.limit:
            said = "its part of the artifact, alone and fed the original's own inputs, agrees: it goes wrong in company"
            return replace(found, inferred=(*found.inferred, said))
        self._exhibit = Exhibit(
            format=self._subject.artifact.format,
            runtime=self._subject.row.name,
            artifact=cut.folder,
            what="the suspect's part, cut out of the artifact",
            inputs=inputs,
            output=shown.native if self._subject.artifact.format == "onnx" else shown.name,
            expected=expected,
            layer=part.model,
        )
        said = f"its part of the artifact, alone and fed the original's own inputs, is off by {apart:.1e} of its scale"
        return replace(found, confirmed=(*found.confirmed, said))

    def _in_the_artifacts_layout(self, suspicion: Suspicion, part: Part, tensors: Mapping[str, str]) -> dict[str, str]:
        """What the suspect takes, as the original computes it, in the place of each tensor that holds it."""
        folder = self._lab.folder("fed")
        fed: dict[str, str] = {}
        for value, path in part.fed.items():
            array = np.load(path)
            for match in suspicion.feeds.get(value, ()):
                example = np.load(tensors[match.tensor])
                like = array.transpose(match.axes).reshape(example.shape).astype(example.dtype)
                fed[match.tensor] = str(folder / f"{len(fed)}.npy")
                np.save(fed[match.tensor], np.ascontiguousarray(like))
        return fed

    def _anew(self, found: Diagnosis, part: Part, limit: float) -> Diagnosis:
        """Exports the suspect anew and runs it on the original's own inputs to it."""
        if part.model is None:
            return replace(found, inferred=(*found.inferred, f"the layer was not exported anew: {part.refused}"))
        apart, anew, said = self._step("the suspect exported anew", lambda: self._export_and_run(part))
        if anew is None:
            note = f"exported anew, the layer alone breaks the exporter or the runtime: {said}"
            return replace(found, confirmed=(*found.confirmed, note))
        if apart > max(limit, _WRONG):
            self._exhibit = self._exhibit_of(part, anew, "the suspect alone, exported anew")
            note = (
                f"exported anew, the layer alone is off by {apart:.1e} of its scale as well: the fault is the "
                "converter's or the runtime's"
            )
            return replace(found, confirmed=(*found.confirmed, note))
        confirmed = f"exported anew, the layer alone agrees ({apart:.1e} of its scale)"
        inferred = (
            "converter and runtime are right about this layer: the artifact holds another one than the model has "
            "(stale or changed weights, another setting), or goes wrong only in company"
        )
        return replace(found, confirmed=(*found.confirmed, confirmed), inferred=(*found.inferred, inferred))

    def _export_and_run(self, part: Part) -> tuple[float, Anew | None, str]:
        """How far a new export of a part lies from the original; infinity, with what broke, where it does not run."""
        if part.model is None or part.inputs is None:
            return 0.0, None, part.refused
        anew = self._lab.export(part.model)
        if isinstance(anew, str):
            return float("inf"), None, anew
        inputs = {name: np.load(part.fed[value]) for name, value in part.inputs.items()}
        outputs = self._lab.taps(anew, self._lab.keep(inputs))
        if isinstance(outputs, str):
            return float("inf"), anew, outputs
        apart = 0.0
        for spec, path in zip(anew.signature.outputs, part.given.values(), strict=True):
            expected, actual = np.load(path).astype(np.float64), np.load(outputs[f"output {spec.name}"])
            same = expected.shape == actual.shape
            apart = max(apart, distance(expected.ravel(), actual.astype(np.float64).ravel()) if same else float("inf"))
        return apart, anew, ""

    def _exhibit_of(self, part: Part, anew: Anew, what: str) -> Exhibit:
        spec = anew.signature.outputs[0]
        return Exhibit(
            format=self._subject.artifact.format,
            runtime=self._subject.row.name,
            artifact=anew.folder,
            what=what,
            inputs={name: np.load(part.fed[value]) for name, value in (part.inputs or {}).items()},
            output=spec.native if self._subject.artifact.format == "onnx" else spec.name,
            expected=np.load(next(iter(part.given.values()))),
            layer=part.model,
        )

    def _bisect(self, found: Diagnosis, sampled: Sampled) -> Diagnosis:
        """The first beginning of the model that fails when it is exported anew."""
        calls = self._lab.calls(sampled.inputs)
        tried: dict[int, tuple[float, Anew | None, Part]] = {}

        def fails(number: int) -> bool:
            part = self._lab.part(sampled.inputs, [calls[number].number], until=True)
            name = f"a new export up to {calls[number].layer}"
            apart, anew, _ = self._step(name, lambda: self._export_and_run(part))
            tried[number] = apart, anew, part
            return bool(apart > _WRONG)

        low, high = 0, len(calls) - 1
        if high < 0 or not fails(high):
            note = "a new export of the whole model agrees: the artifact is not what the exporter makes of it today"
            return replace(found, inferred=(*found.inferred, note))
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if fails(middle) else (middle + 1, high)
        return self._first_failing(found, calls[low], tried[low], sampled)

    def _first_failing(
        self, found: Diagnosis, call: Call, tried: tuple[float, Anew | None, Part], sampled: Sampled
    ) -> Diagnosis:
        apart, anew, until = tried
        if anew is not None and np.isfinite(apart):
            self._exhibit = self._exhibit_of(until, anew, f"the model up to `{call.layer}`, exported anew")
        off = f"is off by {apart:.1e} of its scale" if np.isfinite(apart) else "does not run"
        found = replace(
            found,
            verdict="runtime",
            summary=f"new exports of the model fail from layer `{call.layer}` ({call.kind}) on",
            suspects=(Suspect(layer=call.layer, kind=call.kind),),
            distance=apart if np.isfinite(apart) else None,
            limit=_WRONG,
            confirmed=(
                *found.confirmed,
                f"the model up to this layer, exported anew, {off}; up to the one before, it agrees",
            ),
        )
        part = self._lab.part(sampled.inputs, [call.number])
        return self._anew(found, part, _WRONG)

    def _switches(self) -> tuple[Switch, ...]:
        return tuple(
            Switch(setting=name, status=cell.status, message=cell.message, max_abs=cell.max_abs)
            for name, options in switches_of(self._subject.row)
            for cell in [self._lab.cell(options)]
        )

    def _whole(self, sampled: Sampled) -> Exhibit | None:
        """The whole artifact over the call; None where its numbers were not compared, or text runs before it."""
        whole = self._lab.artifact()
        native = {spec.name: spec.native for spec in whole.signature.outputs}
        if sampled.output not in sampled.expected or whole.preprocessing:
            return None
        return Exhibit(
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
        write(exhibit, self._target, diagnosis=TypeAdapter(Diagnosis).dump_json(found, indent=1) + b"\n")
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
        confirmed=("every layer's own output is among the artifact's tensors",),
    )
