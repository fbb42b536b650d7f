"""Models made of some layers of another: the suspect alone, and the model up to it.

In: a `Tape` of the original. Out: a `.keras` file, for exporting anew and for a reproduction. Runs where TensorFlow is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from validators.diagnosis.contract import Call
from validators.diagnosis.tape import Tape


def save_alone(tape: Tape, numbers: Sequence[int], path: Path) -> dict[str, Any]:
    """Saves the layers of some calls as a model: its inputs are what they take from outside.

    Returns:
        `model` and `inputs` (name -> value), or `refused`.
    """
    framework = tape.framework
    values: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    names: dict[str, str] = {}

    for number in numbers:
        call, layer, (arguments, options) = tape.calls[number], tape.layers[number], tape.arguments[number]
        tensors = framework.tensors((arguments, options))
        symbols = {}
        for value, tensor in zip(call.inputs, tensors, strict=True):
            if value not in values:
                name = f"x{len(inputs)}"
                shape = (None, *tensor.shape[1:]) if tensor.shape.rank else ()
                inputs[name] = framework.keras.Input(batch_shape=shape, dtype=tensor.dtype.name, name=name)
                values[value], names[name] = inputs[name], value
            symbols[id(tensor)] = values[value]
        given, named = framework.map(_put(symbols), (arguments, _neutral(options)))
        outputs = framework.flat(layer(*given, **named))
        values |= {call.value(k): output for k, output in enumerate(outputs)}
    last = tape.calls[numbers[-1]]
    return _saved(framework, list(inputs.values()), [values[last.value(k)] for k in range(last.outputs)], path, names)


def save_until(tape: Tape, last: Call, path: Path) -> dict[str, Any]:
    """Saves the model from its inputs up to one call, by running that part of it over symbols.

    Returns:
        As `save_alone`.
    """
    needed: set[int] = set()
    pending = [last.number]
    while pending:
        number = pending.pop()
        if number in needed:
            continue
        needed.add(number)
        if any(value.startswith("?") for value in tape.calls[number].inputs):
            return {"refused": f"`{tape.calls[number].layer}` takes what the model computes between its layers"}
        pending += [int(value.partition(".")[0]) for value in tape.calls[number].inputs if value[0].isdigit()]
    return save_alone(tape, sorted(needed), path)


def _neutral(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "training"}


def _put(symbols: Mapping[int, Any]) -> Any:
    """What puts symbols in the places of tensors."""
    return lambda leaf: symbols.get(id(leaf), leaf)


def _saved(framework: Any, inputs: list[Any], outputs: list[Any], path: Path, names: dict[str, str]) -> dict[str, Any]:
    single = len(inputs) == 1
    try:
        model = framework.keras.Model(inputs[0] if single else inputs, outputs[0] if len(outputs) == 1 else outputs)
        model.save(path)
    except (ValueError, TypeError, NotImplementedError, AttributeError) as error:
        return {"refused": f"Keras cannot save it alone: {' '.join(str(error).split())[:300]}"}
    return {"model": str(path), "inputs": names}
