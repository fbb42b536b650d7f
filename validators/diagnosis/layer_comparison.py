"""Compares an artifact's inner tensors with the original, layer by layer, as a job.

In: the admitted model, one call's inputs, and the tensors from `tensor_capture`. Out: the `Suspicion`, and its proof:
only the suspected layer as a `.keras` file, its inputs and outputs. Runs where TensorFlow is.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from exporters.source.keras.loading import load
from exporters.source.model_source import ModelSource
from validators.diagnosis.contract import Arrays, Call, Files, Part, Suspicion
from validators.diagnosis.layer_recorder import LayerRecorder, runner
from validators.diagnosis.search import search
from validators.diagnosis.submodel import leading_to, save
from validators.samples.tensor_files import read_tensors


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """Names an artifact's tensors to compare with the original's.

    Attributes:
        model: the admitted model.
        inputs: folder of tensors.
        tensors: the artifact's name of a tensor -> `.npy`.
        outputs: canonical name -> `.npy`.
    """

    model: ModelSource
    inputs: Path
    tensors: Files
    outputs: Files


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Holds the layer that the artifact gets wrong, and every layer that ran, in order."""

    suspicion: Suspicion
    calls: tuple[Call, ...]


def search_layers(request: SearchRequest) -> SearchResult:
    """Searches for the first layer that the artifact gets wrong."""
    model = load(request.model)
    inputs = read_tensors(request.inputs)
    suspicion = search(runner(model, inputs), _read(request.tensors), _read(request.outputs))
    # The search runs the model many times, also with replaced tensors; one more run lists the calls for the report.
    recorder = LayerRecorder(model)
    recorder.run(model, inputs)
    return SearchResult(suspicion=suspicion, calls=tuple(recorder.calls))


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRequest:
    """Names layers of a model to cut out.

    Attributes:
        model: the admitted model.
        inputs: folder of tensors.
        calls: numbers of calls, in order.
        until: whether the part is everything from the inputs to the last call; otherwise it is only these calls.
        destination: folder to create.
    """

    model: ModelSource
    inputs: Path
    calls: tuple[int, ...]
    until: bool
    destination: Path


def cut_part(request: PartRequest) -> Part:
    """Computes the reference of some layers, and saves a model of only these."""
    model = load(request.model)
    folder = request.destination
    folder.mkdir(parents=True)
    seen: dict[int, tuple[Arrays, Arrays]] = {}

    def visit(call: Call, inputs: Arrays, outputs: Arrays) -> Arrays:
        seen[call.number] = inputs, outputs
        return outputs

    recorder = LayerRecorder(model, visit)
    recorder.run(model, read_tensors(request.inputs))
    numbers = request.calls
    last = recorder.calls[numbers[-1]]
    leading = leading_to(recorder, last) if request.until else numbers
    if isinstance(leading, str):
        return Part(refused=leading)
    made = {recorder.calls[n].value(k) for n in leading for k in range(recorder.calls[n].outputs)}
    fed = {
        value: array
        for n in leading
        for value, array in zip(recorder.calls[n].inputs, seen[n][0], strict=True)
        if value not in made
    }
    saved = save(recorder, leading, folder / "layer.keras", seen[last.number][1])
    return replace(
        saved,
        fed={value: _kept(folder / f"fed-{k}.npy", array) for k, (value, array) in enumerate(fed.items())},
        computed={
            last.value(k): _kept(folder / f"computed-{k}.npy", array) for k, array in enumerate(seen[last.number][1])
        },
    )


def _kept(path: Path, array: np.ndarray) -> Path:
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)
    return path


def _read(files: Files) -> dict[str, np.ndarray]:
    return {name: np.load(path, allow_pickle=False) for name, path in files.items()}
