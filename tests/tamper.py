"""Makes artifacts wrong on purpose: each function does one thing to a good artifact of the model `twins`.

`tamper` is a job function: it runs where TensorFlow is. An artifact that is wrong in one of these ways still loads and
runs; only its numbers, names, types or shapes are off.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np


def tamper(request: Mapping[str, Any]) -> None:
    """Job: changes an artifact in place.

    Args:
        request: `format`, `fault` (a key of that format's table below), `folder`, and what the fault needs: `by` (how
            far the bias of output `third` moves), `above` (value of `zeta[:, 0]` beyond which a row turns NaN).
    """
    {"onnx": _onnx, "tflite": _tflite, "tfjs": _tfjs, "saved_model": _saved_model}[request["format"]](request)


# ONNX: the graph is a list of nodes that refer to each other by name.


def _onnx(request: Mapping[str, Any]) -> None:
    import onnx

    path = Path(request["folder"]) / "model.onnx"
    model = onnx.load(str(path))
    ONNX[request["fault"]](model.graph, request)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _onnx_nothing(_graph: Any, _request: Mapping[str, Any]) -> None:
    """Read and written again, nothing else."""


def _onnx_weight(graph: Any, request: Mapping[str, Any]) -> None:
    from onnx import numpy_helper

    weights = {weight.name: weight for weight in graph.initializer}
    (last,) = [node for node in graph.node if "third" in node.output]
    (bias,) = [weights[n] for n in last.input if n in weights and list(weights[n].dims) == [3]]
    values = numpy_helper.to_array(bias).copy()
    values[0] += request["by"]
    bias.CopyFrom(numpy_helper.from_array(values, bias.name))


def _onnx_swap(graph: Any, a: str, b: str) -> None:
    """Whoever meant `a` means `b`, and the other way round; the graph's own inputs and outputs keep their places."""
    other = {a: b, b: a}
    for node in graph.node:
        node.input[:] = [other.get(name, name) for name in node.input]
        node.output[:] = [other.get(name, name) for name in node.output]


def _onnx_missing(graph: Any, _request: Mapping[str, Any]) -> None:
    (second,) = [output for output in graph.output if output.name == "second"]
    graph.output.remove(second)


def _onnx_extra(graph: Any, _request: Mapping[str, Any]) -> None:
    from onnx import helper

    graph.node.append(helper.make_node("Neg", ["second"], ["fourth"]))
    graph.output.append(helper.make_tensor_value_info("fourth", 1, ["batch", 3]))


def _onnx_through(graph: Any, *, dtype: int = 1, shape: Any = ("batch", 3)) -> Callable[..., None]:
    """Takes output `first` away from whoever made it; returns what adds nodes, the last of which makes it anew."""
    from onnx import helper

    for node in graph.node:
        node.output[:] = ["first_before" if name == "first" else name for name in node.output]
        node.input[:] = ["first_before" if name == "first" else name for name in node.input]
    (value,) = [output for output in graph.output if output.name == "first"]
    value.CopyFrom(helper.make_tensor_value_info("first", dtype, list(shape)))

    def add(operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        graph.node.append(helper.make_node(operator, inputs, [output], **attributes))

    return add


def _onnx_const(graph: Any, name: str, values: Any, dtype: Any) -> str:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.array(values, dtype=dtype), name))
    return name


def _onnx_dtype(graph: Any, _request: Mapping[str, Any]) -> None:
    from onnx import TensorProto

    _onnx_through(graph, dtype=TensorProto.DOUBLE)("Cast", ["first_before"], "first", to=TensorProto.DOUBLE)


def _onnx_shape(graph: Any, _request: Mapping[str, Any]) -> None:
    axes = _onnx_const(graph, "axes", [1], np.int64)
    _onnx_through(graph, shape=("batch", 1, 3))("Unsqueeze", ["first_before", axes], "first")


def _onnx_one_row(graph: Any, _request: Mapping[str, Any]) -> None:
    """The mean over the batch: equal at batch 1, one row that would broadcast at any other."""
    axes = _onnx_const(graph, "axes", [0], np.int64)
    _onnx_through(graph, shape=(1, 3))("ReduceMean", ["first_before", axes], "first", keepdims=1)


def _onnx_nan(graph: Any, request: Mapping[str, Any]) -> None:
    column = _onnx_const(graph, "column", [0], np.int64)
    above = _onnx_const(graph, "above", request["above"], np.float32)
    nan = _onnx_const(graph, "nan", np.nan, np.float32)
    add = _onnx_through(graph)
    add("Gather", ["zeta", column], "judged", axis=1)
    add("Greater", ["judged", above], "rare")
    add("Where", ["rare", nan, "first_before"], "first")


def _onnx_constant(graph: Any, _request: Mapping[str, Any]) -> None:
    zero = _onnx_const(graph, "zero", 0.0, np.float32)
    answer = _onnx_const(graph, "answer", [0.1, 0.2, 0.3], np.float32)
    add = _onnx_through(graph)
    add("Mul", ["first_before", zero], "nothing")
    add("Add", ["nothing", answer], "first")


def _onnx_batch7(graph: Any, _request: Mapping[str, Any]) -> None:
    from onnx import TensorProto

    first = _onnx_const(graph, "first_axis", [0], np.int64)
    seven = _onnx_const(graph, "seven", [7], np.int64)
    add = _onnx_through(graph)
    add("Shape", ["zeta"], "zeta_shape")
    add("Gather", ["zeta_shape", first], "rows")
    add("Equal", ["rows", seven], "is_seven")
    add("Cast", ["is_seven"], "one_at_seven", to=TensorProto.FLOAT)
    add("Add", ["first_before", "one_at_seven"], "first")


