"""Holds what the stages of one release hand to each other; `flows.pipeline.run` fills it."""

from dataclasses import dataclass, field, replace
from typing import TypeVar

from exporters.contract import Artifact
from exporters.jobs import Outcome
from exporters.lowering.tracing.job import Lowered
from flows.pipeline.baseline import BaselineRelease
from flows.pipeline.exports import AdmittedModel
from validators.contract import Cell, ComparisonBasis, NoiseBySet
from validators.reference.job import Reference


@dataclass(slots=True, kw_only=True)
class StageResults:
    """Holds the results of the stages so far; each field is set once, by the stage of that name.

    Attributes:
        baseline: the release that this one is compared with; None where none was named.
        admission: the admitted model.
        lowering: how the trace ended; exports take the forms from it.
        reference: the original's outputs.
        noise: the original's own rounding.
        artifacts: by `format/variant`.
        cells: by `Cell.key`.
    """

    baseline: BaselineRelease | None = None
    admission: AdmittedModel | None = None
    lowering: Outcome[Lowered] | None = None
    reference: Reference | None = None
    noise: NoiseBySet | None = None
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)

    def admitted(self) -> AdmittedModel:
        return _result_of(self.admission, "admission")

    def lowered(self) -> Outcome[Lowered]:
        return _result_of(self.lowering, "lowering")

    def referred(self) -> Reference:
        return _result_of(self.reference, "reference")

    def grounds(self) -> ComparisonBasis:
        """Returns what the comparisons rest on, the measured noise included."""
        grounds = self.referred().grounds
        return replace(grounds, noise=self.noise) if self.noise is not None else grounds


Result = TypeVar("Result")


def _result_of(result: Result | None, stage: str) -> Result:
    """Returns the result of a stage that the asking stage waits for."""
    if result is None:
        msg = f"a stage ran before `{stage}`, which it takes its input from"
        raise RuntimeError(msg)
    return result
