"""Exposed copies of artifacts show what is inside, and parts of them compute the same alone."""

import numpy as np
import pytest

from exporters.contract import Signature, TensorSpec
from validators.diagnosis import tensor_capture
from validators.diagnosis.inner_tensors import job
from validators.samples.tensor_files import write_tensors

SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 4), native="x"),),
    outputs=(TensorSpec(name="y", dtype="float32", shape=(None, 4), native="y"),),
)
TWO = np.full(4, 2, dtype="float32")
ROWS = np.array([[-1, 0, 1, 2], [3, -4, 5, -6]], dtype="float32")
ROW = {"onnx": ("onnxruntime", "cpu"), "tflite": ("litert-xnnpack", "cpu")}
INNER = {"onnx": ("doubled/x", "squashed"), "tflite": ("2 doubled", "3 squashed")}


def onnx_file(folder):
    """y = relu(x * two) + x."""
    from onnx import TensorProto, helper, numpy_helper, save

    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "two"], ["doubled/x"]),
            helper.make_node("Relu", ["doubled/x"], ["squashed"]),
            helper.make_node("Add", ["squashed", "x"], ["y"]),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
        [numpy_helper.from_array(TWO, "two")],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "model.onnx")


def tflite_file(folder):
    """The same, operator by operator."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    codes = ("MUL", "RELU", "ADD")
    model = schema.ModelT()
    model.version, model.description = 3, b"small"
    model.operatorCodes = []
    for name in codes:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        model.operatorCodes.append(code)
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.frombuffer(TWO.tobytes(), np.uint8)
    graph = schema.SubGraphT()
    graph.name = b"main"
    graph.tensors = []
    for name, shape, buffer in (
        *((b"x", [2, 4], 0), (b"two", [4], 1), (b"doubled", [2, 4], 0), (b"squashed", [2, 4], 0), (b"y", [2, 4], 0)),
    ):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer, tensor.type = name, shape, buffer, schema.TensorType.FLOAT32
        graph.tensors.append(tensor)
    graph.operators = []
    for number, (inputs, output) in enumerate((([0, 1], 2), ([2], 3), ([3, 0], 4))):
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = number, inputs, [output]
        if codes[number] != "RELU":
            kind = codes[number].title()
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, f"{kind}Options")
            operator.builtinOptions = getattr(schema, f"{kind}OptionsT")()
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [4]
    model.subgraphs = [graph]
    entry = schema.SignatureDefT()
    entry.signatureKey, entry.subgraphIndex = b"serving_default", 0
    entry.inputs, entry.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
    entry.inputs[0].name, entry.inputs[0].tensorIndex = b"x", 0
    entry.outputs[0].name, entry.outputs[0].tensorIndex = b"y", 4
    model.signatureDefs = [entry]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    (folder / "model.tflite").write_bytes(builder.Output())


@pytest.fixture(params=["onnx", "tflite"])
def artifact(request, tmp_path):
    folder = tmp_path / "artifact"
    folder.mkdir()
    {"onnx": onnx_file, "tflite": tflite_file}[request.param](folder)
    return request.param, folder


def open_up(artifact, *, fed=None, wanted=None):
    """Writes the copy and returns its folder and signature, or why there is none."""
    kind, folder = artifact
    files = None
    if fed is not None:
        files = {name: folder.parent / f"{number}.npy" for number, name in enumerate(fed)}
        for name, path in files.items():
            np.save(path, fed[name])
    target = folder.parent / f"opened-{len(list(folder.parent.iterdir()))}"
    answer = job.expose_inner_tensors(
        job.ExposeRequest(
            format=kind,
            artifact=folder,
            destination=target,
            signature=SIGNATURE,
            fed=files,
            wanted=None if wanted is None else tuple(wanted),
        )
    )
    return answer.refused or (target, answer.signature)


def run(artifact, copy, tensors):
    """What the copy gives, by the artifact's names."""
    kind, _ = artifact
    folder, signature = copy
    inputs = folder.parent / f"{folder.name}-inputs"
    write_tensors(inputs, tensors)
    runtime, device = ROW[kind]
    captured = tensor_capture.capture_tensors(
        tensor_capture.CaptureRequest(
            artifact=folder,
            signature=signature,
            preprocessing="",
            runtime=runtime,
            device=device,
            options={},
            inputs=inputs,
            destination=folder.parent / f"{folder.name}-captured",
        )
    )
    names = {spec.name: spec.path or spec.name for spec in signature.outputs}
    return {names.get(name, name): np.load(path) for name, path in captured.tensors.items()}


def test_an_opened_copy_gives_every_inner_tensor_beside_the_outputs(artifact):
    doubled, squashed = INNER[artifact[0]]
    found = run(artifact, open_up(artifact), {"x": ROWS})
    assert set(found) == {"input x", doubled, squashed, "y"}
    np.testing.assert_array_equal(found[doubled], 2 * ROWS)
    np.testing.assert_array_equal(found[squashed], np.maximum(2 * ROWS, 0))
    np.testing.assert_array_equal(found["y"], np.maximum(2 * ROWS, 0) + ROWS)


def test_a_part_starts_from_an_inner_tensor(artifact):
    doubled, squashed = INNER[artifact[0]]
    copy = open_up(artifact, fed={doubled: ROWS}, wanted=[squashed])
    (fed,) = copy[1].inputs
    assert fed.path == doubled
    found = run(artifact, copy, {fed.name: ROWS})
    np.testing.assert_array_equal(found[squashed], np.maximum(ROWS, 0))


def test_a_part_takes_the_artifacts_own_inputs_and_outputs_by_their_canonical_names(artifact):
    _, squashed = INNER[artifact[0]]
    copy = open_up(artifact, fed={squashed: ROWS, "input x": ROWS}, wanted=["output y"])
    assert {spec.path for spec in copy[1].inputs} == {squashed, "input x"}
    found = run(artifact, copy, {spec.name: ROWS for spec in copy[1].inputs})
    np.testing.assert_array_equal(
        next(array for name, array in found.items() if not name.startswith("input")), 2 * ROWS
    )


def test_a_part_that_needs_more_than_it_is_fed_is_refused_with_what_it_needs(artifact):
    _, squashed = INNER[artifact[0]]
    assert "from" in open_up(artifact, fed={squashed: ROWS}, wanted=["output y"])


def test_a_part_reads_only_the_fed_tensors_on_its_way(artifact):
    doubled, squashed = INNER[artifact[0]]
    copy = open_up(artifact, fed={doubled: ROWS, "input x": ROWS}, wanted=[squashed])
    assert [spec.path for spec in copy[1].inputs] == [doubled]
