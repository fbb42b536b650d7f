"""Isolates the suspected layer: runs it over the original's own inputs, cut out of the artifact and exported again.

In: a `Suspicion` or a `Part`, and the experiments. Out: findings in words, and an exhibit that reproduces them.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.diagnose.experiments import Experiments, RunnableArtifact
from flows.diagnose.target import DiagnosisTarget
from validators.diagnosis.contract import Files, Part, Suspicion
from validators.diagnosis.reproduction import ReproductionCase
from validators.diagnosis.tensor_match import distance

WRONG = 1e-4
"""Largest distance of a right new export from the original, as a share of the output's scale: 1,678 unit roundoffs of
float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Records the findings of an experiment: sentences that it showed, conclusions, and what reproduces them."""

    confirmed: tuple[str, ...] = ()
    inferred: tuple[str, ...] = ()
    exhibit: ReproductionCase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reexport:
    """Records a part of the model that was exported again and run.

    Attributes:
        distance: from the original, as a share of the output's scale; infinity where it did not run.
        exported: the new artifact; None where the export failed.
        broke: what broke; None when it ran.
    """

    distance: float
    exported: RunnableArtifact | None
    broke: str | None = None

    @property
    def wrong(self) -> bool:
        return self.distance > WRONG


def cut_out(experiments: Experiments, suspicion: Suspicion, part: Part, tensors: Files) -> Findings:
    """Runs the part of the artifact that computes the suspected layer.

    Args:
        experiments: runs it.
        suspicion: names the artifact's tensors.
        part: what the original computes there.
        tensors: all tensors of the artifact, by its names.
    """
    if not suspicion.tensor:
        return Findings()
    fed = _in_the_artifacts_layout(experiments, suspicion, part, tensors)
    whole = experiments.released_artifact()
    cut = experiments.expose_tensors(whole.folder, whole.signature, cut=(fed, [suspicion.tensor]))
    if isinstance(cut, str):
        return Findings(inferred=(f"its part cannot be cut out of the artifact: {cut}",))
    inputs = {spec.name: np.load(fed[spec.path]) for spec in cut.signature.inputs}
    outputs = experiments.capture(cut, experiments.write_inputs(inputs))
    if isinstance(outputs, str):
        return Findings(inferred=(f"its part, cut out of the artifact, does not run: {outputs}",))
    (output,) = cut.signature.outputs
    actual = np.load(outputs[output.path])
    expected = np.load(next(iter(part.computed.values())))
    if expected.size == actual.size:  # the artifact may hold the tensor in another layout
        expected = expected.transpose(suspicion.axes).reshape(actual.shape)
    measured = _distance(expected, actual)
    if not measured > suspicion.limit:
        sentence = (
            "its part of the artifact, isolated and fed the original's inputs, agrees: it fails only within the model"
        )
        return Findings(inferred=(sentence,))
    sentence = (
        f"its part of the artifact, isolated and fed the original's inputs, is off by {measured:.1e} of its scale"
    )
    exhibit = ReproductionCase(
        format=experiments.target.artifact.format,
        runtime=experiments.target.row.name,
        artifact=cut.folder,
        what="the suspected layer's part, cut out of the artifact",
        inputs=inputs,
        output=output.native if experiments.target.artifact.format == "onnx" else output.name,
        expected=expected,
        layer=part.model,
    )
    return Findings(confirmed=(sentence,), exhibit=exhibit)


def _in_the_artifacts_layout(
    experiments: Experiments, suspicion: Suspicion, part: Part, tensors: Files
) -> dict[str, Path]:
    """Writes the original's inputs of the suspected layer in the layout of the artifact's tensors that hold them."""
    folder = experiments.new_folder("fed")
    fed: dict[str, Path] = {}
    for value, path in part.fed.items():
        array = np.load(path)
        for match in suspicion.feeds.get(value, ()):
            example = np.load(tensors[match.tensor])
            like = array.transpose(match.axes).reshape(example.shape).astype(example.dtype)
            fed[match.tensor] = folder / f"{len(fed)}.npy"
            np.save(fed[match.tensor], np.ascontiguousarray(like))
    return fed


def try_reexport(experiments: Experiments, part: Part) -> Reexport:
    """Exports a part that could be saved, and runs the new artifact."""
    if part.model is None or part.inputs is None:
        return Reexport(distance=0.0, exported=None, broke=part.refused)
    exported = experiments.export_part(part.model)
    if isinstance(exported, str):
        return Reexport(distance=float("inf"), exported=None, broke=exported)
    inputs = {name: np.load(part.fed[value]) for name, value in part.inputs.items()}
    outputs = experiments.capture(exported, experiments.write_inputs(inputs))
    if isinstance(outputs, str):
        return Reexport(distance=float("inf"), exported=exported, broke=outputs)
    pairs = zip(exported.signature.outputs, part.computed.values(), strict=True)
    measured = max(_distance(np.load(path), np.load(outputs[f"output {spec.name}"])) for spec, path in pairs)
    return Reexport(distance=measured, exported=exported)


def findings_of_reexport(target: DiagnosisTarget, part: Part, reexport: Reexport, limit: float) -> Findings:
    """Puts the suspected layer's new export into words.

    Args:
        target: the cell that is diagnosed.
        part: the suspected layer as a model of its own.
        reexport: its new export.
        limit: the distance beyond which it counts as wrong.
    """
    if part.model is None:
        return Findings(inferred=(f"the layer was not exported again: {part.refused}",))
    if reexport.broke:
        return Findings(confirmed=(f"exported again, the isolated layer breaks too: {reexport.broke}",))
    if reexport.exported is not None and reexport.distance > max(limit, WRONG):
        sentence = (
            f"exported again, the isolated layer is off by {reexport.distance:.1e} of its scale as well: the fault is "
            "the converter's or the runtime's"
        )
        exhibit = exhibit_of(target, part, reexport.exported, "the suspected layer, exported again")
        return Findings(confirmed=(sentence,), exhibit=exhibit)
    confirmed = f"exported again, the isolated layer agrees ({reexport.distance:.1e} of its scale)"
    inferred = (
        "converter and runtime are right about this layer: the artifact holds another one than the model has (stale or "
        "changed weights, another setting), or fails only within the model"
    )
    return Findings(confirmed=(confirmed,), inferred=(inferred,))


def exhibit_of(target: DiagnosisTarget, part: Part, exported: RunnableArtifact, what: str) -> ReproductionCase:
    """Builds an exhibit of a new export that shows the difference."""
    spec = exported.signature.outputs[0]
    return ReproductionCase(
        format=target.artifact.format,
        runtime=target.row.name,
        artifact=exported.folder,
        what=what,
        inputs={name: np.load(part.fed[value]) for name, value in (part.inputs or {}).items()},
        output=spec.native if target.artifact.format == "onnx" else spec.name,
        expected=np.load(next(iter(part.computed.values()))),
        layer=part.model,
    )


def _distance(expected: np.ndarray, actual: np.ndarray) -> float:
    if expected.size != actual.size:
        return float("inf")
    return distance(expected.astype(np.float64).ravel(), actual.astype(np.float64).ravel())
