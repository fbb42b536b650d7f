"""Layers of mixed precision, computed in float32.

Under `mixed_float16` or `mixed_bfloat16` Keras keeps weights in float32 and casts them for every layer, because cards
train faster so. Targets have no use for it: TF Lite has no such builtins (LiteRT#6458), the TF.js converter stores no
bfloat16, and ONNX Runtime has no bfloat16 convolution on the CPU. In float32 the artifact rounds less than the original
does, and how far the two may lie apart is what the original's own type says.

Removable when every target computes in both types.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from exporters.keras_model import SourceModel
from exporters.lowering.notes import acted

Half = Literal["float16", "bfloat16"]

_HALF: tuple[Half, ...] = ("bfloat16", "float16")  # the coarser one first


def rounds_to(model: SourceModel) -> dict[str, Half]:
    """Output -> the coarsest type below float32 in which a layer on the way to it computes; those with one alone.

    Of a layer that is a model itself every layer counts: which of them an output of it needs is not looked for.
    """
    import keras

    found: dict[str, Half] = {}
    for spec, tensor in zip(model.signature.outputs, keras.tree.flatten(model.graph.output), strict=True):
        computed = {dtype for operation, node in _upstream(tensor) for dtype in _rounded(operation, node)}
        if half := next((dtype for dtype in _HALF if dtype in computed), None):
            found[spec.name] = half
    return found


def _upstream(tensor: Any) -> Iterator[tuple[Any, Any]]:
    """Every operation of the functional graph that a tensor is computed by, with the node of that call."""
    pending, seen = [tensor], set()
    while pending:
        operation, index, _ = pending.pop()._keras_history  # noqa: SLF001 - the one way from a tensor to its layer
        if (id(operation), index) not in seen:
            seen.add((id(operation), index))
            node = operation._inbound_nodes[index]  # noqa: SLF001
            yield operation, node
            if not node.is_input:
                pending += _operands(node)


def _operands(node: Any) -> list[Any]:
    """All tensors that a layer was called with, those by keyword included."""
    operands: list[Any] = node.keras_inputs if hasattr(node, "keras_inputs") else node.input_tensors
    return operands


def _rounded(operation: Any, node: Any) -> set[str]:
    """The types that an operation computes in; none where it hands on what it was given, whole numbers or text."""
    import keras

    if node.is_input or not hasattr(operation, "_flatten_layers"):
        return set()
    numbers = [*keras.tree.flatten(node.outputs), *operation.weights]
    if not any("float" in str(each.dtype) for each in numbers):
        return set()
    return {_computes_in(layer) for layer in operation._flatten_layers()}  # noqa: SLF001 - wrapped ones included


@contextmanager
def mixed_in_float32(model: SourceModel) -> Iterator[None]:
    """While active, layers whose weights are in float32 and whose arithmetic is not compute in float32.

    Quantized layers keep their policy: it is what they look for the scale of their weights by.
    """
    mixed = [
        layer
        for layer in _layers(model)
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


def _layers(model: SourceModel) -> Iterator[Any]:
    yield from model.graph._flatten_layers()  # noqa: SLF001 - wrapped ones included


def _computes_in(layer: Any) -> str:
    return str(getattr(layer, "compute_dtype", ""))
