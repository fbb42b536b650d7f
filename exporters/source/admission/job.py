"""Admission as a job for a bounded child process.

In: `{"model": PATH, "architecture": text, "custom_objects": bool, "trust_lambda": bool, "input_shapes": bool}`, where
the last three say what the user gave. Out: the `ModelFacts` as JSON.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from exporters.jobs import GIB, Limits
from exporters.source.admission import admit, check_weights, examine

LIMITS = Limits(seconds=120, memory=2 * GIB)
"""Bounds of these jobs: reading a file takes seconds and little memory, whatever the file says."""


def look(request: dict[str, Any]) -> dict[str, Any]:
    """Examines a model and reads its weights, without deciding about it: `model` and `architecture` are all it takes.

    Raises:
        BadInput: as `examine` and `check_weights` do.
    """
    path, architecture = Path(request["model"]), request.get("architecture", "")
    facts = examine(path, architecture)
    check_weights(path, architecture)
    return asdict(facts)


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Examines a model, decides about it and reads its weights.

    Raises:
        BadInput: as `examine`, `admit` and `check_weights` do.
    """
    path, architecture = Path(request["model"]), request.get("architecture", "")
    facts = examine(path, architecture)
    admit(
        facts,
        custom_objects=request["custom_objects"],
        trust_lambda=request["trust_lambda"],
        input_shapes=request.get("input_shapes", False),
    )
    check_weights(path, architecture)
    return asdict(facts)
