"""Replaces fused operators that TF.js does not run as TensorFlow's optimizer writes them.

The optimizer inside the TF.js converter fuses a product, the addition after it and the activation after that into one
`_FusedMatMul` or `_FusedConv2D`. Four of the results fail or compute something else in the browser:

* a constant bias with leading axes of length 1: folding a Keras batch norm leaves [1, 1, N]. The wasm backend takes
  rank 1 only (`FusedConv2D only supports rank-1 bias but got rank 4`). The values are the same, so the shape is
  flattened.
* a bias that is another product, as in every recurrent step (x W + h U). Wasm fails in the same way; the fusion is
  split into its operators.
* an activation that not every backend fuses, most often `Tanh`. Split as well.
* a GELU or a hard swish, whose operators the optimizer replaces by one that only TensorFlow has (`GeluExact`,
  `GeluApproximate`, `_FusedHardSwish`). Written with basic operators again.

Removable when the wasm backend broadcasts biases and fuses every activation the converter emits (tfjs#8304 is the open
list of what the runtime lacks).
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from exporters.lowering.rewrite_log import record_rewrite

_PLAIN = {"_FusedMatMul": "MatMul", "_FusedConv2D": "Conv2D"}
_BIAS = 2  # position among the inputs: a, b, bias
_FUSED_EVERYWHERE = {"BiasAdd", "Relu", "Relu6", "Elu", "LeakyRelu", "Prelu", "Sigmoid"}
_HALF_OF = (("half", "Mul", ("x", 0.5)), ("", "Mul", ("half", "sum")))
_WRITTEN_OUT = {
    "GeluExact": (
        ("scaled", "Mul", ("x", math.sqrt(0.5))),
        ("erf", "Erf", ("scaled",)),
        ("sum", "AddV2", ("erf", 1.0)),
        *_HALF_OF,
    ),
    "GeluApproximate": (
        ("square", "Mul", ("x", "x")),
        ("cube", "Mul", ("square", "x")),
        ("bent", "Mul", ("cube", 0.044715)),
        ("inner", "AddV2", ("x", "bent")),
        ("scaled", "Mul", ("inner", math.sqrt(2 / math.pi))),
        ("tanh", "Tanh", ("scaled",)),
        ("sum", "AddV2", ("tanh", 1.0)),
        *_HALF_OF,
    ),
    "_FusedHardSwish": (
        ("moved", "AddV2", ("x", 3.0)),
        ("cut", "Relu6", ("moved",)),
        ("gated", "Mul", ("x", "cut")),
        ("", "Mul", ("gated", 1 / 6)),
    ),
}
"""Operator -> its steps: name, operator, inputs; `x` is what it is applied to, a number is a constant, the last step
has no name and gives the result. The formulas are those of `tf.nn.gelu` and `keras.activations.hard_swish`."""
_FUSED_ONLY = {"fused_ops", "epsilon", "leakyrelu_alpha", "num_args", "TArgs", "num_host_args", "host_inputs"}


def replace_unsupported_fusions(graph_def: Any) -> None:
    """Flattens biases and splits fusions in place, as the module describes.

    Args:
        graph_def: the converter's optimised `GraphDef`, weights still inside.
    """
    constants = {node.name: node for node in graph_def.node if node.op == "Const"}
    # All at once at the end: extend() copies, and a bias that stands before its fusion would be copied as it was.
    nodes = [
        part for node in graph_def.node for part in (_replaced_fusion(node, constants) if node.op in _PLAIN else [node])
    ]
    replaced = type(graph_def)(node=nodes)
    del graph_def.node[:]
    graph_def.node.extend(replaced.node)


def _replaced_fusion(node: Any, constants: dict[str, Any]) -> Iterator[Any]:
    fused = [name.decode() for name in node.attr["fused_ops"].list.s]
    bias = constants.get(node.input[_BIAS]) if "BiasAdd" in fused else None
    has_bias = "BiasAdd" not in fused or (bias is not None and _flatten(bias))
    if has_bias and set(fused) <= _FUSED_EVERYWHERE:
        yield node
    else:
        record_rewrite("fusions")
        yield from _unfused(node, fused)


def _flatten(bias: Any) -> bool:
    """Reshapes a constant bias to rank 1 where all other axes have length 1; tells whether its rank is 1 now."""
    import tensorflow as tf

    values = tf.make_ndarray(bias.attr["value"].tensor)
    if values.ndim > 1 and values.size == values.shape[-1]:
        bias.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values.reshape(-1)))
        record_rewrite("fusions")
        return True
    return bool(values.ndim == 1)


def _unfused(node: Any, fused: list[str]) -> Iterator[Any]:
    """Yields the product, the addition and the activation as separate nodes; the last one has the node's name."""
    product = type(node)()
    product.CopyFrom(node)
    product.op = _PLAIN[node.op]
    product.name = f"{node.name}/product"
    product.input[:] = [*node.input[:_BIAS], *(name for name in node.input if name.startswith("^"))]
    for attribute in _FUSED_ONLY & set(product.attr):
        del product.attr[attribute]
    chain = [product]
    for position, operator in enumerate(fused):
        name = node.name if position == len(fused) - 1 else f"{node.name}/fused_{position}"
        if operator in _WRITTEN_OUT:
            chain += _written_out(node, operator, name, chain[-1].name)
        elif operator == "BiasAdd":
            chain.append(_step(node, name, "AddV2", [chain[-1].name, node.input[_BIAS]]))
        else:
            chain.append(_step(node, name, operator, [chain[-1].name]))
    yield from chain


def _written_out(node: Any, operator: str, name: str, x: str) -> Iterator[Any]:
    """Yields the steps of an operator, the last one under its name; each constant precedes the step that needs it."""
    import tensorflow as tf

    for suffix, step, inputs in _WRITTEN_OUT[operator]:
        step_name = f"{name}/{suffix}" if suffix else name
        input_names = []
        for value in inputs:
            if isinstance(value, float):
                dtype = tf.as_dtype(node.attr["T"].type)
                constant = type(node)(name=f"{step_name}/constant", op="Const")
                constant.attr["dtype"].CopyFrom(node.attr["T"])
                constant.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, dtype))
                yield constant
                input_names.append(constant.name)
            else:
                input_names.append(x if value == "x" else f"{name}/{value}")
        yield _step(node, step_name, step, input_names)


def _step(node: Any, name: str, op: str, inputs: Sequence[str]) -> Any:
    step = type(node)(name=name, op=op, input=inputs)
    step.attr["T"].CopyFrom(node.attr["T"])
    return step
