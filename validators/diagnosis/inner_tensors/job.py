"""Writes a copy of an artifact that shows what is inside: its outputs are the artifact's inner tensors.

In: an artifact's folder. Out: a folder that the same runtime loads in the same way, and its `Signature`. With `fed`,
the copy starts from inner tensors as well: it is the part of the artifact between them and what is wanted. A format
that can be opened has a row in `OPENERS`. Runs where TensorFlow is.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters.contract import Signature
from validators.diagnosis.inner_tensors import onnx, saved_model, tfjs, tflite
from validators.diagnosis.inner_tensors.contract import CannotCut, Opener

OPENERS: Mapping[str, Opener] = {
    "saved_model": saved_model.write,
    "tflite": tflite.write,
    "tfjs": tfjs.write,
    "onnx": onnx.write,
}
"""The formats that a diagnosis can open; cells of another one are compared by their outputs."""


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
    opener = OPENERS.get(request.format)
    if opener is None:
        return Opened(refused=f"artifacts of the format {request.format} cannot be opened")
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
