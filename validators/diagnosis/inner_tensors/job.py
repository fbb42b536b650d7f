"""Writes a copy of an artifact that shows what is inside: its outputs are the artifact's inner tensors.

In: an artifact's folder. Out: a folder that the same runtime loads in the same way, and its `Signature`. With `fed`,
the copy starts from inner tensors as well: it is the part of the artifact between them and what is wanted. A format
that can be opened has a row in `OPENERS`. Runs where TensorFlow is.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

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


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: writes an opened copy.

    Args:
        request: `format`, `artifact`, `destination` (to create), `signature`, `fed` (tensor -> `.npy`, or None) and
            `wanted` (or None).

    Returns:
        `signature`, or `refused`: why the artifact cannot be cut so.
    """
    opener = OPENERS.get(request["format"])
    if opener is None:
        return {"refused": f"artifacts of the format {request['format']} cannot be opened"}
    artifact, destination = Path(request["artifact"]), Path(request["destination"])
    shutil.copytree(artifact, destination)
    fed = request["fed"]
    try:
        signature = opener(
            artifact,
            destination,
            TypeAdapter(Signature).validate_python(request["signature"]),
            fed=None if fed is None else {name: np.load(path) for name, path in fed.items()},
            wanted=request["wanted"],
        )
    except CannotCut as error:
        return {"refused": error.message}
    return {"signature": TypeAdapter(Signature).dump_python(signature, mode="json")}
