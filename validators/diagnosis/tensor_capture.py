"""Runs an artifact in its runtime over one call's inputs and keeps everything it gives.

In: a JSON request that names an artifact (or an opened copy of it, see `opened`), a row of
`validators.runtimes.registry` and inputs. Out: a folder of `.npy` and which tensor each is. Runs where a cell of that
runtime runs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from exporters.contract import Signature
from validators.contract import Placement
from validators.runtimes.registry import runtime
from validators.runtimes.with_preprocessing import preprocessed
from validators.samples.tensor_files import read_tensors


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: one call.

    Args:
        request: `artifact` (folder), `signature`, `preprocessing` (see `validators.cells.job`), `runtime`, `device`,
            `options` (instead of the row's own of that name), `inputs` (folder of tensors) and `destination` (folder to
            create).

    Returns:
        `tensors`: name -> file; a tensor that the signature knows by its canonical name, others by their own. And
        `placement`.
    """
    row = runtime(request["runtime"], request["device"])
    signature = TypeAdapter(Signature).validate_python(request["signature"])
    artifact, destination = Path(request["artifact"]), Path(request["destination"])
    options = {**row.options, **request["options"]}
    with row.module.load(artifact, signature, row.device, options) as loaded:
        fed: dict[str, np.ndarray] = {}

        def infer(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            fed.update(inputs)
            outputs: dict[str, np.ndarray] = loaded.infer(inputs)
            return outputs

        whole = preprocessed(infer, artifact, request["preprocessing"], signature)
        outputs = whole(read_tensors(Path(request["inputs"])))
        placement = loaded.placement
    destination.mkdir(parents=True)
    tensors = {}
    for number, (name, array) in enumerate([*((f"input {n}", a) for n, a in fed.items()), *outputs.items()]):
        if array.dtype.kind in "biufc":
            tensors[name] = str(destination / f"{number}.npy")
            np.save(tensors[name], np.ascontiguousarray(array))
    return {"tensors": tensors, "placement": TypeAdapter(Placement).dump_python(placement, mode="json")}
