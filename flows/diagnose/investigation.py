"""Runs a diagnosis step by step and decides what each step means for the next.

In: a release directory, the name of a cell, the model. Out: a `Diagnosis`, and a reproduction folder.

1. The cell runs again: only what fails on this machine can be diagnosed. One of its failing calls is chosen.
2. The artifact and the original run over that call, layer by layer; `validators.diagnosis.layer_comparison` names the
   layer.
3. The suspected layer is isolated: the part of the artifact that computes it, and a new export of the layer, each run
   over the original's own inputs to that layer.
4. Where every inner tensor is right, or the artifact does not run at all: prefixes of the model are exported again and
   bisected for the shortest one that fails.
5. The whole cell runs again with each of the runtime's settings changed.
"""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.errors import BadInput
from exporters.toolchain import versions
from flows.config.settings import load_settings
from flows.diagnose.experiments import Experiments
from flows.diagnose.failing_call import FailingCall, choose_failing_call
from flows.diagnose.isolated_layer import WRONG, Findings, cut_out, exhibit_of, findings_of_reexport, try_reexport
from flows.diagnose.prefix_bisection import first_failing_prefix
from flows.diagnose.result import Diagnosis, SettingResult, Suspect
from flows.diagnose.target import DiagnosisTarget, ModelLoading, find_target
from flows.pipeline.run import SharedResources
from flows.progress.events import Listener, StageOutcome, perform
from validators.diagnosis.contract import Files, Part, Suspicion
from validators.diagnosis.reproduction import FORMATS, ReproductionCase, write

_SUBSTITUTED = (
    "with that tensor of the artifact in the layer's place, the original computes what the artifact computes: "
    "there is no other fault"
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
    loading: ModelLoading | None = None,
    output: Path | None = None,
    listen: Listener,
    shared: SharedResources | None = None,
) -> Diagnosis:
    """Finds the layer that a cell's artifact gets wrong.

    Args:
        release: the release directory; nothing in it is changed.
        cell: `FORMAT/VARIANT RUNTIME DEVICE`.
        model: the model that the release was made from; None to look for it (see `find_target`).
        loading: how to load the model; None for the defaults.
        output: the reproduction folder; None for `CELL.repro` in the working directory.
        listen: called when a step starts and ends.
        shared: processes that it shares with other runs; None to start its own.

    Raises:
        BadInput: there is no such cell or model, this machine cannot run it, or the folder exists.
        Broken: the original cannot be run here.
    """
    started = time.monotonic()
    loading = loading or ModelLoading()
    target = find_target(release, cell, model, loading.architecture)
    reproduction = output or Path(f"{cell.replace('/', '-').replace(' ', '-')}.repro")
    if reproduction.exists():
        raise BadInput(f"{reproduction}: exists", next_step="Remove it, or choose another folder with -o.")
    settings = load_settings(None, {"model": target.model, **asdict(loading)})
    with tempfile.TemporaryDirectory(prefix="paritygate-diagnose-") as scratch:
        experiments = Experiments(target, settings, Path(scratch), shared)
        with experiments.open():
            found = Investigation(target, experiments, reproduction, listen).run()
    return replace(found, seconds=round(time.monotonic() - started, 3))


