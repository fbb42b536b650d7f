"""Exposes inner tensors of ONNX: every value of the main graph becomes an output; a part is the nodes in between."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from exporters.formats.onnx import FILE
from validators.diagnosis.inner_tensors.contract import CannotCut, spec


def write(
    artifact: Path,
    destination: Path,
    signature: Signature,
    *,
    fed: Mapping[str, np.ndarray] | None,
    wanted: Sequence[str] | None,
) -> Signature:
    """Writes the copy; see `validators.diagnosis.inner_tensors.contract.Exposer`."""
    import onnx

    model = onnx.load(str(artifact / FILE))
    graph = model.graph
    native_of = {f"input {each.name}": each.native for each in signature.inputs}
    native_of |= {f"output {each.name}": each.native for each in signature.outputs}
    artifact_outputs = {each.native for each in signature.outputs}
    names = (
        [native_of.get(n, n) for n in wanted]
        if wanted is not None
        else [n for n in _computed(model) if n not in artifact_outputs]
    )
    inputs = signature.inputs
    if fed is not None:
        name_of = {native_of.get(name, name): name for name in fed}
        used = {name: f"x{k}" for k, name in enumerate(_cut(graph, set(name_of), names))}
        _replace(graph.input, [_value_info(plain, fed[name_of[name]]) for name, plain in used.items()])
        inputs = tuple(
            spec(plain, name_of[name], native=plain, example=fed[name_of[name]]) for name, plain in used.items()
        )
        _rename(graph, used)
    if wanted is not None:
        del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    onnx.save(model, str(destination / FILE))
    shown = tuple(spec(f"inner_{k}", name, native=name) for k, name in enumerate(names))
    return Signature(inputs=inputs, outputs=(*(signature.outputs if wanted is None else ()), *shown))


def _computed(model: Any) -> list[str]:
    """Lists the tensors that nodes compute, in order; neither constants nor sequences of tensors."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model)
    others = {value.name for value in inferred.graph.value_info if not value.type.HasField("tensor_type")}
    return [
        name
        for node in model.graph.node
        if node.op_type != "Constant"
        for name in node.output
        if name and name not in others
    ]


def _cut(graph: Any, fed: set[str], wanted: Sequence[str]) -> list[str]:
    """Keeps only the nodes that lead from fed to wanted tensors; returns the fed tensors that they use."""
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    used: dict[str, None] = {}
    needed: set[str] = set()
    pending = list(wanted)
    while pending:
        name = pending.pop()
        if name in fed and name not in wanted:
            used[name] = None
        elif name in makers:
            node = makers[name]
            if node.output[0] not in needed:
                needed.add(node.output[0])
                pending += [each for each in _read(node) if each]
        elif name and name not in constants:
            message = f"{', '.join(wanted)} is computed from the input {name} as well"
            raise CannotCut(message)
    _replace(graph.node, [node for node in graph.node if node.output and node.output[0] in needed])
    read = {name for node in graph.node for name in _read(node)}
    _replace(graph.initializer, [tensor for tensor in graph.initializer if tensor.name in read])
    # Shapes that were recorded for the whole graph need not hold for tensors that are fed now.
    del graph.value_info[:]
    return list(used)


def _read(node: Any) -> list[str]:
    """Lists the values that a node reads, the bodies of its loops and branches included."""
    inner = [attribute.g for attribute in node.attribute if attribute.HasField("g")]
    made = {name for body in inner for each in body.node for name in each.output}
    made |= {value.name for body in inner for value in (*body.input, *body.initializer)}
    below = [name for body in inner for each in body.node for name in _read(each) if name not in made]
    return [*node.input, *below]


def _replace(field: Any, messages: Sequence[Any]) -> None:
    """Replaces the messages of a repeated field; the new ones may include old ones, so all are copied first."""
    copies = [type(message).FromString(message.SerializeToString()) for message in messages]
    del field[:]
    field.extend(copies)


def _rename(graph: Any, names: Mapping[str, str]) -> None:
    """Renames values at every node that reads them."""
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _rename(attribute.g, names)


def _value_info(name: str, example: np.ndarray) -> Any:
    from onnx import helper

    shape = [f"{name}_axis_{axis}" for axis in range(example.ndim)]
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(example.dtype), shape)
