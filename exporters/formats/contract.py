"""Defines what a format provides: the `Exporter` protocol.

The module of a format is its exporter: the registry refers to the module itself, and mypy compares the module's
functions and constants with the protocol. `tests/contract/test_registries.py` names a member that is missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from exporters.contract import Finding, Signature
from exporters.source.model_source import ModelSource
from exporters.weights.weight_layout import WeightLayout

if TYPE_CHECKING:  # the command line reads the registry and needs no NumPy
    import numpy as np

Options = Mapping[str, str | int | bool]
"""Options of a row, by name, overridden by the user's section of `release.toml`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSource:
    """Holds everything that an exporter may read: `exporters.formats.job` builds it from the request.

    Attributes:
        model: the admitted model and how to load it.
        graph: folder of the lowered graph; None where the row starts from the model.
        shapes: input of the model -> its shape, for a variant in which every axis has a length; None for all others.
    """

    model: ModelSource
    graph: Path | None
    shapes: Mapping[str, tuple[int, ...]] | None

    @property
    def lowered(self) -> Path:
        """Returns the folder of the lowered graph.

        Raises:
            ValueError: the row of the registry starts from the model.
        """
        if self.graph is None:
            msg = f"{self.model.path}: there is no lowered graph; the row of this format must name a form in `source`"
            raise ValueError(msg)
        return self.graph


@runtime_checkable
class Exporter(Protocol):
    """Lists everything that a format provides. Heavy packages are imported inside of the functions.

    Attributes:
        TITLE: the format's name in a sentence, e.g. `TF Lite`.
        WEIGHTS: how the format stores the weights of a model.
    """

    TITLE: str
    WEIGHTS: WeightLayout

    def export(self, source: ExportSource, destination: Path, options: Options, /) -> Signature:
        """Writes the artifact and nothing else: hashing, atomic placement and provenance are done by the caller.

        Args:
            source: the model, and the lowered graph where the row of the registry names a form.
            destination: folder to create.
            options: see `Options`; for a row without any it is empty.

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
