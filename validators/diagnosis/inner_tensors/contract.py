"""Defines what opens the artifacts of a format: a function that writes a copy which shows inner tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from exporters.contract import Signature, TensorSpec
from exporters.errors import ParitygateError


class CannotCut(ParitygateError):
    """The artifact computes the wanted tensors from more than what is to be fed."""


class Opener(Protocol):
    """Writes an opened copy of an artifact; a row of `OPENERS` for each format that can be opened."""

    def __call__(
        self,
        artifact: Path,
        destination: Path,
        signature: Signature,
        *,
        fed: Mapping[str, np.ndarray] | None,
        wanted: Sequence[str] | None,
    ) -> Signature:
        """Writes the copy.

        Args:
            artifact: folder of the artifact.
            destination: a copy of that folder, to be changed.
            signature: of the artifact.
            fed: tensors to start from, each with an example; None for the artifact's own inputs.
            wanted: tensors to show; None for all inner ones, and the artifact's own outputs. In both, `input NAME` and
                `output NAME` are the artifact's own under their canonical names.

        Returns:
            What the copy takes and gives; `path` of an inner tensor is the artifact's name for it.

        Raises:
            CannotCut: see there.
        """
        ...


def spec(name: str, tensor: str, *, native: str, example: np.ndarray | None = None) -> TensorSpec:
    """The spec of an inner tensor; of one that is only shown, type and shape are the runtime's to tell.

    Args:
        name: what the copy calls it in its signature.
        tensor: what the artifact calls it; kept as `path`.
        native: what the copy's runtime calls it.
        example: of its values.
    """
    dtype = "float32" if example is None else example.dtype.name
    shape = () if example is None else (None, *example.shape[1:])[: example.ndim]
    return TensorSpec(name=name, dtype=dtype, shape=shape, native=native, path=tensor)
