"""Writes padding in numbers where strides skip pixels.

In: a lowered graph. Out: the same graph. Every convolution padded `SAME` whose stride is longer than its kernel gets
the numbers that `SAME` means for its input's size. TF.js' wasm backend computes zeros for `SAME` there (tfjs#8405;
depthwise tfjs#6629), and the right values for the numbers.

Removable when the wasm backend computes them as the other backends do.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import record_rewrite

_CONVOLUTIONS = {"Conv2D", "DepthwiseConv2dNative"}
_HEIGHT, _WIDTH = 1, 2  # of NHWC images


def pad_in_numbers(graph: Graph) -> Graph:
    """Rewrites convolutions that the wasm backend gets wrong; returns the graph itself when there are none."""
    if not any(node.op in _CONVOLUTIONS and max(node.attr["strides"].list.i) > 1 for node in graph.graph_def.node):
        return graph
    paddings = {op.name: list(_padding(op)) for op in graph.imported().get_operations() if _skips(op)}
    if not paddings:
        return graph
    record_rewrite("pad_in_numbers")
    rewritten = type(graph.graph_def)()
    rewritten.CopyFrom(graph.graph_def)
    for node in rewritten.node:
        if node.name in paddings:
            node.attr["padding"].s = b"EXPLICIT"
            node.attr["explicit_paddings"].list.i[:] = [0, 0, *paddings[node.name], 0, 0]
    return replace(graph, graph_def=rewritten)


def _skips(operation: Any) -> bool:
    """Recognises a convolution that leaves out pixels between its steps, over an image of known size."""
    if operation.type not in _CONVOLUTIONS or operation.get_attr("padding") != b"SAME":
        return False
    known = operation.get_attr("data_format") == b"NHWC" and None not in operation.inputs[0].shape[_HEIGHT : _WIDTH + 1]
    return known and any(stride > kernel for _, stride, kernel in _axes(operation))


def _axes(convolution: Any) -> Iterator[tuple[int, int, int]]:
    """Yields the length of the image, the stride and the reach of the kernel, down and across."""
    image, kernel = (tensor.shape for tensor in convolution.inputs)
    strides, dilations = convolution.get_attr("strides"), convolution.get_attr("dilations")
    for axis in (_HEIGHT, _WIDTH):
        yield image[axis], strides[axis], (kernel[axis - 1] - 1) * dilations[axis] + 1


def _padding(convolution: Any) -> Iterator[int]:
    """Computes the padding that `SAME` means: before and after, down and across; the larger half comes after."""
    for length, stride, reach in _axes(convolution):
        steps = -(-length // stride)
        total = max((steps - 1) * stride + reach - length, 0)
        yield total // 2
        yield total - total // 2
