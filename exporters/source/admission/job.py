"""Runs admission as a job of a bounded child process."""

from dataclasses import dataclass
from pathlib import Path

from exporters.jobs import GIB, Limits
from exporters.source.admission import admit, check_weights, examine
from exporters.source.facts import ModelFacts

LIMITS = Limits(seconds=120, memory=2 * GIB)
"""Bounds of these jobs: reading a file takes seconds and little memory, whatever the file says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectRequest:
    """Names a model to inspect: its path and, for weights without one, their architecture (see `ModelSource`)."""

    path: Path
    architecture: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmitRequest:
    """Names a model to admit.

    Attributes:
        path, architecture: see `ModelSource`.
        custom_objects, trust_lambda, input_shapes: whether the user gave code, trusts Lambdas, gave shapes.
    """

    path: Path
    architecture: str | None = None
    custom_objects: bool = False
    trust_lambda: bool = False
    input_shapes: bool = False


def inspect_model(request: InspectRequest) -> ModelFacts:
    """Examines a model and reads its weights, without deciding about it.

    Raises:
        BadInput: as `examine` and `check_weights` do.
    """
    facts = examine(request.path, request.architecture)
    check_weights(request.path, request.architecture)
    return facts


def admit_model(request: AdmitRequest) -> ModelFacts:
    """Examines a model, decides about it and reads its weights.

    Raises:
        BadInput: as `examine`, `admit` and `check_weights` do.
    """
    facts = examine(request.path, request.architecture)
    admit(
        facts,
        custom_objects=request.custom_objects,
        trust_lambda=request.trust_lambda,
        input_shapes=request.input_shapes,
    )
    check_weights(request.path, request.architecture)
    return facts
