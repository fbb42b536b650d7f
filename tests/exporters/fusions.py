"""A job function that mends hand-written fused nodes: `exporters.formats.tfjs_fusions` on its own."""

from collections.abc import Mapping
from typing import Any


def mend(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: one fused node with its bias.

    Args:
        request: `op`, `fused` (operators), `bias` (shape of a constant one; None for the output of another node).

    Returns:
        `nodes`: [name, operator, inputs] of all but constants; `bias`: its shape afterwards; `left`: attributes that
        only fused nodes have, on nodes that are not; `furthest`: of an activation that is written out, how
        far it lies from its own definition.
    """
    import numpy as np
    import tensorflow as tf
    from tensorflow.core.framework import graph_pb2

    from exporters.formats.tfjs_fusions import replace_unsupported_fusions

    graph = graph_pb2.GraphDef()
    if request["bias"] is not None:
        bias = graph.node.add(name="bias", op="Const")
        values = np.arange(np.prod(request["bias"]), dtype=np.float32).reshape(request["bias"])
        bias.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))
    inputs = ["a", "b", "bias", "^control"]
    fused = graph.node.add(name="fused", op=request["op"], input=inputs)
    fused.attr["T"].type = tf.float32.as_datatype_enum
    fused.attr["fused_ops"].list.s.extend(name.encode() for name in request["fused"])
    fused.attr["num_args"].i = 1
    fused.attr["epsilon"].f = 0.5
    graph.node.add(name="after", op="Identity", input=["fused"])
    replace_unsupported_fusions(graph)
    nodes = [node for node in graph.node if node.op != "Const"]
    shapes = [tf.make_ndarray(node.attr["value"].tensor).shape for node in graph.node if node.op == "Const"]
    plain = [node for node in nodes if not node.op.startswith("_Fused")]
    return {
        "nodes": [[node.name, node.op, list(node.input)] for node in nodes],
        "bias": list(shapes[0]) if shapes else None,
        "furthest": _from_its_definition(graph, request["fused"][-1]),
        "left": sorted({key for node in plain for key in node.attr if key in {"fused_ops", "epsilon", "num_args"}}),
    }


def _from_its_definition(graph: Any, operator: str) -> float | None:
    """The largest distance of the mended graph from the activation of the product and its bias."""
    import keras
    import numpy as np
    import tensorflow as tf

    definitions = {
        "GeluExact": lambda x: tf.nn.gelu(x, approximate=False),
        "GeluApproximate": lambda x: tf.nn.gelu(x, approximate=True),
        "_FusedHardSwish": keras.activations.hard_swish,
    }
    if operator not in definitions:
        return None
    rows, weights = np.linspace(-4, 4, 32, dtype="float32").reshape(8, 4), np.eye(4, 3, dtype="float32")
    with tf.Graph().as_default() as whole:
        feeds = {"a": tf.constant(rows), "b": tf.constant(weights), "control": tf.constant(0)}
        for name, tensor in feeds.items():
            tf.identity(tensor, name=name)
        again = type(graph)()
        again.CopyFrom(whole.as_graph_def(add_shapes=False))
        again.node.extend(graph.node)
        for node in again.node:
            if node.op == "Identity" and "T" not in node.attr:
                node.attr["T"].type = tf.float32.as_datatype_enum
            elif node.op == "Const" and "dtype" not in node.attr:
                node.attr["dtype"].type = tf.float32.as_datatype_enum
        (found,) = tf.graph_util.import_graph_def(again, return_elements=["after:0"])
        wanted = definitions[operator](feeds["a"] @ feeds["b"] + [0.0, 1.0, 2.0])
        with tf.compat.v1.Session() as session:
            return float(np.abs(np.subtract(*session.run([found, wanted]))).max())
