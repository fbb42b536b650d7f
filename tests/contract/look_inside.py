"""Job functions that read an artifact's own file, independently of the exporter that wrote it and what it recorded."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporters.formats.job import ExportRequest, export

Facts = dict[str, Any]


def facts(request: Mapping[str, str]) -> dict[str, Facts]:
    """Job: `format/variant` -> folder in, the same keys -> what the file says of itself out."""
    readers = {"saved_model": saved_model, "tflite": tflite, "tfjs": tfjs, "onnx": onnx}
    return {key: readers[key.partition("/")[0]](Path(folder)) for key, folder in request.items()}


def saved_model(folder: Path) -> Facts:
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    signature = model.meta_graphs[0].signature_def["serving_default"]
    return {side: {n: _tensor_info(t) for n, t in getattr(signature, side).items()} for side in ("inputs", "outputs")}


def _tensor_info(tensor: Any) -> list[Any]:
    import tensorflow as tf

    return [tf.dtypes.as_dtype(tensor.dtype).name, [None if d.size < 0 else d.size for d in tensor.tensor_shape.dim]]


def tflite(folder: Path) -> Facts:
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((folder / "model.tflite").read_bytes(), 0)
    (definition,) = model.signatureDefs
    tensors = model.subgraphs[definition.subgraphIndex].tensors
    types = {getattr(schema.TensorType, n): np.dtype(n.lower()).name for n in ("FLOAT32", "FLOAT64", "INT32", "INT64")}

    def side(maps: Any) -> Facts:
        found = {}
        for entry in maps:
            tensor = tensors[entry.tensorIndex]
            shape = tensor.shape if tensor.shapeSignature is None else tensor.shapeSignature
            found[entry.name.decode()] = [types[tensor.type], [None if d < 0 else int(d) for d in shape]]
        return found

    custom = [code.customCode.decode() for code in model.operatorCodes if code.customCode]
    return {
        "inputs": side(definition.inputs),
        "outputs": side(definition.outputs),
        "key": definition.signatureKey.decode(),
        "custom": custom,
    }


def tfjs(folder: Path) -> Facts:
    import tensorflow as tf

    signature = json.loads((folder / "model.json").read_bytes())["signature"]

    def side(tensors: Mapping[str, Any]) -> Facts:
        return {
            name: [
                tf.dtypes.as_dtype(tf.dtypes.DType(_type_number(tensor["dtype"]))).name,
                [None if d["size"] == "-1" else int(d["size"]) for d in tensor["tensorShape"].get("dim", [])],
            ]
            for name, tensor in tensors.items()
        }

    return {which: side(signature[which]) for which in ("inputs", "outputs")}


def _type_number(name: str) -> int:
    from tensorflow.core.framework import types_pb2

    return int(types_pb2.DataType.Value(name))


def onnx(folder: Path) -> Facts:
    import onnx as package

    model = package.load(str(folder / "model.onnx"))
    package.checker.check_model(model, full_check=True)

    def side(values: Any) -> Facts:
        found = {}
        for value in values:
            tensor = value.type.tensor_type
            dims = [d.dim_value if d.HasField("dim_value") else d.dim_param for d in tensor.shape.dim]
            found[value.name] = [package.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name, dims]
        return found

    return {
        "inputs": side(model.graph.input),
        "outputs": side(model.graph.output),
        "opset": {entry.domain: entry.version for entry in model.opset_import},
        "ir": model.ir_version,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    folder: Path
    export: ExportRequest


def export_watched(request: Watched) -> list[str]:
    """Job: exports in an empty working directory and an empty folder for temporary files; returns what it left there.

    TensorFlow's own compiled functions do not count: it removes them when its process ends by itself.
    """
    here, temporary = request.folder / "here", request.folder / "temporary"
    for folder in (here, temporary):
        folder.mkdir(parents=True)
    os.chdir(here)
    os.environ["TMPDIR"] = tempfile.tempdir = str(temporary)
    export(request.export)
    left = [*here.rglob("*"), *temporary.rglob("*")]
    return [str(path) for path in left if not path.name.startswith("__autograph_generated_file")]
