"""Layers of mixed precision, computed in float32.

Under `mixed_float16` or `mixed_bfloat16` Keras keeps weights in float32 and casts them for every layer, because cards
train faster so. Targets have no use for it: TF Lite has no such builtins (LiteRT#6458), the TF.js converter stores no
bfloat16, and ONNX Runtime has no bfloat16 convolution on the CPU. In float32 the artifact rounds less than the original
does, and how far the two may lie apart is what the original's own type says.

Removable when every target computes in both types.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from exporters.lowering.rewrite_log import acted
from exporters.source.keras.model import SourceModel

Half = Literal["float16", "bfloat16"]

_HALF: tuple[Half, ...] = ("bfloat16", "float16")  # the coarser one first
_FUNCTIONAL = {
    "keras.src.models.functional",
    "keras.src.models.sequential",
    "tf_keras.src.engine.functional",
    "tf_keras.src.engine.sequential",
}
"""Modules whose models compute what their graph says and nothing else."""


def rounds_to(model: SourceModel) -> dict[str, Half]:
    """Output -> the coarsest type below float32 in which a layer on the way to it computes; those with one alone.

    A layer that is a functional model itself is walked through as well; of any other model every layer counts: which of
    them an output of it needs, only its code knows.
    """
    import keras

    found: dict[str, Half] = {}
    for spec, tensor in zip(model.signature.outputs, keras.tree.flatten(model.graph.output), strict=True):
        computed, _ = _upstream(tensor, ())
        if half := next((dtype for dtype in _HALF if dtype in computed), None):
            found[spec.name] = half
    return found


def _upstream(tensor: Any, inputs: Sequence[Any]) -> tuple[set[str], set[int]]:
    """The types computed in on the way to a tensor of a functional graph, and the inputs where that way begins.

    Args:
        tensor: of the graph.
        inputs: tensors of the graph that nothing before is asked about.

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
    """Which output of which call of which layer a tensor is."""
    operation, index, position = tensor._keras_history  # noqa: SLF001 - the one way from a tensor to its layer
    return operation, index, position


def _graph_of(operation: Any) -> Any:
    """The functional model that an operation is; None for a layer, and for a model with code of its own."""
    inner = getattr(operation, "_functional", None) or operation  # where a Sequential of Keras 3 keeps it
    plain = all(getattr(type(each).call, "__module__", "") in _FUNCTIONAL for each in (operation, inner))
    return inner if plain and getattr(inner, "outputs", None) else None


def _operands(node: Any) -> list[Any]:
    """All tensors that a layer was called with, those by keyword included."""
    operands: list[Any] = node.keras_inputs if hasattr(node, "keras_inputs") else node.input_tensors
    return operands


def _rounded(operation: Any, node: Any) -> set[str]:
    """The types that an operation computes in; none where it hands on what it was given, whole numbers or text."""
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
    """While active, layers whose weights are in float32 and whose arithmetic is not compute in float32.

    Quantized layers keep their policy: it is what they look for the scale of their weights by.
    """
    mixed = [
        layer
        for layer in layers_of(model)
        if _computes_in(layer) in _HALF
        and layer.variable_dtype == "float32"
        and getattr(layer, "quantization_mode", None) is None
    ]
    own = [layer.dtype_policy for layer in mixed]
    for layer in mixed:
        _set_policy(layer, "float32")
        acted("mixed_in_float32")
    try:
        yield
    finally:
        for layer, policy in zip(mixed, own, strict=True):
            _set_policy(layer, policy)


def _set_policy(layer: Any, policy: Any) -> None:
    if hasattr(layer, "_set_dtype_policy"):  # tf_keras, whose layers have no public setter
        layer._set_dtype_policy(policy)  # noqa: SLF001
    else:
        layer.dtype_policy = policy


def layers_of(model: SourceModel) -> Iterator[Any]:
    """Every layer of a model, wrapped ones included."""
    yield from model.graph._flatten_layers()  # noqa: SLF001 - Keras has no other way


def _computes_in(layer: Any) -> str:
    return str(getattr(layer, "compute_dtype", ""))
