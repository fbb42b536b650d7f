"""Defines what a format provides: the `Exporter` protocol.

The module of a format is its exporter: the registry refers to the module itself, and mypy compares the module's
functions and constants with the protocol. `tests/contract/test_registries.py` names a member that is missing.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from exporters.contract import Finding, Signature
from exporters.weights.weight_layout import WeightLayout

if TYPE_CHECKING:  # the command line reads the registry and needs no NumPy
    import numpy as np


@runtime_checkable
class Exporter(Protocol):
    """Everything that a format provides. Heavy packages are imported inside of the functions.

    Attributes:
        TITLE: the format's name in a sentence, e.g. `TF Lite`.
        WEIGHTS: how the format stores the weights of a model.
    """

    TITLE: str
    WEIGHTS: WeightLayout

    def export(self, source: Path, destination: Path, options: Mapping[str, Any], /) -> Signature:
        """Writes the artifact and nothing else: hashing, atomic placement and provenance are done by the caller.

        Args:
            source: the model or a lowered graph, as the row of the registry says.
            destination: folder to create.
            options: of the row, overridden by the user's section of `release.toml`.

        Returns:
            The artifact's inputs and outputs, with the artifact's own names as `native`.

        Raises:
            Limited: the target cannot express this model.
        """
        ...

    def check(self, artifact: Path, signature: Signature, /) -> tuple[Finding, ...]:
        """Finds what the format's runtimes cannot run, before one of them is started."""
        ...

    def constants(self, artifact: Path, /) -> "Mapping[str, np.ndarray]":
        """Reads every constant of the artifact: the format's name for it -> array, in the type that is stored."""
        ...
