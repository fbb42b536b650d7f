"""Traces which tables a layer looks an input up in, whatever the layer is called and contains.

In: a Keras graph, one of its inputs and a layer's outputs. Out: the number of rows of each table. A table of positions
inside the layer does not count, since no value of the input is looked up in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from typing import Any

from exporters.source.keras.graph_function import graph_function

_SAME = frozenset(
    (
        *("BroadcastTo", "Cast", "ConcatV2", "ExpandDims", "Identity", "IdentityN", "Pack", "Reshape", "SelectV2"),
        *("Squeeze", "StopGradient", "StridedSlice", "Tile", "Transpose", "Unpack"),
    )
)
"""Operations that do not change an index; `SelectV2` chooses between it and one from the end."""


def rows_looked_up(graph: Any, start: Any, outputs: Sequence[Any]) -> list[int]:
    """Returns the number of rows of every table that an input is an index into.

    Args:
        graph: a functional model of Keras 2 or 3.
        start: one of its inputs.
        outputs: symbolic tensors of the graph, which are traced from its inputs.
    """
    import tensorflow as tf

    keras_package = import_module("tf_keras" if type(graph).__module__.startswith("tf_keras.") else "keras")
    inputs = list(graph.inputs)
    model = keras_package.Model(inputs, list(outputs))

    @graph_function
    def called(*tensors: Any) -> Any:
        return model(list(tensors), training=False)

    traced = called.get_concrete_function(*(tf.TensorSpec(each.shape, each.dtype) for each in inputs))
    position = next(i for i, each in enumerate(inputs) if each is start)
    shapes = {id(variable.handle): variable.shape for variable in traced.variables}
    captured = traced.inputs[len(inputs) :]
    tables = {
        tensor.name: shapes[id(outside)]
        for tensor, outside in zip(captured, traced.captured_inputs, strict=True)
        if id(outside) in shapes
    }
    return list(_rows(traced.inputs[position], tables))


def _rows(start: Any, tables: Mapping[str, Any]) -> Iterator[int]:
    pending, seen = [start], set()
    while pending:
        tensor = pending.pop()
        for operation in tensor.consumers():
            if (operation.name, tensor.name) in seen:
                continue
            seen.add((operation.name, tensor.name))
            if operation.type in _SAME:
                pending += operation.outputs
            elif rows := _table(operation, tensor, tables):
                yield rows


def _table(operation: Any, index: Any, tables: Mapping[str, Any]) -> int | None:
    """Returns the number of rows of the table that an operation looks an index up in; None where it does not."""
    import tensorflow as tf

    if operation.type == "ResourceGather" and operation.inputs[1] is index:
        return tables[operation.inputs[0].name][0] if operation.inputs[0].name in tables else None
    if operation.type == "GatherV2" and operation.inputs[1] is index:
        axis, shape = tf.get_static_value(operation.inputs[2]), operation.inputs[0].shape
        return shape[int(axis)] if axis is not None and shape.rank else None
    if operation.type == "OneHot" and operation.inputs[0] is index:
        depth = tf.get_static_value(operation.inputs[1])
        return None if depth is None else int(depth)
    return None
