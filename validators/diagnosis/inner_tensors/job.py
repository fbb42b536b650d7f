"""Writes a copy of an artifact that shows what is inside: its outputs are the artifact's inner tensors.

In: an artifact's folder. Out: a folder that the same runtime loads in the same way, and its `Signature`. With `fed`,
the copy starts from inner tensors as well: it is the part of the artifact between them and what is wanted. Every format
has a module `FORMAT` with one function of that kind. Runs where TensorFlow is.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy as np

from exporters.contract import Signature, TensorSpec
from exporters.errors import ParitygateError


class CannotCut(ParitygateError):
    """The artifact computes the wanted tensors from more than what is to be fed."""


class Opener(Protocol):
    """What a module `FORMAT` offers as `write`."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """A copy of an artifact to write.

    Attributes:
        format: of the artifact.
        artifact: its folder.
        destination: folder to create.
        signature: of the artifact.
        fed: tensors to start from -> `.npy` with an example; None for the artifact's own inputs.
        wanted: tensors to show; None for all.
    """

    format: str
    artifact: Path
    destination: Path
    signature: Signature
    fed: Mapping[str, Path] | None
    wanted: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A copy that shows inner tensors: its signature, or why the artifact cannot be cut so."""

    signature: Signature | None = None
    refused: str | None = None


def open_artifact(request: OpenRequest) -> Opened:
    """Writes a copy of an artifact that shows its inner tensors."""
    opener: Opener = import_module(f"validators.diagnosis.inner_tensors.{request.format}").write
    shutil.copytree(request.artifact, request.destination)
    try:
        signature = opener(
            request.artifact,
            request.destination,
            request.signature,
            fed=None if request.fed is None else {name: np.load(path) for name, path in request.fed.items()},
            wanted=request.wanted,
        )
    except CannotCut as error:
        return Opened(refused=error.message)
    return Opened(signature=signature)


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
