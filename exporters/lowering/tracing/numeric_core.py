"""Cuts the numeric core out of a split model: the part of the graph behind the cut.

In: the frozen graph of the whole model, and the tensors it is cut at. Out: a graph whose inputs replace those tensors;
the nodes before them, tables and text included, are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from exporters.contract import TensorSpec
from exporters.preprocessing.graph_split import Cut


def cut_graph(graph_def: Any, cuts: Sequence[Cut], outputs: Sequence[str]) -> tuple[Any, tuple[TensorSpec, ...]]:
    """Cuts a frozen graph.

    Args:
        graph_def: of the whole model.
        cuts: the places; tensors by the names that they have in the graph.
        outputs: tensors of the graph to keep, `node:0`.

    Returns:
        The graph of the core, and its inputs with their native names.
    """
    nodes = {node.name: node for node in graph_def.node}
    instead: dict[str, str] = {}
    specs = []
    cut = type(graph_def)()
    cut.versions.CopyFrom(graph_def.versions)
    cut.library.CopyFrom(graph_def.library)
    for place in cuts:
        name = place.spec.name
        while name in nodes and f"{name}:0" != place.tensor.name:  # a layer's own node may be called like the layer
            name = f"{name}_input"
        placeholder, last = _placeholder(name, place)
        cut.node.extend(placeholder)
        instead[_reference(place.tensor.name)] = last
        specs.append(replace(place.spec, native=f"{name}:0"))
    kept = _kept(nodes, instead, outputs)
    for node in graph_def.node:
        if node.name in kept:
            copy = cut.node.add()
            copy.CopyFrom(node)
            copy.input[:] = [
                instead.get(_reference(name), name)
                for name in node.input
                if not name.startswith("^") or name[1:] in kept  # assertions before the cut are left out
            ]
    return cut, tuple(specs)


def _placeholder(name: str, place: Cut) -> tuple[list[Any], str]:
    """Returns the nodes of a core's input, and the reference that replaces the tensor: a cast where it is narrower."""
    import tensorflow as tf
    from tensorflow.core.framework import node_def_pb2

    node = node_def_pb2.NodeDef(name=name, op="Placeholder")
    dtype = tf.dtypes.as_dtype(place.spec.dtype)
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(place.spec.shape).as_proto())
    if dtype == place.tensor.dtype:
        return [node], name
    widened = node_def_pb2.NodeDef(name=f"{name}/widened", op="Cast", input=[name])
    widened.attr["SrcT"].type = dtype.as_datatype_enum
    widened.attr["DstT"].type = place.tensor.dtype.as_datatype_enum
    return [node, widened], widened.name


def _reference(name: str) -> str:
    """Returns a tensor's name as nodes write it: without `:0`."""
    return name.removesuffix(":0")


def _kept(nodes: dict[str, Any], instead: dict[str, str], outputs: Sequence[str]) -> set[str]:
    """Returns the names of the nodes behind the cut: those that the outputs depend on, up to the replaced tensors."""
    kept: set[str] = set()
    pending = list(map(_reference, outputs))
    while pending:
        name = pending.pop()
        node = name.partition(":")[0]
        if name not in instead and node not in kept:
            kept.add(node)
            pending += _operands(nodes[node])
    return kept


def _operands(node: Any) -> Iterator[str]:
    for name in node.input:
        if not name.startswith("^"):
            yield _reference(name)
