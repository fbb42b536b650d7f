"""Grouped convolutions as one convolution for each group.

In: a lowered graph. Out: the same graph, with every `Conv2D` whose filter takes fewer channels than its input has
written as split, convolutions, concat. TF.js has no grouped kernel on any backend and refuses the shapes (tfjs#8304
lists what is missing); ONNX Runtime and LiteRT have one and keep the original.

Removable when TF.js runs grouped convolutions.
"""

from dataclasses import replace
from typing import Any

from exporters.lowering.notes import acted
from exporters.lowering.trace import Graph

_CHANNELS = 3  # of NHWC images, and the output channels of HWIO filters
_FILTER_INPUTS = 2  # of HWIO filters


def split_grouped_convolutions(graph: Graph) -> Graph:
    """Rewrites what TF.js cannot run; the graph itself when there is nothing of the kind."""
    import tensorflow as tf

    imported = tf.Graph()
    with imported.as_default():
        tf.graph_util.import_graph_def(graph.graph_def, name="")
    grouped = {
        op.name: groups
        for op in imported.get_operations()
        if op.type == "Conv2D" and op.get_attr("data_format") == b"NHWC" and (groups := _groups(op)) > 1
    }
    if not grouped:
        return graph
    acted("grouped")
    rewritten = type(graph.graph_def)()
    rewritten.CopyFrom(graph.graph_def)
    del rewritten.node[:]
    for node in graph.graph_def.node:
        rewritten.node.extend(_split(node, grouped[node.name]) if node.name in grouped else [node])
    return replace(graph, graph_def=rewritten)


def _groups(convolution: Any) -> int:
    image, kernel = convolution.inputs
    channels, taken = image.shape[_CHANNELS], kernel.shape[_FILTER_INPUTS]
    return channels // taken if channels and taken else 1


def _split(convolution: Any, groups: int) -> list[Any]:
    """The nodes that stand for one grouped convolution; the last one has its name."""
    from tensorflow.core.framework import node_def_pb2

    image, kernel = convolution.input[:2]
    dtype = convolution.attr["T"].type
    nodes = [_axis(f"{convolution.name}/axis", _CHANNELS)]
    for part, source in (("image", image), ("kernel", kernel)):
        split = node_def_pb2.NodeDef(name=f"{convolution.name}/{part}", op="Split", input=[nodes[0].name, source])
        split.attr["num_split"].i = groups
        split.attr["T"].type = dtype
        nodes.append(split)
    parts = []
    for group in range(groups):
        part = node_def_pb2.NodeDef()
        part.CopyFrom(convolution)
        part.name = f"{convolution.name}/group_{group}"
        part.input[:] = [f"{nodes[1].name}:{group}", f"{nodes[2].name}:{group}"]
        parts.append(part)
    joined = node_def_pb2.NodeDef(
        name=convolution.name, op="ConcatV2", input=[*(part.name for part in parts), nodes[0].name]
    )
    joined.attr["N"].i = groups
    joined.attr["T"].type = dtype
    joined.attr["Tidx"].type = nodes[0].attr["dtype"].type
    return [*nodes, *parts, joined]


def _axis(name: str, value: int) -> Any:
    import tensorflow as tf
    from tensorflow.core.framework import node_def_pb2

    node = node_def_pb2.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tf.int32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.int32))
    return node
