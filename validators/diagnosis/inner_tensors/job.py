"""Writes a copy of an artifact whose outputs are the artifact's inner tensors.

In: an artifact's folder. Out: a folder that the same runtime loads in the same way, and its `Signature`. With `fed`,
the copy starts from inner tensors as well: it is the part of the artifact between the fed and the wanted tensors.
`EXPOSERS` has a row for each format that can do so. Runs where TensorFlow is.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters.contract import Signature
from validators.diagnosis.inner_tensors import onnx, saved_model, tfjs, tflite
from validators.diagnosis.inner_tensors.contract import CannotCut, Exposer

EXPOSERS: Mapping[str, Exposer] = {
    "saved_model": saved_model.write,
    "tflite": tflite.write,
    "tfjs": tfjs.write,
    "onnx": onnx.write,
}
"""Formats whose inner tensors a diagnosis can expose; cells of others are compared by their outputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposeRequest:
    """Names a copy of an artifact to write.

    Attributes:
        format: of the artifact.
        artifact: its folder.
        destination: folder to create.
        signature: of the artifact.
        fed: tensors to start from -> `.npy` with an example; None for the artifact's own inputs.
        wanted: tensors to expose; None for all.
    """

    format: str
    artifact: Path
    destination: Path
    signature: Signature
    fed: Mapping[str, Path] | None
    wanted: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExposedCopy:
    """Holds the signature of a copy with exposed inner tensors, or the reason why there is none."""

    signature: Signature | None = None
    refused: str | None = None


def expose_inner_tensors(request: ExposeRequest) -> ExposedCopy:
    """Writes a copy of an artifact that exposes its inner tensors."""
    exposer = EXPOSERS.get(request.format)
    if exposer is None:
        return ExposedCopy(refused=f"inner tensors of the format {request.format} cannot be exposed")
    shutil.copytree(request.artifact, request.destination)
    try:
        signature = exposer(
            request.artifact,
            request.destination,
            request.signature,
            fed=None if request.fed is None else {name: np.load(path) for name, path in request.fed.items()},
            wanted=request.wanted,
        )
    except CannotCut as error:
        return ExposedCopy(refused=error.message)
    return ExposedCopy(signature=signature)
