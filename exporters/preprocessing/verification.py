"""Proves a description: compares the interpreter with the model's own preprocessing, element by element.

In: the traced function of the whole model and its split. Out: nothing, or an error that names the tensor and the
input: a description that is not exact is never written. `probes` chooses the inputs. Later, the reference's samples go
through the interpreter and the core together (`validators.cells.job`); a difference is attributed to the right half.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from exporters.preprocessing.graph_split import GraphSplit
from exporters.preprocessing.interpreter import Interpreter
from exporters.preprocessing.trial_inputs import probes

_CALLS = 64  # of one row, or of a fixed batch


def prove(concrete: Any, split: GraphSplit) -> None:
    """Raises RuntimeError when the description and the model's own preprocessing differ, or when both refuse all.

    Args:
        concrete: the traced function of the whole model, which takes the model's inputs by name.
        split: where it is cut.
    """
    half = _half(concrete, split)
    interpreter = Interpreter(split.preprocessing)
    shapes = _shapes(concrete, split)
    parts = [
        {name: array[places] for name, array in rows.items()}
        for rows in probes(split.preprocessing, shapes)
        for places in _calls(len(next(iter(rows.values()))), shapes)
    ]
    taken = [_same(half, interpreter, part) for part in parts]
    if not any(taken):
        raise RuntimeError(
            "the model's own preprocessing refuses every text and number that its description is tried on"
        )


def _calls(count: int, shapes: Sequence[TensorSpec]) -> Iterator[np.ndarray]:
    """Yields the rows of each call: all together where the batch is free, and some in calls of the smallest batch."""
    fixed = next((spec.shape[0] for spec in shapes if spec.shape[0] is not None), None)
    if fixed is None and count:
        yield np.arange(count)
    size = fixed or 1
    calls = -(-count // size)
    for call in range(0, calls, max(1, calls // _CALLS)):
        yield np.arange(call * size, (call + 1) * size) % count


def _shapes(concrete: Any, split: GraphSplit) -> tuple[TensorSpec, ...]:
    """Returns the model's inputs with the shapes that were traced."""
    traced = {tensor.op.name: tuple(tensor.shape) for tensor in concrete.inputs}
    return tuple(replace(spec, shape=traced[spec.name]) for spec in split.preprocessing.description.inputs)


def _half(concrete: Any, split: GraphSplit) -> Any:
    """Returns the model's own preprocessing as a function of its inputs by name."""
    import tensorflow as tf
    from tensorflow.python.eager.wrap_function import VariableHolder, WrappedFunction

    names = [spec.name for spec in split.preprocessing.description.inputs]
    feeds = [concrete.graph.get_tensor_by_name(f"{name}:0") for name in names]
    fetches = {cut.spec.name: cut.tensor for cut in split.cuts}
    pruned = WrappedFunction(concrete.graph, variable_holder=VariableHolder()).prune(feeds, fetches)
    return lambda inputs: pruned(*(tf.constant(inputs[name]) for name in names))


def _same(half: Any, interpreter: Interpreter, rows: Mapping[str, np.ndarray[Any, Any]]) -> bool:
    """Tells whether both halves took the rows, and raises RuntimeError where they differ; False when both refuse."""
    import tensorflow as tf

    try:
        expected = {name: tensor.numpy() for name, tensor in half(dict(rows)).items()}
    except tf.errors.OpError:
        expected = None
    try:
        got = interpreter.run(rows)
    except BadInput:
        got = None
    if expected is None or got is None:
        if expected is None and got is None:
            return False
        raise RuntimeError(f"the description and the model disagree on whether {_shown(rows)} is refused")
    for name, array in expected.items():
        if array.shape != got[name].shape or not np.array_equal(array, got[name], equal_nan=array.dtype.kind == "f"):
            raise RuntimeError(f"the description computes another `{name}` than the model, from {_shown(rows)}")
    return True


def _shown(rows: Mapping[str, np.ndarray[Any, Any]]) -> str:
    return ", ".join(f"{name}={array.tolist()!r}"[:120] for name, array in rows.items())