class Investigation:
    """Carries out one diagnosis.

    Args:
        target: the cell that is diagnosed.
        experiments: runs the jobs.
        reproduction: the reproduction folder.
        listen: called when a step starts and ends.
    """

    def __init__(self, target: DiagnosisTarget, experiments: Experiments, reproduction: Path, listen: Listener) -> None:
        self._target = target
        self._experiments = experiments
        self._reproduction = reproduction
        self._listen = listen
        self._exhibit: ReproductionCase | None = None

    def run(self) -> Diagnosis:
        """Runs all steps."""
        cell = self._step("the cell again", self._experiments.run_cell)
        found = Diagnosis(
            release=self._target.release,
            cell=self._target.cell,
            model=self._target.model,
            status=cell.status,
            message=cell.message,
            verdict="unknown",
            summary=f"the cell is {cell.status}: {cell.message}",
            confirmed=(_CHANGED,) if self._target.changed else (),
        )
        if cell.status == "passed":
            return replace(found, verdict="agrees", summary="the cell passes here: there is nothing to diagnose")
        if cell.status not in {"failed", "errored"}:
            return found
        failing = choose_failing_call(self._target, cell, self._experiments)
        found = replace(found, sample_set=failing.sample_set, rows=failing.rows)
        found = self._look_inside(found, failing)
        if found.verdict == "unknown":
            found = self._bisect(found, failing)
        found = replace(found, switches=self._step("settings of the runtime", self._runtime_settings))
        return self._reproduced(found, failing)

    def _step(self, name: str, work: Callable[[], Any]) -> Any:
        result: list[Any] = []

        def keep_result() -> StageOutcome:
            result.append(work())
            return StageOutcome(True, "")

        perform(name, keep_result, total=0, listen=self._listen)
        return result[0]

    def _note(self, found: Diagnosis, findings: Findings) -> Diagnosis:
        self._exhibit = findings.exhibit or self._exhibit
        return replace(
            found, confirmed=(*found.confirmed, *findings.confirmed), inferred=(*found.inferred, *findings.inferred)
        )

    def _look_inside(self, found: Diagnosis, failing: FailingCall) -> Diagnosis:
        whole = self._experiments.released_artifact()
        tensors = exposed = self._step(
            "the artifact, opened", lambda: self._experiments.expose_tensors(whole.folder, whole.signature)
        )
        if not isinstance(exposed, str):
            tensors = self._step("its tensors", lambda: self._experiments.capture(exposed, failing.inputs))
        if isinstance(tensors, str):
            return replace(found, inferred=(f"the artifact's inner tensors cannot be seen: {tensors}",))
        suspicion, _ = self._step("layer by layer", lambda: self._experiments.search_layers(failing.inputs, tensors))
        if suspicion.misbound:
            return _misbound(found, suspicion)
        if suspicion.calls:
            return self._suspected(found, suspicion, failing, tensors)
        note = "with all its inner tensors kept, the artifact agrees with the original in every layer"
        return replace(found, confirmed=(*found.confirmed, note))

    def _suspected(self, found: Diagnosis, suspicion: Suspicion, failing: FailingCall, tensors: Files) -> Diagnosis:
        """Adds the experiments on the suspected layer to the diagnosis."""
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
        part = self._step("the suspected layer", lambda: self._experiments.cut_part(failing.inputs, numbers))
        cut = self._step("its part of the artifact", lambda: cut_out(self._experiments, suspicion, part, tensors))
        return self._reexport(self._note(found, cut), part, suspicion.limit)

    def _reexport(self, found: Diagnosis, part: Part, limit: float) -> Diagnosis:
        reexport = self._step("the suspected layer, exported again", lambda: try_reexport(self._experiments, part))
        return self._note(found, findings_of_reexport(self._target, part, reexport, limit))

    def _bisect(self, found: Diagnosis, failing: FailingCall) -> Diagnosis:
        """Names the layer from which on new exports of the model fail."""
        first = first_failing_prefix(self._experiments, failing, self._step)
        if isinstance(first, str):
            return replace(found, inferred=(*found.inferred, first))
        call, reexport = first.call, first.reexport
        off = f"does not run: {reexport.broke}" if reexport.broke else f"is off by {reexport.distance:.1e} of its scale"
        if reexport.exported is not None and not reexport.broke:
            what = f"the model up to `{call.layer}`, exported again"
            self._exhibit = exhibit_of(self._target, first.part, reexport.exported, what)
        found = replace(
            found,
            verdict="runtime",
            summary=f"new exports of the model fail from layer `{call.layer}` ({call.kind}) on",
            suspects=(Suspect(layer=call.layer, kind=call.kind),),
            distance=None if reexport.broke else reexport.distance,
            limit=WRONG,
            confirmed=(*found.confirmed, f"the model up to this layer, exported again, {off}"),
        )
        return self._reexport(found, self._experiments.cut_part(failing.inputs, [call.number]), WRONG)

    def _runtime_settings(self) -> tuple[SettingResult, ...]:
        return tuple(
            SettingResult(setting=name, status=cell.status, message=cell.message, max_abs=cell.max_abs)
            for name, options in self._target.row.settings.items()
            for cell in [self._experiments.run_cell(options)]
        )

    def _whole(self, failing: FailingCall) -> ReproductionCase | None:
        """Builds an exhibit of the whole artifact; None where its numbers were not compared, or text runs before it."""
        whole = self._experiments.released_artifact()
        native = {spec.name: spec.native for spec in whole.signature.outputs}
        if failing.output not in failing.expected or whole.preprocessing:
            return None
        return ReproductionCase(
            format=self._target.artifact.format,
            runtime=self._target.row.name,
            artifact=whole.folder,
            what="the whole artifact",
            inputs=failing.fed,
            output=native[failing.output] if self._target.artifact.format == "onnx" else failing.output,
            expected=failing.expected[failing.output],
        )

    def _reproduced(self, found: Diagnosis, failing: FailingCall) -> Diagnosis:
        exhibit = self._exhibit or self._whole(failing)
        if exhibit is None or exhibit.format not in FORMATS:
            return found
        found = replace(found, reproduction=self._reproduction.absolute())
        exhibit = replace(
            exhibit, title=found.summary, versions=dict(versions((*_PACKAGES, self._target.row.distribution)))
        )
        # The folder is sent to others, so it names files without their paths on this machine.
        portable = replace(found, release=Path(found.release.name), model=Path(found.model.name), reproduction=None)
        write(exhibit, self._reproduction, diagnosis=TypeAdapter(Diagnosis).dump_json(portable, indent=1) + b"\n")
        return found


def _named(suspicion: Suspicion) -> str:
    first, *others = suspicion.calls
    text = f"layer `{first.layer}` ({first.kind}) is the first whose output the artifact gets wrong"
    if others:
        text += f"; the artifact computes it in one with {', '.join(f'`{call.layer}`' for call in others)}"
    return text


def _misbound(found: Diagnosis, suspicion: Suspicion) -> Diagnosis:
    names = [
        f"`{name}` is `{meant}`" if meant else f"`{name}` is none of the model's outputs"
        for name, meant in suspicion.misbound.items()
    ]
    return replace(
        found,
        verdict="outputs",
        summary=f"every layer is right; outputs have wrong names: {', '.join(names)}",
        limit=suspicion.limit,
        confirmed=(*found.confirmed, "every layer's own output is among the artifact's tensors"),
    )
