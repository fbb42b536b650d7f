"""Exposes inner tensors of TF Lite: every tensor that an operator writes becomes an output of the signature.

Every runtime and delegate writes the tensors that are outputs. XNNPACK hides all others, and LiteRT's
`experimental_preserve_all_tensors` would switch XNNPACK off.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from exporters.formats.tflite import FILE
from validators.diagnosis.inner_tensors.contract import CannotCut, spec


def write(
    artifact: Path,
    destination: Path,
    signature: Signature,
    *,
    fed: Mapping[str, np.ndarray] | None,
    wanted: Sequence[str] | None,
) -> Signature:
    """Writes the copy; see `validators.diagnosis.inner_tensors.contract.Exposer`; a tensor is called `INDEX name`."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((artifact / FILE).read_bytes(), 0)
    (entry,) = model.signatureDefs
    graph = model.subgraphs[entry.subgraphIndex]
    artifact_outputs = {output.tensorIndex for output in entry.outputs}
    called = {f"input {each.name.decode()}": each.tensorIndex for each in entry.inputs}
    called |= {f"output {each.name.decode()}": each.tensorIndex for each in entry.outputs}
    if wanted is None:
        shown = [index for index in _computed(schema, graph) if index not in artifact_outputs]
        kept = list(entry.outputs)
    else:
        shown, kept = [_index(name, called) for name in wanted], []
    inputs = signature.inputs
    if fed is not None:
        by_index = {_index(name, called): name for name in fed}
        used = _cut(graph, set(by_index), shown)
        graph.inputs = np.array(used, dtype=np.int32)
        entry.inputs = [_entry(schema, index) for index in used]
        inputs = tuple(
            spec(f"inner_{index}", by_index[index], native=f"inner_{index}", example=fed[by_index[index]])
            for index in used
        )
        for index in used:
            _shape_like(graph.tensors[index], fed[by_index[index]])
    entry.outputs = [*kept, *(_entry(schema, index) for index in shown)]
    graph.outputs = np.array([output.tensorIndex for output in entry.outputs], dtype=np.int32)
    (destination / FILE).write_bytes(_packed(model))
    specs = tuple(spec(f"inner_{index}", _name(graph, index), native=f"inner_{index}") for index in shown)
    return Signature(inputs=inputs, outputs=(*(signature.outputs if wanted is None else ()), *specs))


def _computed(schema: Any, graph: Any) -> list[int]:
    """Lists the indices of the tensors that operators write, in order; no handles of variables."""
    kinds = {schema.TensorType.RESOURCE, schema.TensorType.VARIANT, schema.TensorType.STRING}
    written = [int(index) for operator in graph.operators for index in operator.outputs if index >= 0]
    return [index for index in dict.fromkeys(written) if graph.tensors[index].type not in kinds]


def _cut(graph: Any, fed: set[int], wanted: Sequence[int]) -> list[int]:
    """Keeps only the operators that lead from fed to wanted tensors; returns the fed tensors that they use."""
    makers = {int(index): operator for operator in graph.operators for index in operator.outputs}
    used: dict[int, None] = {}
    needed: list[Any] = []
    pending = list(wanted)
    while pending:
        index = pending.pop()
        if index in fed and index not in wanted:
            used[index] = None
        elif index in makers:
            if not any(operator is makers[index] for operator in needed):
                needed.append(makers[index])
                pending += [int(each) for each in makers[index].inputs if each >= 0]
        elif index in {int(each) for each in graph.inputs}:
            message = f"{', '.join(_name(graph, each) for each in wanted)} is computed from an input as well"
            raise CannotCut(message)
    graph.operators = [operator for operator in graph.operators if any(operator is each for each in needed)]
    return list(used)


def _shape_like(tensor: Any, example: np.ndarray) -> None:
    """Sets the shape of a fed tensor to that of its example: the converter only guessed shapes of inner tensors."""
    tensor.shape = np.array(example.shape, dtype=np.int32)
    tensor.shapeSignature = None


def _entry(schema: Any, index: int) -> Any:
    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = f"inner_{index}".encode(), index
    return entry


def _name(graph: Any, index: int) -> str:
    return f"{index} {(graph.tensors[index].name or b'').decode('utf-8', 'replace')}"


def _index(name: str, called: Mapping[str, int]) -> int:
    return called[name] if name in called else int(name.partition(" ")[0])


def _packed(model: Any) -> bytes:
    import flatbuffers  # type: ignore[import-untyped]

    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
