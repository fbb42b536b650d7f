"""The suspect alone, on the original's own inputs to it: cut out of the artifact, and exported anew.

In: a `Suspicion` or a `Part`, and the laboratory. Out: what that shows, in words, and an exhibit of it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flows.diagnose.experiments import Anew, Laboratory
from flows.diagnose.target import Subject
from validators.diagnosis.contract import Files, Part, Suspicion
from validators.diagnosis.reproduction import ReproductionCase
from validators.diagnosis.tensor_match import distance

WRONG = 1e-4
"""How far a new export may lie from the original, as a share of the output's scale: 1,678 unit roundoffs of float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a trial showed: sentences that were tried, sentences that only follow, and what reproduces it."""

    confirmed: tuple[str, ...] = ()
    inferred: tuple[str, ...] = ()
    exhibit: ReproductionCase | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A part exported anew and run.

    Attributes:
        apart: its distance from the original, as a share of the output's scale; infinity where it did not run.
        anew: what was exported; None where that failed.
        broke: what broke; None when it ran.
    """

    apart: float
    anew: Anew | None
    broke: str | None = None

    @property
    def wrong(self) -> bool:
        return self.apart > WRONG


def cut_out(laboratory: Laboratory, suspicion: Suspicion, part: Part, tensors: Files) -> Shown:
    """Runs the part of the artifact that stands for the suspect.

    Args:
        laboratory: runs it.
        suspicion: names the artifact's tensors.
        part: what the original computes there.
        tensors: all that the artifact computed, by its names.
    """
    if not suspicion.tensor:
        return Shown()
    fed = _in_the_artifacts_layout(laboratory, suspicion, part, tensors)
    whole = laboratory.artifact()
    cut = laboratory.opened(whole.folder, whole.signature, cut=(fed, [suspicion.tensor]))
    if isinstance(cut, str):
        return Shown(inferred=(f"its part of the artifact does not stand alone: {cut}",))
    inputs = {spec.name: np.load(fed[spec.path]) for spec in cut.signature.inputs}
    outputs = laboratory.taps(cut, laboratory.keep(inputs))
    if isinstance(outputs, str):
        return Shown(inferred=(f"its part of the artifact does not run alone: {outputs}",))
    (shown,) = cut.signature.outputs
    actual = np.load(outputs[shown.path])
    given = np.load(next(iter(part.computed.values())))
    expected = given.transpose(suspicion.axes).reshape(actual.shape) if given.size == actual.size else given
    apart = _distance(expected, actual)
    if not apart > suspicion.limit:
        said = "its part of the artifact, alone and fed the original's own inputs, agrees: it goes wrong in company"
        return Shown(inferred=(said,))
    said = f"its part of the artifact, alone and fed the original's own inputs, is off by {apart:.1e} of its scale"
    exhibit = ReproductionCase(
        format=laboratory.subject.artifact.format,
        runtime=laboratory.subject.row.name,
        artifact=cut.folder,
        what="the suspect's part, cut out of the artifact",
        inputs=inputs,
        output=shown.native if laboratory.subject.artifact.format == "onnx" else shown.name,
        expected=expected,
        layer=part.model,
    )
    return Shown(confirmed=(said,), exhibit=exhibit)


def _in_the_artifacts_layout(
    laboratory: Laboratory, suspicion: Suspicion, part: Part, tensors: Files
) -> dict[str, Path]:
    """What the suspect takes, as the original computes it, in the place of each tensor that holds it."""
    folder = laboratory.folder("fed")
    fed: dict[str, Path] = {}
    for value, path in part.fed.items():
        array = np.load(path)
        for match in suspicion.feeds.get(value, ()):
            example = np.load(tensors[match.tensor])
            like = array.transpose(match.axes).reshape(example.shape).astype(example.dtype)
            fed[match.tensor] = folder / f"{len(fed)}.npy"
            np.save(fed[match.tensor], np.ascontiguousarray(like))
    return fed


def try_anew(laboratory: Laboratory, part: Part) -> Trial:
    """Exports a part that could be saved, and runs it."""
    if part.model is None or part.inputs is None:
        return Trial(apart=0.0, anew=None, broke=part.refused)
    anew = laboratory.export(part.model)
    if isinstance(anew, str):
        return Trial(apart=float("inf"), anew=None, broke=anew)
    inputs = {name: np.load(part.fed[value]) for name, value in part.inputs.items()}
    outputs = laboratory.taps(anew, laboratory.keep(inputs))
    if isinstance(outputs, str):
        return Trial(apart=float("inf"), anew=anew, broke=outputs)
    pairs = zip(anew.signature.outputs, part.computed.values(), strict=True)
    apart = max(_distance(np.load(path), np.load(outputs[f"output {spec.name}"])) for spec, path in pairs)
    return Trial(apart=apart, anew=anew)


def shown_anew(subject: Subject, part: Part, trial: Trial, limit: float) -> Shown:
    """What the suspect's new export says.

    Args:
        subject: what is looked into.
        part: the suspect alone.
        trial: its new export.
        limit: the distance beyond which it counts as wrong.
    """
    if part.model is None:
        return Shown(inferred=(f"the layer was not exported anew: {part.refused}",))
    if trial.broke:
        return Shown(confirmed=(f"exported anew, the layer alone breaks too: {trial.broke}",))
    if trial.anew is not None and trial.apart > max(limit, WRONG):
        said = (
            f"exported anew, the layer alone is off by {trial.apart:.1e} of its scale as well: the fault is the "
            "converter's or the runtime's"
        )
        exhibit = exhibit_of(subject, part, trial.anew, "the suspect alone, exported anew")
        return Shown(confirmed=(said,), exhibit=exhibit)
    confirmed = f"exported anew, the layer alone agrees ({trial.apart:.1e} of its scale)"
    inferred = (
        "converter and runtime are right about this layer: the artifact holds another one than the model has (stale or "
        "changed weights, another setting), or goes wrong only in company"
    )
    return Shown(confirmed=(confirmed,), inferred=(inferred,))


def exhibit_of(subject: Subject, part: Part, anew: Anew, what: str) -> ReproductionCase:
    """A new export that shows the difference."""
    spec = anew.signature.outputs[0]
    return ReproductionCase(
        format=subject.artifact.format,
        runtime=subject.row.name,
        artifact=anew.folder,
        what=what,
        inputs={name: np.load(part.fed[value]) for name, value in (part.inputs or {}).items()},
        output=spec.native if subject.artifact.format == "onnx" else spec.name,
        expected=np.load(next(iter(part.computed.values()))),
        layer=part.model,
    )


def _distance(expected: np.ndarray, actual: np.ndarray) -> float:
    if expected.size != actual.size:
        return float("inf")
    return distance(expected.astype(np.float64).ravel(), actual.astype(np.float64).ravel())