ONNX: Mapping[str, Callable[[Any, Mapping[str, Any]], None]] = {
    "nothing": _onnx_nothing,
    "weight": _onnx_weight,
    "swapped outputs": lambda graph, _: _onnx_swap(graph, "first", "second"),
    "swapped inputs": lambda graph, _: _onnx_swap(graph, "zeta", "alpha"),
    "missing output": _onnx_missing,
    "extra output": _onnx_extra,
    "dtype": _onnx_dtype,
    "shape": _onnx_shape,
    "one row": _onnx_one_row,
    "nan in a rare row": _onnx_nan,
    "constant": _onnx_constant,
    "wrong at batch 7": _onnx_batch7,
}


# TF Lite: tables of a flatbuffer that refer to each other by number.


def _tflite(request: Mapping[str, Any]) -> None:
    import flatbuffers
    from tensorflow.lite.python import schema_py_generated as schema

    path = Path(request["folder"]) / "model.tflite"
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    (signature,) = model.signatureDefs
    if request["fault"] == "weight":
        graph = model.subgraphs[signature.subgraphIndex]
        third = next(entry.tensorIndex for entry in signature.outputs if entry.name == b"third")
        (last,) = [operator for operator in graph.operators if third in operator.outputs]
        (bias,) = [graph.tensors[i] for i in last.inputs if list(graph.tensors[i].shape) == [3]]
        values = np.frombuffer(bytes(model.buffers[bias.buffer].data), np.float32).copy()
        values[0] += request["by"]
        model.buffers[bias.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    elif request["fault"] == "swapped outputs":
        _swap_entries({entry.name: entry for entry in signature.outputs}, b"first", b"second")
    elif request["fault"] == "swapped inputs":
        _swap_entries({entry.name: entry for entry in signature.inputs}, b"zeta", b"alpha")
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(builder.Output())


def _swap_entries(entries: Mapping[bytes, Any], a: bytes, b: bytes) -> None:
    entries[a].tensorIndex, entries[b].tensorIndex = entries[b].tensorIndex, entries[a].tensorIndex


# TF.js: JSON, and the weights' bytes one after the other.


def _tfjs(request: Mapping[str, Any]) -> None:
    folder = Path(request["folder"])
    model = json.loads((folder / "model.json").read_text("utf-8"))
    signature = model["signature"]
    if request["fault"] == "weight":
        _move_tfjs_bias(folder, model, signature["outputs"]["third"]["name"].partition(":")[0], request["by"])
    elif request["fault"] == "swapped outputs":
        outputs = signature["outputs"]
        outputs["first"], outputs["second"] = outputs["second"], outputs["first"]
    elif request["fault"] == "swapped inputs":
        inputs = signature["inputs"]
        inputs["zeta"], inputs["alpha"] = inputs["alpha"], inputs["zeta"]
    (folder / "model.json").write_text(json.dumps(model), "utf-8")


def _move_tfjs_bias(folder: Path, model: Mapping[str, Any], node: str, by: float) -> None:
    """Follows the output back to the weight of three numbers that is added to it."""
    nodes = {entry["name"]: entry for entry in model["modelTopology"]["node"]}
    (group,) = model["weightsManifest"]
    offset, places = 0, {}
    for weight in group["weights"]:
        places[weight["name"]] = offset, weight["shape"]
        offset += int(np.prod(weight["shape"])) * np.dtype(weight["dtype"]).itemsize
    while not (found := [n for n in nodes[node].get("input", []) if n in places and places[n][1] == [3]]):
        node = nodes[node]["input"][0]
    (shard,) = group["paths"]
    content = bytearray((folder / shard).read_bytes())
    start = places[found[0]][0]
    value = np.frombuffer(content, np.float32, 1, start)[0]
    content[start : start + 4] = np.float32(value + by).tobytes()
    (folder / shard).write_bytes(content)


# SavedModel: another function under the same signature.


def _saved_model(request: Mapping[str, Any]) -> None:
    import tensorflow as tf

    model = tf.saved_model.load(request["folder"])
    serve = model.signatures["serving_default"]
    fault = request["fault"]
    if fault == "weight":
        (bias,) = [v for v in serve.variables if tuple(v.shape) == (3,) and _is_bias_of(serve, v)]
        bias.assign(bias + np.float32([request["by"], 0, 0]))

    @tf.function(autograph=False)
    def wrong(zeta: Any, alpha: Any) -> dict[str, Any]:
        if fault == "swapped inputs":
            zeta, alpha = alpha, zeta
        outputs = dict(serve(zeta=zeta, alpha=alpha))
        if fault == "swapped outputs":
            outputs["first"], outputs["second"] = outputs["second"], outputs["first"]
        return outputs

    specs = {name: tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in _inputs(serve).items()}
    model.wrong = wrong
    tf.saved_model.save(model, request["folder"], signatures={"serving_default": wrong.get_concrete_function(**specs)})


def _inputs(serve: Any) -> Mapping[str, Any]:
    return serve.structured_input_signature[1]


def _is_bias_of(serve: Any, variable: Any) -> bool:
    """Whether moving the variable moves output `third`: names of variables do not survive in a SavedModel."""
    import tensorflow as tf

    feeds = {name: tf.ones([1, 4]) for name in _inputs(serve)}
    before = serve(**feeds)["third"].numpy()
    variable.assign_add(tf.ones([3]))
    moved = not np.array_equal(serve(**feeds)["third"].numpy(), before)
    variable.assign_sub(tf.ones([3]))
    return moved
