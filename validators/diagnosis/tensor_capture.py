"""Runs an artifact in its runtime over one call's inputs and stores every tensor that it returns.

In: an artifact, or a copy of it that shows its inner tensors (`validators.diagnosis.inner_tensors`), a row of
`validators.runtimes.registry` and inputs. Out: a folder of `.npy`, and the tensor in each. Runs where a cell of that
runtime runs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters.contract import Signature
from validators.contract import Device, Placement
from validators.runtimes.registry import runtime
from validators.runtimes.with_preprocessing import preprocessed
from validators.samples.tensor_files import read_tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest:
    """Names one call to make.

    Attributes:
        artifact: its folder.
        signature: of the artifact.
        preprocessing: see `Artifact.preprocessing`.
        runtime, device: a row of the registry.
        options: for the runtime; they override the row's.
        inputs: folder of tensors.
        destination: folder to create.
    """

    artifact: Path
    signature: Signature
    preprocessing: str
    runtime: str
    device: Device
    options: Mapping[str, str]
    inputs: Path
    destination: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """Holds the tensors of one call.

    Attributes:
        tensors: name -> `.npy`; a tensor of the signature by its canonical name, others by the artifact's name.
        placement: where the call ran.
    """

    tensors: Mapping[str, Path]
    placement: Placement


def capture_tensors(request: CaptureRequest) -> Captured:
    """Makes one call and stores its tensors."""
    row = runtime(request.runtime, request.device)
    options = {**row.options, **request.options}
    with row.module.load(request.artifact, request.signature, row.device, options) as loaded:
        fed: dict[str, np.ndarray] = {}

        def infer(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            fed.update(inputs)
            outputs: dict[str, np.ndarray] = loaded.infer(inputs)
            return outputs

        whole = preprocessed(infer, request.artifact, request.preprocessing, request.signature)
        outputs = whole(read_tensors(request.inputs))
        placement = loaded.placement
    request.destination.mkdir(parents=True)
    tensors = {}
    for number, (name, array) in enumerate([*((f"input {n}", a) for n, a in fed.items()), *outputs.items()]):
        if array.dtype.kind in "biufc":  # text has no distance to compare
            tensors[name] = request.destination / f"{number}.npy"
            np.save(tensors[name], np.ascontiguousarray(array))
    return Captured(tensors=tensors, placement=placement)
