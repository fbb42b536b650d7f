"""Exports to TF Lite: one flatbuffer, float32, builtin operators only.

In: a lowered graph. Out: `model.tflite` with one signature whose inputs and outputs have the canonical names. Two
variants come from two graphs: `dynamic` keeps the batch dynamic, `batch1` fixes it, since some runtimes take only fixed
shapes. Where other axes are dynamic too, `static` is the graph of `dynamic` with a length for every axis.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from exporters.contract import Finding, Signature, TensorSpec
from exporters.formats.contract import ExportSource, Options
from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import record_rewrite
from exporters.lowering.rewrites.elu import elu_in_arithmetic
from exporters.source.keras.graph_function import graph_function
from exporters.target_limits import known_limit, limited
from exporters.weights.weight_layout import WeightLayout

if TYPE_CHECKING:
    import numpy as np

TITLE: str = "TF Lite"
WEIGHTS = WeightLayout()
FILE = "model.tflite"
SIGNATURE_KEY = "serving_default"


def export(source: ExportSource, destination: Path, _options: Options) -> Signature:
    """Converts a lowered graph.

    Args:
        source: its lowered graph is converted, with the shapes in `shapes` where there are any.
        destination: folder to create; receives `model.tflite`.

    Raises:
        Limited: a known limit of the converter (see `exporters.target_limits`), or an axis whose length is unknown.
    """
    import tensorflow as tf

    graph = elu_in_arithmetic(Graph.read(source.lowered))
    if shapes := source.shapes:
        graph = replace(
            graph, signature=replace(graph.signature, inputs=_with_static_shapes(graph.signature.inputs, shapes))
        )
    with tempfile.TemporaryDirectory(prefix="tflite-") as scratch:
        outputs = _save(graph, scratch)
        try:
            with _without_loading_in_python():
                converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=[SIGNATURE_KEY])
                # No Flex: the LiteRT runtimes of the registry have no kernels of TensorFlow.
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
                content = converter.convert()
        except Exception as error:
            limit = known_limit("tflite", str(error))
            if limit is None:
                raise
            raise limit from error
    destination.mkdir()
    (destination / FILE).write_bytes(content)
    # Static inputs make the shapes of the outputs static, which the graph's own signature does not know.
    return Signature(
        inputs=tuple(replace(spec, native=spec.name) for spec in graph.signature.inputs),
        outputs=tuple(replace(spec, native=spec.name) for spec in (outputs if shapes else graph.signature.outputs)),
    )


@contextmanager
def _without_loading_in_python() -> Iterator[None]:
    """Keeps the converter from loading the SavedModel into Python, while active; MLIR reads the file itself.

    TensorFlow 2.21 loads it twice: to check that the signature exists, and for the source lines in its errors. For an
    unrolled recurrent layer that is most of the time.
    """
    from unittest import mock

    from tensorflow.core.framework import graph_debug_info_pb2
    from tensorflow.lite.python import lite

    loaded = SimpleNamespace(signatures={SIGNATURE_KEY: None}, graph_debug_info=graph_debug_info_pb2.GraphDebugInfo())
    with mock.patch.object(lite, "_load", return_value=loaded):
        yield


def _with_static_shapes(inputs: tuple[TensorSpec, ...], shapes: Mapping[str, Sequence[int]]) -> tuple[TensorSpec, ...]:
    """Returns the inputs with these shapes.

    The core of a split model may have inputs that the model does not have: these get only the batch.

    Raises:
        Limited: such an input has another dynamic axis.
    """
    batch = next(iter(shapes.values()))[0]
    return tuple(_with_static_shape(spec, tuple(shapes.get(spec.name, ())), batch) for spec in inputs)


def _with_static_shape(spec: TensorSpec, shape: tuple[int, ...], batch: int) -> TensorSpec:
    if len(shape) != len(spec.shape) or any(axis not in {None, n} for n, axis in zip(shape, spec.shape, strict=True)):
        if None in spec.shape[1:]:
            raise limited("tflite-length-of-text", spec.name)
        shape = (batch, *(length for length in spec.shape[1:] if length is not None))
    return replace(spec, shape=shape)


def _save(graph: Graph, folder: str) -> tuple[TensorSpec, ...]:
    """Saves the graph as a SavedModel: no other way gives a TF Lite file a signature with names (tensorflow#61065).

    Returns:
        The outputs, with the shapes that TensorFlow infers from the shapes of the inputs.
    """
    import tensorflow as tf

    input_specs, output_specs = graph.signature.inputs, graph.signature.outputs

    @graph_function
    def serve(**inputs: Any) -> Any:
        tensors = tf.graph_util.import_graph_def(
            graph.graph_def,
            input_map={spec.native: inputs[spec.name] for spec in input_specs},
            return_elements=[spec.native for spec in output_specs],
            name="model",
        )
        return _distinct_outputs(
            {spec.name: tensor for spec, tensor in zip(output_specs, tensors, strict=True)}, _sources(graph)
        )

    specs = {
        spec.name: tf.TensorSpec(spec.shape, tf.dtypes.as_dtype(spec.dtype), name=spec.name) for spec in input_specs
    }
    module: Any = tf.Module()
    module.serve = serve
    concrete = serve.get_concrete_function(**specs)
    tf.saved_model.save(module, folder, signatures={SIGNATURE_KEY: concrete})
    shapes = {name: tensor.shape for name, tensor in concrete.structured_outputs.items()}
    return tuple(
        replace(spec, shape=tuple(shapes[spec.name])) if shapes[spec.name].rank else spec for spec in output_specs
    )


def _sources(graph: Graph) -> dict[str, str]:
    """Returns output name -> the tensor that it copies, through all Identity nodes."""
    copied = {node.name: node.input[0] for node in graph.graph_def.node if node.op == "Identity"}
    sources = {}
    for spec in graph.signature.outputs:
        tensor = spec.native
        while (node := tensor.removesuffix(":0")) in copied:
            tensor = copied[node]
        sources[spec.name] = tensor.removesuffix(":0")
    return sources


def _distinct_outputs(outputs: Mapping[str, Any], sources: dict[str, str]) -> dict[str, Any]:
    """Returns the outputs as different tensors.

    LiteRT.js and LiteRT's compiled models return each tensor once, under one of its names. The converter removes copies
    and other operators that change nothing, but it keeps maximum(x, x). Complex numbers and text have no maximum; such
    outputs stay as they are.
    """
    import tensorflow as tf

    # Built in reverse order, so that the first of the outputs that share a tensor keeps it.
    first = {source: name for name, source in reversed(sources.items())}
    distinct = dict(outputs)
    for name, value in outputs.items():
        ordered = value.dtype.is_floating or value.dtype.is_integer
        if first[sources[name]] != name and (ordered or value.dtype == tf.bool):
            record_rewrite("outputs_apart")
            distinct[name] = tf.maximum(value, value) if ordered else tf.logical_or(value, value)
    return distinct


def constants(artifact: Path) -> "dict[str, np.ndarray]":
    """Reads every constant of the flatbuffer by tensor name; a repeated name gets the tensor's number as a suffix."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs((artifact / FILE).read_bytes(), 0)
    dtypes = _dtypes(schema.TensorType)
    arrays: dict[str, np.ndarray] = {}
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for number, tensor in enumerate(map(graph.Tensors, range(graph.TensorsLength()))):
            buffer = model.Buffers(tensor.Buffer())
            if tensor.Type() not in dtypes or not buffer.DataLength():
                continue
            name = tensor.Name().decode("utf-8", "replace")
            shape = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
            values = buffer.DataAsNumpy().view(dtypes[tensor.Type()]).reshape(shape)
            arrays[f"{name} ({number})" if name in arrays else name] = values
    return arrays


def _dtypes(element_types: Any) -> "dict[int, np.dtype]":
    """Returns the flatbuffer's number of an element type -> NumPy's type; types that no weight has are left out."""
    import ml_dtypes
    import numpy as np

    names = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
    dtypes = {getattr(element_types, name.upper()): np.dtype(name) for name in names}
    return dtypes | {element_types.BFLOAT16: np.dtype(ml_dtypes.bfloat16)}


def check(artifact: Path, _signature: Signature) -> tuple[Finding, ...]:
    """Finds operators that the builtin runtimes lack: Flex (TensorFlow kernels) and custom ones."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf((artifact / FILE).read_bytes(), 0)
    custom = Counter(
        (code.customCode or b"").decode("utf-8", "replace")
        for code in model.operatorCodes or []
        if code.builtinCode == schema.BuiltinOperator.CUSTOM
    )
    flex = sorted(name for name in custom if name.startswith("Flex"))
    other = sorted(name for name in custom if not name.startswith("Flex"))
    findings = []
    if flex:
        findings.append(Finding(code="flex-op", blocking=True, message=", ".join(flex), limit="tflite-flex-op"))
    if other:
        findings.append(Finding(code="custom-op", blocking=True, message=", ".join(other), limit="tflite-custom-op"))
    return tuple(findings)
