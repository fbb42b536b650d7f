"""Exports to TF.js: a graph model, `model.json` with its weight shards.

In: a lowered graph. Out: a folder that the TF.js converter wrote. The converter's entry points load a SavedModel, match
names by shape and hide the true error behind a fallback (tfjs#3942). So this module calls their inner steps, which take
the graph and the signature as they are.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.contract import Finding, Signature
from exporters.formats.contract import ExportSource, Options
from exporters.formats.tfjs_fusions import replace_unsupported_fusions
from exporters.formats.tfjs_stubs import conversion_module
from exporters.lowering.graph import Graph
from exporters.lowering.rewrites.grouped_convolution import split_grouped_convolutions
from exporters.lowering.rewrites.strided_padding import pad_in_numbers
from exporters.target_limits import known_limit, limited
from exporters.weights.weight_layout import WeightLayout

if TYPE_CHECKING:
    import numpy as np

TITLE: str = "TF.js"
WEIGHTS = WeightLayout(kernels="last_two")
FILE = "model.json"
_SHARD = 4 << 20  # bytes; the converter's default
_INT32 = 2**31
_SENTINELS = (2**63 - 1, -(2**63))  # "to the end" in slices; narrowing keeps that meaning


def export(source: ExportSource, destination: Path, _options: Options) -> Signature:
    """Converts a lowered graph.

    Args:
        source: its lowered graph is converted.
        destination: folder to create; receives `model.json` and the shards.

    Raises:
        Limited: the graph has operators TF.js does not know, or integers that do not fit its int32.
    """
    import tensorflow as tf

    conversion = conversion_module()
    graph = split_grouped_convolutions(pad_in_numbers(Graph.read(source.lowered)))
    _refuse_wide_integers(graph)
    imported = graph.imported()
    signature_def = _signature_def(imported, graph.signature)
    try:
        optimised = conversion.optimize_graph(imported, signature_def, strip_debug_ops=True)
    except ValueError as error:
        limit = known_limit("tfjs", str(error))
        if limit is None:
            raise
        raise limit from error
    replace_unsupported_fusions(optimised)
    weights = conversion.extract_weights(optimised)  # also removes them from the graph, which is written below
    destination.mkdir()
    conversion.write_artifacts(
        None,  # the graph: `_add_topology` writes it
        weights,
        str(destination / FILE),
        tf.__version__,
        signature_def,
        weight_shard_size_bytes=_SHARD,
    )
    _add_topology(destination / FILE, conversion.MessageToDict(optimised))
    return graph.signature


def _signature_def(imported: Any, signature: Signature) -> Any:
    """Builds the signature under canonical keys; the converter would match keys to tensors by dtype and shape."""
    from tensorflow.core.protobuf import meta_graph_pb2

    definition = meta_graph_pb2.SignatureDef()
    for specs, target in ((signature.inputs, definition.inputs), (signature.outputs, definition.outputs)):
        for spec in specs:
            tensor = imported.get_tensor_by_name(spec.native)
            target[spec.name].name = tensor.name
            target[spec.name].dtype = tensor.dtype.as_datatype_enum
            target[spec.name].tensor_shape.CopyFrom(tensor.shape.as_proto())
    return definition


def _refuse_wide_integers(graph: Graph) -> None:
    """Refuses int64 constants that do not fit int32, which the converter would silently narrow.

    Raises:
        Limited: a constant holds such a number.
    """
    import numpy as np
    import tensorflow as tf

    for node in graph.graph_def.node:
        if node.op != "Const" or node.attr["dtype"].type != tf.int64.as_datatype_enum:
            continue
        values = tf.make_ndarray(node.attr["value"].tensor)
        if not np.isin(values[(values >= _INT32) | (values < -_INT32)], _SENTINELS).all():
            raise limited("tfjs-int64", f"constant {node.name} holds {values.min()} to {values.max()}")


def _add_topology(path: Path, topology: Mapping[str, Any]) -> None:
    """Adds the graph to the file, and sorts its keys.

    The converter writes keys in the order of a hash; sorted, the file is the same on every run. The converter's own
    writer passes JSON token by token through TensorFlow's file layer: half a minute for some thousand operators.
    """
    model = {**json.loads(path.read_text("utf-8")), "modelTopology": topology}
    path.write_text(json.dumps(model, sort_keys=True, separators=(",", ":")), "utf-8")


def _nodes(model: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    topology = model["modelTopology"]
    yield from topology.get("node", ())
    for function in topology.get("library", {}).get("function", ()):
        yield from function.get("nodeDef", ())


def constants(artifact: Path) -> "dict[str, np.ndarray]":
    """Reads every weight of the shards by name, in the type that is stored; text is left out."""
    import numpy as np

    model = json.loads((artifact / FILE).read_text("utf-8"))
    arrays: dict[str, np.ndarray] = {}
    for group in model["weightsManifest"]:
        data, offset = b"".join((artifact / path).read_bytes() for path in group["paths"]), 0
        for entry in group["weights"]:
            if entry["dtype"] == "string":  # each string follows its length, 4 bytes
                for _ in range(int(np.prod(entry["shape"], dtype=int))):
                    offset += 4 + int.from_bytes(data[offset : offset + 4], "little")
                continue
            dtype = np.dtype(entry.get("quantization", entry)["dtype"])
            values = np.frombuffer(data, dtype, int(np.prod(entry["shape"], dtype=int)), offset)
            arrays[entry["name"]] = values.reshape(entry["shape"])
            offset += values.nbytes
    return arrays


def check(artifact: Path, _signature: Signature) -> tuple[Finding, ...]:
    """Finds what TF.js cannot run: unknown operators, and weights that no shard holds."""
    from tensorflowjs import resource_loader

    model = json.loads((artifact / FILE).read_text("utf-8"))
    known = {"Const", "Placeholder", "Identity", "NoOp"}
    for name in resource_loader.list_dir("op_list"):
        if name.endswith(".json"):
            with resource_loader.open_file(f"op_list/{name}") as stream:
                known.update(row["tfOpName"] for row in json.load(stream))
    unknown = sorted({node["op"] for node in _nodes(model)} - known)
    findings = []
    if unknown:
        findings.append(
            Finding(code="unsupported-op", blocking=True, message=", ".join(unknown), limit="tfjs-unknown-op")
        )
    lists = sorted({node["op"] for node in _nodes(model) if node["op"].startswith("TensorList")})
    if lists:
        findings.append(Finding(code="tensor-list-loop", blocking=True, message=", ".join(lists), limit="tfjs-loop"))
    missing = sorted(p for group in model["weightsManifest"] for p in group["paths"] if not (artifact / p).is_file())
    if missing:
        findings.append(
            Finding(code="missing-shard", blocking=True, message=f"shards are missing: {', '.join(missing)}")
        )
    return tuple(findings)
