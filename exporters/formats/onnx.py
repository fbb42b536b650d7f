"""Exports to ONNX: `model.onnx`, opset 17 or 18, with canonical input and output names and named dynamic axes.

In: a lowered graph. Out: `model.onnx`. Where all of it would exceed the 2 GB that one protocol buffer can hold, the
weights are in `weights.bin` next to it.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.contract import Finding, Signature, TensorSpec
from exporters.formats.contract import ExportSource, Options
from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import record_rewrite
from exporters.weights.weight_layout import WeightLayout

if TYPE_CHECKING:
    import numpy as np

TITLE: str = "ONNX"
WEIGHTS = WeightLayout(packs_gates=True)
FILE = "model.onnx"
_WEIGHTS = "weights.bin"
IR_VERSION = 10  # read by ONNX Runtime 1.18 and later; the onnx package would write a version that no runtime reads yet
_PROTO_LIMIT = 2_000_000_000  # bytes; protocol buffers end at 2 GiB
_PAD_VALUE = 2  # position among the inputs of a Pad
_SMALLEST_NORMAL = {1: 2.0**-126, 11: 2.0**-1022}
"""Number of the element type in TensorProto (1: float, 11: double) -> its smallest normal number."""
_LARGE = 32 << 20  # bytes of graph beyond which weights stay out of the optimizer's protos (24 s -> 8 s for ResNet50)


def export(source: ExportSource, destination: Path, options: Options) -> Signature:
    """Converts a lowered graph.

    Args:
        source: its lowered graph is converted.
        destination: folder to create; receives `model.onnx`.
        options: `opset`, 17 or 18 (tf2onnx's table ends there).
    """
    import onnx
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    patch_tf2onnx()  # tf2onnx 1.17 uses names that NumPy 2 removed
    _patch_tf2onnx(tf2onnx.graph)
    graph = Graph.read(source.lowered)
    signature = _with_file_names(graph.signature)
    model, storage = tf2onnx.convert.from_graph_def(
        graph.graph_def,
        name="paritygate",
        opset=options["opset"],
        input_names=[spec.native for spec in graph.signature.inputs],
        output_names=[spec.native for spec in graph.signature.outputs],
        tensors_to_rename={
            traced.native: spec.native for traced, spec in zip(_specs(graph.signature), _specs(signature), strict=True)
        },
        large_model=graph.graph_def.ByteSize() > _LARGE,
    )
    if storage is not None:
        _restore_weights(model.graph, storage.name_to_tensor_data)
    keep_zeros_out_of_pools(model)
    _name_axes(model.graph, signature)
    model.ir_version = IR_VERSION
    destination.mkdir()
    onnx.save_model(
        model,
        str(destination / FILE),
        save_as_external_data=model.ByteSize() > _PROTO_LIMIT,
        location=_WEIGHTS,
    )
    return signature


def _patch_tf2onnx(graph: Any) -> None:
    """Patches two defects of tf2onnx up to 1.17.

    * It walks sets of nodes in the order of their addresses, so names and order of constants change from run to run.
      Hashed by name, the order depends only on the hash seed, which `exporters.jobs.processes` fixes.
    * It writes all weights into its protocol buffers again after each optimizer. They are read only when the model is
      made, which calls `update_proto` with an argument; only the bodies of loops and branches are read in between.
      Protocol buffers keep the memory of deleted fields: a Whisper with 150 MB of weights took 7.2 GiB. With the patch
      it takes 2.6 GiB and a third of the time.
    """
    graph.Node.__hash__ = lambda node: hash(node.name)
    write = graph.Graph.update_proto
    if not hasattr(write, "__wrapped__"):  # a process may export several models

        @wraps(write)
        def update_bodies_only(self: Any, *storage: Any) -> None:
            if storage:
                write(self, *storage)
                return
            for node in self.get_nodes():
                if node.get_body_graphs():
                    node.update_proto()

        graph.Graph.update_proto = update_bodies_only


def _with_file_names(signature: Signature) -> Signature:
    """Returns the signature with the file's names as `native`: the canonical names.

    ONNX forbids an output with the name of an input; such an output is called `NAME_output`.
    """
    input_names = {spec.name for spec in signature.inputs}
    return Signature(
        inputs=tuple(replace(spec, native=spec.name) for spec in signature.inputs),
        outputs=tuple(
            replace(spec, native=f"{spec.name}_output" if spec.name in input_names else spec.name)
            for spec in signature.outputs
        ),
    )


def _specs(signature: Signature) -> tuple[TensorSpec, ...]:
    return (*signature.inputs, *signature.outputs)


def _restore_weights(graph: Any, stored: Mapping[str, bytes]) -> None:
    """Puts weights that tf2onnx stored outside of the graph (`large_model`) back into their tensors."""
    from onnx import TensorProto

    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            location = next(entry.value for entry in tensor.external_data if entry.key == "location")
            tensor.raw_data = stored[location]
            tensor.data_location = TensorProto.DEFAULT
            del tensor.external_data[:]


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def keep_zeros_out_of_pools(model: Any) -> None:
    """Pads the input of a MaxPool with the smallest normal number instead of with zero.

    ONNX Runtime fuses the Pad into the MaxPool (pad_fusion.cc, onnxruntime#18136), whose own padding is minus infinity.
    A window of negative numbers at the border then has another maximum, as in every ResNet50V2. It fuses only a padding
    with zeros.
    """
    import onnx

    graph = model.graph
    pooled = {node.input[0] for node in graph.node if node.op_type == "MaxPool"}
    pads = [node for node in graph.node if node.op_type == "Pad" and pooled & set(node.output)]
    if not pads or model.ByteSize() > _PROTO_LIMIT:  # shape inference refuses a larger model
        return
    inferred = onnx.shape_inference.infer_shapes(model).graph
    element_types = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.input)}
    zeros = {"", *(tensor.name for tensor in graph.initializer if not onnx.numpy_helper.to_array(tensor).any())}
    for node in pads:
        padding = node.input[_PAD_VALUE] if len(node.input) > _PAD_VALUE else ""
        element_type = element_types.get(node.input[0])
        if padding not in zeros or element_type not in _SMALLEST_NORMAL or _mode(node) != "constant":
            continue
        record_rewrite("keep_zeros_out_of_pools")
        name = f"{node.name}/nearly_zero"
        graph.initializer.append(onnx.helper.make_tensor(name, element_type, (), [_SMALLEST_NORMAL[element_type]]))
        node.input[:] = [*node.input[:_PAD_VALUE], name, *node.input[_PAD_VALUE + 1 :]]


def _mode(pad: Any) -> str:
    return next((attribute.s.decode() for attribute in pad.attribute if attribute.name == "mode"), "constant")


def _name_axes(graph: Any, signature: Signature) -> None:
    """Names the dynamic axes: `batch` for the first, `NAME_AXIS` for others; tf2onnx calls them `unk__38`."""
    for values, specs in ((graph.input, signature.inputs), (graph.output, signature.outputs)):
        by_name = {spec.native: spec for spec in specs}
        for value in values:
            _name_axes_of(value, by_name.get(value.name))


def _name_axes_of(value: Any, spec: TensorSpec | None) -> None:
    if spec is None:
        return
    shape = value.type.tensor_type.shape
    del shape.dim[:]
    for axis, length in enumerate(spec.shape):
        dim = shape.dim.add()
        if length is None:
            dim.dim_param = "batch" if axis == 0 else f"{spec.name}_{axis}"
        else:
            dim.dim_value = length


def constants(artifact: Path) -> "dict[str, np.ndarray]":
    """Reads every initializer and constant, also inside of loops, by its name in the graph."""
    import onnx

    model = onnx.load_model(str(artifact / FILE))
    named = [(tensor.name, tensor) for tensor in _tensors(model.graph) if tensor.name]
    named += [
        (node.output[0], attribute.t)
        for node in _nodes(model.graph)
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.HasField("t")
    ]
    # The graphs inside of loops have their own names, so the same name may occur more than once.
    arrays: dict[str, np.ndarray] = {}
    for number, (name, tensor) in enumerate(named):
        if tensor.data_type != onnx.TensorProto.STRING:
            values = onnx.numpy_helper.to_array(tensor, base_dir=str(artifact))
            arrays[f"{name} ({number})" if name in arrays else name] = values
    return arrays


def check(artifact: Path, signature: Signature) -> tuple[Finding, ...]:
    """Finds what ONNX Runtime cannot run: operators of TensorFlow, and inputs that the model does not have."""
    import onnx

    model = onnx.load_model(str(artifact / FILE), load_external_data=False)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    foreign = Counter(
        node.op_type
        for node in _nodes(model.graph)
        if not onnx.defs.has(node.op_type, node.domain) and node.domain in {"", "ai.onnx"}
    )
    findings = []
    if foreign:
        message = ", ".join(sorted(foreign))
        findings.append(Finding(code="leftover-op", blocking=True, message=message, limit="onnx-unknown-op"))
    domains = sorted(set(opsets) - {"", "ai.onnx", "ai.onnx.ml"})
    if domains:
        message = ", ".join(domains)
        findings.append(Finding(code="custom-domain", blocking=True, message=message, limit="onnx-custom-domain"))
    if fault := _loop_fault(model):
        findings.append(Finding(code="convolution-in-loop", blocking=True, message=fault, limit="onnx-loop"))
    extra = sorted({value.name for value in model.graph.input} - {spec.name for spec in signature.inputs})
    if extra:
        message = f"demands inputs that the model does not have: {', '.join(extra)}"
        findings.append(Finding(code="captured-constant", blocking=True, message=message))
    return tuple(findings)


def _loop_fault(model: Any) -> str:
    """Returns the reason why no runtime loads the model's convolution inside of a loop; empty where there is none."""
    import onnx

    loops = [node for node in _nodes(model.graph) if node.op_type == "Loop"]
    inside = {each.op_type for loop in loops for attribute in loop.attribute for each in _nodes(attribute.g)}
    if "Conv" not in inside:
        return ""
    try:
        onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        return " ".join(str(error).split())[:200]
    return ""


def _nodes(graph: Any) -> Iterator[Any]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)
