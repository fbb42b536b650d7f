"""Computes layers of mixed precision in float32.

Under `mixed_float16` or `mixed_bfloat16` Keras keeps weights in float32 and casts them for every layer, because cards
train faster so. Targets have no use for it: TF Lite has no such builtins (LiteRT#6458), the TF.js converter stores no
bfloat16, and ONNX Runtime has no bfloat16 convolution on the CPU. In float32 the artifact rounds less than the original
does; the original's own type decides how far the two may differ.

Removable when every target computes in both types.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from exporters.lowering.rewrite_log import record_rewrite
from exporters.source.keras.model import SourceModel

Half = Literal["float16", "bfloat16"]

_HALF: tuple[Half, ...] = ("bfloat16", "float16")  # the coarser one first
_FUNCTIONAL = {
    "keras.src.models.functional",
    "keras.src.models.sequential",
    "tf_keras.src.engine.functional",
    "tf_keras.src.engine.sequential",
}
"""Modules whose models compute only their graph."""


def rounds_to(model: SourceModel) -> dict[str, Half]:
    """Returns the coarsest type below float32 in which layers on the way to each output compute.

    Outputs without such a layer are left out. A layer that is a functional model itself is walked through as well; of
    any other model every layer counts, because only its code knows which of them an output needs.
    """
    import keras

    found: dict[str, Half] = {}
    for spec, tensor in zip(model.signature.outputs, keras.tree.flatten(model.graph.output), strict=True):
        computed, _ = _upstream(tensor, ())
        halves: list[Half] = [dtype for dtype in _HALF if dtype in computed]
        if halves:
            found[spec.name] = halves[0]
    return found


def _upstream(tensor: Any, inputs: Sequence[Any]) -> tuple[set[str], set[int]]:
    """Finds the types of the computations that a tensor of a functional graph depends on, and the inputs they need.

    Args:
        tensor: of the graph.
        inputs: tensors of the graph at which the search stops.

    Returns:
        The types, and positions among `inputs`.
    """
    begins = {_place(each): position for position, each in enumerate(inputs)}
    pending, seen = [tensor], set()
    types: set[str] = set()
    reached: set[int] = set()
    while pending:
        place = operation, index, position = _place(pending.pop())
        if place in begins:
            reached.add(begins[place])
        elif place not in seen and not (node := operation._inbound_nodes[index]).is_input:  # noqa: SLF001
            seen.add(place)
            operands = _operands(node)
            if (graph := _graph_of(operation)) and len(graph.inputs) == len(operands):
                inside, needed = _upstream(graph.outputs[position], graph.inputs)
                types |= inside
                operands = [operands[number] for number in needed]
            else:
                types |= _rounded(operation, node)
            pending += operands
    return types, reached


def _place(tensor: Any) -> tuple[Any, int, int]:
    """Returns the layer, call and output that a tensor comes from."""
    operation, index, position = tensor._keras_history  # noqa: SLF001 - the one way from a tensor to its layer
    return operation, index, position


def _graph_of(operation: Any) -> Any:
    """Returns an operation as a functional model; None for a layer, and for a model with its own `call`."""
    inner = getattr(operation, "_functional", None) or operation  # where a Sequential of Keras 3 keeps it
    plain = all(getattr(type(each).call, "__module__", "") in _FUNCTIONAL for each in (operation, inner))
    return inner if plain and getattr(inner, "outputs", None) else None


def _operands(node: Any) -> list[Any]:
    """Returns all tensors that a layer was called with, those by keyword included."""
    operands: list[Any] = node.keras_inputs if hasattr(node, "keras_inputs") else node.input_tensors
    return operands


def _rounded(operation: Any, node: Any) -> set[str]:
    """Returns the types that an operation computes in; none where it only passes integers or text on."""
    import keras

    if node.is_input or not hasattr(operation, "_flatten_layers"):
        return set()
    # A table of a lookup layer stands among the weights of tf_keras, and has no dtype.
    dtypes = {getattr(each, "dtype", None) for each in (*keras.tree.flatten(node.outputs), *operation.weights)}
    if not any("float" in str(dtype) for dtype in dtypes):
        return set()
    return {_computes_in(layer) for layer in operation._flatten_layers()}  # noqa: SLF001 - wrapped ones included


@contextmanager
def mixed_in_float32(model: SourceModel) -> Iterator[None]:
    """Makes layers with weights in float32 and arithmetic in a narrower type compute in float32, while active.

    Quantized layers keep their policy, by which they find the scale of their weights.
    """
    mixed = [
        layer
        for layer in layers_of(model)
        if _computes_in(layer) in _HALF
        and layer.variable_dtype == "float32"
        and getattr(layer, "quantization_mode", None) is None
    ]
    policies = [layer.dtype_policy for layer in mixed]
    for layer in mixed:
        _set_policy(layer, "float32")
        record_rewrite("mixed_in_float32")
    try:
        yield
    finally:
        for layer, policy in zip(mixed, policies, strict=True):
            _set_policy(layer, policy)


def _set_policy(layer: Any, policy: Any) -> None:
    if hasattr(layer, "_set_dtype_policy"):  # tf_keras, whose layers have no public setter
        layer._set_dtype_policy(policy)  # noqa: SLF001
    else:
        layer.dtype_policy = policy


def layers_of(model: SourceModel) -> Iterator[Any]:
    """Yields every layer of a model, wrapped ones included."""
    yield from model.graph._flatten_layers()  # noqa: SLF001 - Keras has no other way


def _computes_in(layer: Any) -> str:
    return str(getattr(layer, "compute_dtype", ""))
