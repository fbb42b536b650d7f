"""The job that holds an artifact's inner tensors against the original, layer by layer.

In: the admitted model, one call's inputs, and what `taps` kept. Out: the `Suspicion` and what shows it: for the suspect
its layer alone as a `.keras` file, its inputs and outputs. Runs where TensorFlow is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from exporters.source.keras.loading import load
from exporters.source.keras.model import SourceModel
from validators.diagnosis.contract import Arrays, Call, Suspicion
from validators.diagnosis.layer_recorder import Tape, runner
from validators.diagnosis.search import search
from validators.diagnosis.submodel import leading_to, save
from validators.samples.tensor_files import read_tensors


def loaded(request: Mapping[str, Any]) -> SourceModel:
    """The model of a request, see `exporters.source.keras.model.load`."""
    return load(
        Path(request["model"]),
        architecture=request["architecture"],
        custom_objects=request["custom_objects"],
        trust_lambda=request["trust_lambda"],
        input_shapes=request["input_shapes"],
    )


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: searches.

    Args:
        request: what `load` takes, `inputs` (folder of tensors), `tensors` (the artifact's name -> `.npy`) and
            `outputs` (canonical name -> `.npy`).

    Returns:
        `suspicion`, and `calls`: every layer that ran, in order.
    """
    model = loaded(request)
    inputs = read_tensors(Path(request["inputs"]))
    suspicion = search(runner(model, inputs), _read(request["tensors"]), _read(request["outputs"]))
    tape = Tape(model)
    tape.run(model, inputs)
    return {
        "suspicion": TypeAdapter(Suspicion).dump_python(suspicion, mode="json"),
        "calls": TypeAdapter(tuple[Call, ...]).dump_python(tuple(tape.calls), mode="json"),
    }


def part(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: the reference of some layers, and one model that is only they.

    Args:
        request: what `load` takes, `inputs`, `calls` (numbers of calls, in order), `until` (whether the part is all
            that leads from the inputs to the last call; else it is the calls alone) and `destination` (to create).

    Returns:
        `fed` and `given`: value -> `.npy` of what the calls take from outside, and of what the last one gives, as the
        original computes them; `model`: the `.keras` file with `inputs`, its input name -> value, or `refused`: why
        there is none.
    """
    model = loaded(request)
    folder = Path(request["destination"])
    folder.mkdir(parents=True)
    seen: dict[int, tuple[Arrays, Arrays]] = {}

    def visit(call: Call, inputs: Arrays, outputs: Arrays) -> Arrays:
        seen[call.number] = inputs, outputs
        return outputs

    tape = Tape(model, visit)
    tape.run(model, read_tensors(Path(request["inputs"])))
    numbers = request["calls"]
    last = tape.calls[numbers[-1]]
    leading = leading_to(tape, last) if request["until"] else numbers
    if isinstance(leading, str):
        return {"fed": {}, "given": {}, "refused": leading}
    made = {tape.calls[n].value(k) for n in leading for k in range(tape.calls[n].outputs)}
    fed = {
        value: array
        for n in leading
        for value, array in zip(tape.calls[n].inputs, seen[n][0], strict=True)
        if value not in made
    }
    given = {last.value(k): array for k, array in enumerate(seen[last.number][1])}
    saved = save(tape, leading, folder / "layer.keras", seen[last.number][1])
    return {
        "fed": {value: _kept(folder / f"fed-{k}.npy", array) for k, (value, array) in enumerate(fed.items())},
        "given": {value: _kept(folder / f"given-{k}.npy", array) for k, (value, array) in enumerate(given.items())},
        **saved,
    }


def _kept(path: Path, array: np.ndarray) -> str:
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)
    return str(path)


def _read(files: Mapping[str, str]) -> dict[str, np.ndarray]:
    return {name: np.load(path, allow_pickle=False) for name, path in files.items()}
