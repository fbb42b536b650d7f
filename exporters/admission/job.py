"""Admission as a job for a bounded child process.

In: `{"model": PATH, "custom_objects": bool, "trust_lambda": bool}`. Out: the `ModelFacts` as JSON.
"""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.admission import ModelFacts, admit, check_weights, examine


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Examines a model, decides about it and reads its weights.

    Raises:
        BadInput: as `examine`, `admit` and `check_weights` do.
    """
    path = Path(request["model"])
    facts = examine(path)
    admit(facts, custom_objects=request["custom_objects"], trust_lambda=request["trust_lambda"])
    check_weights(path)
    dumped: dict[str, Any] = TypeAdapter(ModelFacts).dump_python(facts, mode="json")
    return dumped
