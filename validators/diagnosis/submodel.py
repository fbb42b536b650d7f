"""Builds models from some layers of another: only the suspect, or the model up to it.

In: a recorded run of the original. Out: a `.keras` file, to export again and for a reproduction. Runs where TensorFlow
is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from validators.diagnosis.contract import Arrays, Call, Part
from validators.diagnosis.layer_recorder import LayerRecorder, to_array
from validators.diagnosis.tensor_match import distance

_SAME = 1e-5
"""Largest difference between a separate layer and that in the model, as a share of its scale: summation order."""


def leading_to(recorder: LayerRecorder, last: Call) -> list[int] | str:
    """Returns the calls from the model's inputs to one call, it included, in order; or why they are not known."""
    needed: set[int] = set()
    pending = [last.number]
    while pending:
        call = recorder.calls[pending.pop()]
        if any(value.startswith("?") for value in call.inputs):
            return f"`{call.layer}` takes a value that the model computes between its layers"
        if call.number not in needed:
            needed.add(call.number)
            pending += [int(value.partition(".")[0]) for value in call.inputs if value[0].isdigit()]
    return sorted(needed)


def save(recorder: LayerRecorder, numbers: Sequence[int], path: Path, expected: Arrays) -> Part:
    """Saves the layers of some calls as a model: its inputs are what they take from outside.

    Args:
        recorder: a run of the original.
        numbers: of the calls, in order.
        path: of the `.keras` file.
        expected: the outputs of the last of them. A separate layer that computes something else (it lacks a mask that
            came with its input) is no evidence, and is refused.

    Returns:
        The file and its inputs, or why there is none.
    """
    framework = recorder.framework
    values: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    fed: dict[str, Any] = {}
    names: dict[str, str] = {}
    for number in numbers:
        call, layer, (arguments, options) = recorder.calls[number], recorder.layers[number], recorder.arguments[number]
        symbols = {}
        for value, tensor in zip(call.inputs, framework.tensors((arguments, options)), strict=True):
            if value not in values:
                name = f"x{len(inputs)}"
                shape = (None, *tensor.shape[1:]) if tensor.shape.rank else ()
                inputs[name] = framework.keras.Input(batch_shape=shape, dtype=tensor.dtype.name, name=name)
                values[value], names[name], fed[name] = inputs[name], value, tensor
            symbols[id(tensor)] = values[value]
        positional, keywords = framework.map(_put(symbols), (arguments, _neutral(options)))
        outputs = framework.flat(layer(*positional, **keywords))
        values |= {call.value(k): output for k, output in enumerate(outputs)}
    last = recorder.calls[numbers[-1]]
    outputs = [values[last.value(k)] for k in range(last.outputs)]
    try:
        model = framework.keras.Model(_only(list(inputs.values())), _only(outputs))
        model.save(path)
    except (ValueError, TypeError, NotImplementedError, AttributeError) as error:
        return Part(refused=f"Keras cannot save it as a model of its own: {' '.join(str(error).split())[:300]}")
    again = framework.tensors(model(_only(list(fed.values())), training=False))
    if not all(_agree(array, to_array(tensor)) for array, tensor in zip(expected, again, strict=True)):
        return Part(refused="outside of the model it computes something else; a mask may have come with its input")
    return Part(model=path, inputs=names)


def _agree(expected: np.ndarray, got: np.ndarray) -> bool:
    same = expected.shape == got.shape
    return same and distance(expected.astype(np.float64).ravel(), got.astype(np.float64).ravel()) <= _SAME


def _only(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors


def _neutral(options: dict[str, Any]) -> dict[str, Any]:
    # `training` is decided when the saved model is called, not fixed in its layers.
    return {key: value for key, value in options.items() if key != "training"}


def _put(symbols: Mapping[int, Any]) -> Any:
    """Returns a function that replaces tensors by their symbols."""
    return lambda leaf: symbols.get(id(leaf), leaf)
