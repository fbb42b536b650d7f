"""Writes grouped convolutions as one depthwise convolution, or as one convolution for each group.

In: a lowered graph. Out: the same graph, with every `Conv2D` rewritten whose filter takes fewer channels than its
input has. Where each group is a single channel it becomes a depthwise convolution (ConvNeXt would need 6,600
convolutions otherwise); else split, convolutions, concat. TF.js has no grouped kernel on any backend and refuses the
shapes (tfjs#8304 lists what is missing); ONNX Runtime and LiteRT have one and keep the original.

Removable when TF.js runs grouped convolutions.
"""

from dataclasses import replace
from typing import Any

from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import record_rewrite

_CHANNELS = 3  # of NHWC images, and the output channels of HWIO filters
_FILTER_INPUTS = 2  # of HWIO filters


def split_grouped_convolutions(graph: Graph) -> Graph:
    """Rewrites grouped convolutions, which TF.js cannot run; returns the graph itself when there are none."""
    imported = graph.imported()
    grouped = {
        op.name: groups
        for op in imported.get_operations()
        if op.type == "Conv2D" and op.get_attr("data_format") == b"NHWC" and (groups := _groups(op)) > 1
    }
    if not grouped:
        return graph
    record_rewrite("grouped")
    rewritten = type(graph.graph_def)()
    rewritten.CopyFrom(graph.graph_def)
    del rewritten.node[:]
    for node in graph.graph_def.node:
        if node.name not in grouped:
            rewritten.node.append(node)
        elif kernel := _depthwise_kernel(imported.get_operation_by_name(node.name)):
            rewritten.node.extend(_depthwise(node, kernel))
        else:
            rewritten.node.extend(_split(node, grouped[node.name]))
    return replace(graph, graph_def=rewritten)


def _groups(convolution: Any) -> int:
    image, kernel = convolution.inputs
    channels, taken = image.shape[_CHANNELS], kernel.shape[_FILTER_INPUTS]
    return channels // taken if channels and taken else 1


def _depthwise_kernel(convolution: Any) -> list[int]:
    """Returns the filter's shape for the equivalent depthwise convolution; empty where there is none.

    TensorFlow's depthwise kernel takes only equal strides, and both fold images with the channels of one group together
    (output c * m + j belongs to input c), so the filter keeps its order.
    """
    _, rows, columns, _ = convolution.get_attr("strides")
    kernel = convolution.inputs[1].shape
    channels = convolution.inputs[0].shape[_CHANNELS]
    if rows != columns or not kernel.is_fully_defined() or kernel[_FILTER_INPUTS] != 1:
        return []
    return [*kernel[:_FILTER_INPUTS], channels, kernel[_CHANNELS] // channels]


def _depthwise(convolution: Any, shape: list[int]) -> list[Any]:
    """Returns the nodes that replace a convolution whose groups are single channels; the last one has its name."""
    from tensorflow.core.framework import node_def_pb2

    image, kernel = convolution.input[:2]
    size = _constant(f"{convolution.name}/kernel_shape", shape)
    reshaped = node_def_pb2.NodeDef(name=f"{convolution.name}/kernel", op="Reshape", input=[kernel, size.name])
    reshaped.attr["T"].type = convolution.attr["T"].type
    reshaped.attr["Tshape"].type = size.attr["dtype"].type
    depthwise = node_def_pb2.NodeDef(
        name=convolution.name, op="DepthwiseConv2dNative", input=[image, reshaped.name, *convolution.input[2:]]
    )
    for name in ("T", "strides", "padding", "explicit_paddings", "data_format", "dilations"):
        depthwise.attr[name].CopyFrom(convolution.attr[name])
    return [size, reshaped, depthwise]


def _split(convolution: Any, groups: int) -> list[Any]:
    """Returns the nodes that replace one grouped convolution; the last one has its name."""
    from tensorflow.core.framework import node_def_pb2

    image, kernel = convolution.input[:2]
    dtype = convolution.attr["T"].type
    nodes = [_constant(f"{convolution.name}/axis", _CHANNELS)]
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


def _constant(name: str, value: int | list[int]) -> Any:
    import tensorflow as tf
    from tensorflow.core.framework import node_def_pb2

    node = node_def_pb2.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tf.int32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.int32))
    return node
