"""ONNX: `model.onnx`, opset 17 or 18, with canonical input and output names and named dynamic axes.

In: a lowered graph. Out: `model.onnx`; when everything together would pass the 2 GB that one protocol buffer can hold,
the weights stand beside it in `weights.bin`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

from exporters.contract import Finding, Signature, TensorSpec
from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import acted
from exporters.weights.weight_layout import WeightLayout

TITLE: str = "ONNX"
WEIGHTS = WeightLayout(packs_gates=True)
FILE = "model.onnx"
_WEIGHTS = "weights.bin"
IR_VERSION = 10  # ONNX Runtime 1.18 and later read it; the onnx package would write one that runtimes do not know yet
_PROTO_LIMIT = 2_000_000_000  # bytes; protocol buffers end at 2 GiB
_PAD_VALUE = 2  # position among the inputs of a Pad
_SMALLEST_NORMAL = {1: 2.0**-126, 11: 2.0**-1022}
"""Of float and double, by their numbers in TensorProto."""
_LARGE = 32 << 20  # bytes of graph beyond which weights stay out of the optimizer's protos (24 s -> 8 s for ResNet50)


def export(source: Path, destination: Path, options: Mapping[str, Any]) -> Signature:
    """Converts a lowered graph.

    Args:
        source: folder of a lowered graph.
        destination: folder to create; receives `model.onnx`.
        options: `opset`, 17 or 18 (tf2onnx's table ends there).
    """
    import onnx
    import tf2onnx
    from keras.src.export.tf2onnx_lib import patch_tf2onnx

    patch_tf2onnx()  # tf2onnx 1.17 uses names that NumPy 2 removed
    _mend(tf2onnx.graph)
    graph = Graph.read(source)
    named = _named(graph.signature)
    model, storage = tf2onnx.convert.from_graph_def(
        graph.graph_def,
        name="paritygate",
        opset=options["opset"],
        input_names=[spec.native for spec in graph.signature.inputs],
        output_names=[spec.native for spec in graph.signature.outputs],
        tensors_to_rename={
            traced.native: spec.native for traced, spec in zip(_all(graph.signature), _all(named), strict=True)
        },
        large_model=graph.graph_def.ByteSize() > _LARGE,
    )
    if storage is not None:
        _restore_weights(model.graph, storage.name_to_tensor_data)
    keep_zeros_out_of_pools(model)
    _name_axes(model.graph, named)
    model.ir_version = IR_VERSION
    destination.mkdir()
    onnx.save_model(
        model,
        str(destination / FILE),
        save_as_external_data=model.ByteSize() > _PROTO_LIMIT,
        location=_WEIGHTS,
    )
    return named


def _mend(graph: Any) -> None:
    """Two habits of tf2onnx 1.17 and before.

    It walks sets of nodes, whose order is that of their addresses: names and order of constants changed from run to
    run. By name the order is the same wherever the hash seed is (`exporters.jobs.processes` fixes it).

    And it writes all weights into its protocol buffers anew after each optimizer, though nobody reads them before the
    model is made, which writes them with an argument of its own; only the body of a loop or a branch is looked at in
    that form. Protocol buffers keep what is deleted from them: of a Whisper with 150 MB of weights that made 7.2 GiB,
    now 2.6, and a third of the time.
    """
    graph.Node.__hash__ = lambda node: hash(node.name)
    write = graph.Graph.update_proto
    if not hasattr(write, "__wrapped__"):

        @wraps(write)
        def sparing(own: Any, *storage: Any) -> None:
            if storage:
                write(own, *storage)
                return
            for node in own.get_nodes():
                if node.get_body_graphs():
                    node.update_proto()

        graph.Graph.update_proto = sparing


def _named(signature: Signature) -> Signature:
    """The names in the file: the canonical ones; an output called like an input, as ONNX forbids, is `NAME_output`."""
    taken = {spec.name for spec in signature.inputs}
    return Signature(
        inputs=tuple(replace(spec, native=spec.name) for spec in signature.inputs),
        outputs=tuple(
            replace(spec, native=f"{spec.name}_output" if spec.name in taken else spec.name)
            for spec in signature.outputs
        ),
    )


def _all(signature: Signature) -> tuple[TensorSpec, ...]:
    return (*signature.inputs, *signature.outputs)


def _restore_weights(graph: Any, stored: Mapping[str, bytes]) -> None:
    """Puts weights that tf2onnx kept aside back into their tensors."""
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
    """Pads what a MaxPool takes with the smallest normal number instead of with zero.

    ONNX Runtime makes one operator of the two (pad_fusion.cc, onnxruntime#18136), whose padding is minus infinity: a
    window of negative numbers at the border then has another maximum, as in every ResNet50V2. It does so for zeros
    only.
    """
    import onnx

    graph = model.graph
    pooled = {node.input[0] for node in graph.node if node.op_type == "MaxPool"}
    pads = [node for node in graph.node if node.op_type == "Pad" and pooled & set(node.output)]
    if not pads or model.ByteSize() > _PROTO_LIMIT:  # what is larger, shape inference does not take
        return
    known = onnx.shape_inference.infer_shapes(model).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in (*known.value_info, *known.input)}
    zeros = {"", *(tensor.name for tensor in graph.initializer if not onnx.numpy_helper.to_array(tensor).any())}
    for node in pads:
        given = node.input[_PAD_VALUE] if len(node.input) > _PAD_VALUE else ""
        kind = kinds.get(node.input[0])
        if given not in zeros or kind not in _SMALLEST_NORMAL or _mode(node) != "constant":
            continue
        acted("keep_zeros_out_of_pools")
        name = f"{node.name}/nearly_zero"
        graph.initializer.append(onnx.helper.make_tensor(name, kind, (), [_SMALLEST_NORMAL[kind]]))
        node.input[:] = [*node.input[:_PAD_VALUE], name, *node.input[_PAD_VALUE + 1 :]]


def _mode(pad: Any) -> str:
    return next((attribute.s.decode() for attribute in pad.attribute if attribute.name == "mode"), "constant")


def _name_axes(graph: Any, signature: Signature) -> None:
    """Dynamic axes get names: `batch` for the first, `NAME_AXIS` for others; tf2onnx calls them `unk__38`."""
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


def constants(artifact: Path) -> dict[str, Any]:
    """Every initializer and constant, those inside of loops included, by the name that the graph calls it."""
    import onnx

    model = onnx.load_model(str(artifact / FILE))
    named = [(tensor.name, tensor) for tensor in _tensors(model.graph) if tensor.name]
    named += [
        (node.output[0], attribute.t)
        for node in _nodes(model.graph)
        for attribute in node.attribute
        if node.op_type == "Constant" and attribute.HasField("t")
    ]
    found: dict[str, Any] = {}
    for number, (name, tensor) in enumerate(named):
        if tensor.data_type != onnx.TensorProto.STRING:
            values = onnx.numpy_helper.to_array(tensor, base_dir=str(artifact))
            found[f"{name} ({number})" if name in found else name] = values
    return found


def check(artifact: Path, signature: Signature) -> tuple[Finding, ...]:
    """Finds what ONNX Runtime cannot run: TensorFlow operators left over, and inputs that nobody can provide."""
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
    """Why no runtime would load a convolution inside of a loop; empty where there is none, or it is sound."""
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
