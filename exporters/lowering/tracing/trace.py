"""Traces the model as one flat, stateless graph with its weights as constants.

In: a loaded model. Out: a `Graph`: a GraphDef without variables, captures or seed state, whose inputs and outputs are
named. The model's call with constants drops state updates: augmentation and dropout leave nothing in the graph that a
converter could fail on.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from exporters.contract import Signature, TensorSpec
from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import recorded_rewrites
from exporters.lowering.rewrites.bias_addition import additions_as_written
from exporters.lowering.rewrites.bincount import bincount_as_comparison
from exporters.lowering.rewrites.dynamic_sizes import sizes_as_tensors
from exporters.lowering.rewrites.einsum import einsum_as_matrix_product
from exporters.lowering.rewrites.expm1 import expm1_with_elu
from exporters.lowering.rewrites.gelu import gelu_with_erf
from exporters.lowering.rewrites.local_response_normalization import response_normalization_as_arithmetic
from exporters.lowering.rewrites.mixed_precision import mixed_in_float32
from exporters.lowering.rewrites.one_hot import one_hot_of_integers
from exporters.lowering.rewrites.recurrent_loops import loops_over_tensors
from exporters.lowering.rewrites.reshape import free_axis_left_open
from exporters.lowering.rewrites.resize import resizing_as_matrix_products
from exporters.lowering.rewrites.reversed_masks import masks_in_order_of_steps
from exporters.lowering.rewrites.sign_bit import signbit_in_arithmetic
from exporters.lowering.rewrites.softsign import softsign_in_arithmetic
from exporters.lowering.rewrites.xla_functions import xla_wrappers_inlined
from exporters.lowering.tracing.numeric_core import cut_graph
from exporters.preprocessing.call_recorder import recording
from exporters.preprocessing.graph_split import GraphSplit, find_split
from exporters.preprocessing.verification import prove
from exporters.source.keras.graph_function import graph_function
from exporters.source.keras.model import Loop, SourceModel, tensor_specs
from exporters.target_limits import limited

_REWRITES = (
    xla_wrappers_inlined,
    signbit_in_arithmetic,
    additions_as_written,
    einsum_as_matrix_product,
    gelu_with_erf,
    expm1_with_elu,
    softsign_in_arithmetic,
    one_hot_of_integers,
    bincount_as_comparison,
    response_normalization_as_arithmetic,
    resizing_as_matrix_products,
    sizes_as_tensors,
    free_axis_left_open,
    masks_in_order_of_steps,
)
"""Rewrites that are active while a model is traced for a target; one module each, each removable."""
_PROTO_LIMIT = 2**31 - 1  # bytes of one serialised protocol buffer


def trace(
    model: SourceModel, *, batch: int | None = None, unroll: Sequence[Loop] = (), over_tensors: Sequence[Loop] = ()
) -> Graph:
    """Traces the model's inference once.

    Args:
        model: the source model.
        batch: fixed length of the first axis, None to keep the model's own.
        unroll: recurrent layers of the model to write out step by step instead of as a loop; they need static time,
            and stay switched to this form.
        over_tensors: recurrent layers that keep their steps in a tensor instead of a list.

    Raises:
        Limited: the constants do not fit into one protocol buffer (2 GiB), or the model cannot be split at its last
            operator that needs text or tables.
    """
    import tensorflow as tf

    size = model.parameter_bytes()
    if size > _PROTO_LIMIT:
        raise limited("graphdef-2gib", f"the weights take {size / 2**30:.1f} GiB")
    model.unroll(unroll)
    call = model.with_constants()
    dtypes = {spec.name: tf.dtypes.as_dtype(spec.dtype) for spec in model.signature.outputs}

    @graph_function
    def inference(**inputs: Any) -> dict[str, Any]:
        # The identity gives each output its own node, also where one tensor serves as two outputs. The cast gives it
        # the declared type, where a layer computes in another. For text, Keras' declared type means nothing.
        outputs = call(inputs).items()
        return {
            name: tf.identity(value if value.dtype == tf.string else tf.cast(value, dtypes[name]))
            for name, value in outputs
        }

    with contextlib.ExitStack() as rewrites:
        names = rewrites.enter_context(recorded_rewrites())
        calls = rewrites.enter_context(recording())
        for rewrite in _REWRITES:
            rewrites.enter_context(rewrite())
        rewrites.enter_context(mixed_in_float32(model))
        rewrites.enter_context(loops_over_tensors(over_tensors))
        concrete = inference.get_concrete_function(**tensor_specs(model.signature.inputs, batch=batch))
    if unroll:
        names.add("unrolling")
    split = find_split(concrete.graph, concrete.structured_outputs.values(), calls, model.signature)
    if split:
        prove(concrete, split)
    return replace(_frozen(concrete, model.signature, batch, split), rewrites=tuple(sorted(names)))


def _frozen(concrete: Any, signature: Signature, batch: int | None, split: GraphSplit | None) -> Graph:
    """Freezes the graph: weights become constants, calls are inlined, and the signature gets the tensors' names.

    Of a split model only the core is returned.
    """
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    outputs = {name: tensor.name for name, tensor in concrete.structured_outputs.items()}
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True)
    named_outputs = tuple(
        _bound(spec, frozen.graph.get_tensor_by_name(outputs[spec.name]), None) for spec in signature.outputs
    )
    graph_def = frozen.graph.as_graph_def()
    if split:
        return _core(graph_def, named_outputs, split)
    inputs = {tensor.op.name: tensor for tensor in frozen.inputs}
    if captured := sorted(set(inputs) - {spec.name for spec in signature.inputs}):
        raise limited("lookup-table", ", ".join(captured))
    named = Signature(
        inputs=tuple(_bound(spec, inputs[spec.name], batch) for spec in signature.inputs),
        outputs=named_outputs,
    )
    return Graph(graph_def=graph_def, signature=named)


def _core(whole: Any, outputs: tuple[TensorSpec, ...], split: GraphSplit) -> Graph:
    """Returns the part of a frozen graph behind the cut."""
    graph_def, inputs = cut_graph(whole, split.cuts, [spec.native for spec in outputs])
    fed = {spec.native for spec in inputs}
    placeholders = [node.name for node in graph_def.node if node.op == "Placeholder"]
    if captured := sorted(name for name in placeholders if f"{name}:0" not in fed):
        raise limited("lookup-table", ", ".join(captured))
    core = Graph(
        graph_def=graph_def,
        signature=Signature(inputs=inputs, outputs=outputs),
        preprocessing=split.preprocessing,
    )
    # TensorFlow does not trace the batch through text, but it does through the core: take the outputs' shapes again.
    computed = core.imported()
    bound_outputs = tuple(_bound(spec, computed.get_tensor_by_name(spec.native), None) for spec in outputs)
    return replace(core, signature=replace(core.signature, outputs=bound_outputs))


def _bound(spec: TensorSpec, tensor: Any, batch: int | None) -> TensorSpec:
    shape = spec.shape if tensor.shape.rank is None else tuple(tensor.shape)
    return replace(spec, native=tensor.name, shape=(shape[0] or batch, *shape[1:]) if shape else ())
