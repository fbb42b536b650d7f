"""Writes ELU in arithmetic.

LiteRT's reference kernels have none (kernels/register_ref.cc registers no `ELU`), while its optimised ones do: a file
with it runs in one and is refused by the other. `relu(x) + (exp(min(x, 0)) - 1)` is the same function and rounds like
it to a few 1e-8.

Removable when the reference kernels have `ELU`.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import record_rewrite


def elu_in_arithmetic(graph: Graph) -> Graph:
    """Writes every `Elu` of the graph out; returns the graph itself when there is none."""
    if not any(node.op == "Elu" for node in graph.graph_def.node):
        return graph
    record_rewrite("elu_in_arithmetic")
    rewritten = type(graph.graph_def)()
    rewritten.CopyFrom(graph.graph_def)
    del rewritten.node[:]
    for node in graph.graph_def.node:
        rewritten.node.extend(_written_out(node) if node.op == "Elu" else [node])
    return replace(graph, graph_def=rewritten)


def _written_out(elu: Any) -> Iterator[Any]:
    """Yields the nodes that replace one `Elu`; the last one has its name."""
    import tensorflow as tf
    from tensorflow.core.framework import node_def_pb2

    dtype = elu.attr["T"].type

    def node(part: str, op: str, *inputs: str) -> Any:
        made = node_def_pb2.NodeDef(name=f"{elu.name}/{part}" if part else elu.name, op=op, input=inputs)
        made.attr["T"].type = dtype
        return made

    def constant(part: str, value: float) -> Any:
        made = node_def_pb2.NodeDef(name=f"{elu.name}/{part}", op="Const")
        made.attr["dtype"].type = dtype
        made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value, tf.dtypes.as_dtype(dtype)))
        return made

    (x,) = elu.input
    zero, one = constant("zero", 0.0), constant("one", 1.0)
    above = node("above", "Relu", x)
    below = node("below", "Minimum", x, zero.name)
    power = node("power", "Exp", below.name)
    less = node("less", "Sub", power.name, one.name)
    yield from (zero, one, above, below, power, less, node("", "AddV2", above.name, less.name))
