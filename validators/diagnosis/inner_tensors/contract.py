"""Defines the function that each format provides: it writes a copy of an artifact that exposes inner tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from exporters.contract import Signature, TensorSpec
from exporters.errors import ParitygateError


class CannotCut(ParitygateError):
    """Reports that the artifact computes the wanted tensors from more than the fed ones."""


class Exposer(Protocol):
    """Writes a copy of an artifact that exposes inner tensors; `EXPOSERS` has one for each format that can do so."""

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
            wanted: tensors to expose; None for all inner ones and the artifact's outputs. In `fed` and `wanted`,
                `input NAME` and `output NAME` mean the artifact's inputs and outputs by their canonical names.

        Returns:
            The signature of the copy; `path` of an inner tensor is the artifact's name for it.

        Raises:
            CannotCut: see there.
        """
        ...


def spec(name: str, tensor: str, *, native: str, example: np.ndarray | None = None) -> TensorSpec:
    """Builds the spec of an inner tensor; without an example, only the runtime knows its type and shape.

    Args:
        name: what the copy calls it in its signature.
        tensor: what the artifact calls it; kept as `path`.
        native: what the copy's runtime calls it.
        example: of its values.
    """
    dtype = "float32" if example is None else example.dtype.name
    shape = () if example is None else (None, *example.shape[1:])[: example.ndim]
    return TensorSpec(name=name, dtype=dtype, shape=shape, native=native, path=tensor)
