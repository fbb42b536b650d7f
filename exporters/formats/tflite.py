"""TF Lite: one flatbuffer, float32, builtin operators only.

In: a lowered graph. Out: `model.tflite` with one signature whose inputs and outputs carry the canonical names. Two
variants come from two graphs: `dynamic` keeps the batch free, `batch1` fixes it: some runtimes take only fixed shapes.
Where other axes are free too, `static` is the graph of `dynamic` with a length for every axis.
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from exporters.contract import Finding, Signature, TensorSpec
from exporters.lowering.graph import Graph
from exporters.lowering.rewrite_log import acted
from exporters.lowering.rewrites.elu import elu_in_arithmetic
from exporters.source.keras.graph_function import graph_function
from exporters.target_limits import known_limit, limited
from exporters.weights.weight_layout import WeightLayout

TITLE: str = "TF Lite"
WEIGHTS = WeightLayout()
FILE = "model.tflite"
SIGNATURE_KEY = "serving_default"


def export(source: Path, destination: Path, options: Mapping[str, Any]) -> Signature:
    """Converts a lowered graph.

    Args:
        source: folder of a lowered graph.
        destination: folder to create; receives `model.tflite`.
        options: `shapes`, input of the model -> its shape, for the static variant alone.

    Raises:
        Limited: a known limit of the converter (see `exporters.target_limits`), or an axis whose length nobody knows.
    """
    import tensorflow as tf

    graph = elu_in_arithmetic(Graph.read(source))
    if shapes := options.get("shapes"):
        graph = replace(graph, signature=replace(graph.signature, inputs=_with_shapes(graph.signature.inputs, shapes)))
    with tempfile.TemporaryDirectory(prefix="tflite-") as scratch:
        outputs = _save(graph, scratch)
        try:
            with _loading_once():
                converter = tf.lite.TFLiteConverter.from_saved_model(scratch, signature_keys=[SIGNATURE_KEY])
                converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
                content = converter.convert()
        except Exception as error:
            limit = known_limit("tflite", str(error))
            if limit is None:
                raise
            raise limit from error
    destination.mkdir()
    (destination / FILE).write_bytes(content)
    return Signature(
        inputs=tuple(replace(spec, native=spec.name) for spec in graph.signature.inputs),
        outputs=tuple(replace(spec, native=spec.name) for spec in (outputs if shapes else graph.signature.outputs)),
    )


@contextmanager
def _loading_once() -> Iterator[None]:
    """While active, the converter does not load the SavedModel into Python on its way to MLIR, which reads it itself.

    TensorFlow 2.21 does so twice, to see that the signature is there and for the lines of source that its errors name.
    Of a recurrent layer written out that is most of the time.
    """
    from unittest import mock

    from tensorflow.core.framework import graph_debug_info_pb2
    from tensorflow.lite.python import lite

    loaded = SimpleNamespace(signatures={SIGNATURE_KEY: None}, graph_debug_info=graph_debug_info_pb2.GraphDebugInfo())
    with mock.patch.object(lite, "_load", return_value=loaded):
        yield


def _with_shapes(inputs: tuple[TensorSpec, ...], shapes: Mapping[str, Sequence[int]]) -> tuple[TensorSpec, ...]:
    """The inputs with these shapes; those of a split model's core that are none of the model's get the batch."""
    batch = next(iter(shapes.values()))[0]
    return tuple(_with_shape(spec, tuple(shapes.get(spec.name, ())), batch) for spec in inputs)


def _with_shape(spec: TensorSpec, shape: tuple[int, ...], batch: int) -> TensorSpec:
    if len(shape) != len(spec.shape) or any(own not in {None, n} for n, own in zip(shape, spec.shape, strict=True)):
        if None in spec.shape[1:]:
            raise limited("tflite-length-of-text", spec.name)
        shape = (batch, *(length for length in spec.shape[1:] if length is not None))
    return replace(spec, shape=shape)


def _save(graph: Graph, folder: str) -> tuple[TensorSpec, ...]:
    """A SavedModel of the graph: the only way to a TF Lite file that has a signature with names (tensorflow#61065).

    Returns:
        The outputs, with the shapes that follow from the inputs' own.
    """
    import tensorflow as tf

    given, made = graph.signature.inputs, graph.signature.outputs

    @graph_function
    def serve(**inputs: Any) -> Any:
        found = tf.graph_util.import_graph_def(
            graph.graph_def,
            input_map={spec.native: inputs[spec.name] for spec in given},
            return_elements=[spec.native for spec in made],
            name="model",
        )
        return _apart({spec.name: tensor for spec, tensor in zip(made, found, strict=True)}, _sources(graph))

    specs = {
        spec.name: tf.TensorSpec(spec.shape, tf.dtypes.as_dtype(spec.dtype), name=spec.name)
        for spec in graph.signature.inputs
    }
    module: Any = tf.Module()
    module.serve = serve
    concrete = serve.get_concrete_function(**specs)
    tf.saved_model.save(module, folder, signatures={SIGNATURE_KEY: concrete})
    shapes = {name: tensor.shape for name, tensor in concrete.structured_outputs.items()}
    return tuple(replace(spec, shape=tuple(shapes[spec.name])) if shapes[spec.name].rank else spec for spec in made)


def _sources(graph: Graph) -> dict[str, str]:
    """Output name -> the tensor that it is, behind all identities."""
    behind = {node.name: node.input[0] for node in graph.graph_def.node if node.op == "Identity"}
    found = {}
    for spec in graph.signature.outputs:
        tensor = spec.native
        while (node := tensor.removesuffix(":0")) in behind:
            tensor = behind[node]
        found[spec.name] = tensor.removesuffix(":0")
    return found


def _apart(outputs: Mapping[str, Any], sources: dict[str, str]) -> dict[str, Any]:
    """The outputs, no two of them the same tensor.

    LiteRT.js and LiteRT's compiled models give each tensor back once, under one of its names. Everything that changes
    nothing is optimised away, the larger of a tensor and itself is not. Complex numbers and text have no larger one.
    """
    import tensorflow as tf

    first = {source: name for name, source in reversed(sources.items())}
    apart = dict(outputs)
    for name, value in outputs.items():
        ordered = value.dtype.is_floating or value.dtype.is_integer
        if first[sources[name]] != name and (ordered or value.dtype == tf.bool):
            acted("outputs_apart")
            apart[name] = tf.maximum(value, value) if ordered else tf.logical_or(value, value)
    return apart


def constants(artifact: Path) -> dict[str, Any]:
    """Every constant of the flatbuffer, by tensor name; of a name that is there again, with the tensor's number."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAs((artifact / FILE).read_bytes(), 0)
    dtypes = _dtypes(schema.TensorType)
    found: dict[str, Any] = {}
    for graph in map(model.Subgraphs, range(model.SubgraphsLength())):
        for number, tensor in enumerate(map(graph.Tensors, range(graph.TensorsLength()))):
            buffer = model.Buffers(tensor.Buffer())
            if tensor.Type() not in dtypes or not buffer.DataLength():
                continue
            name = tensor.Name().decode("utf-8", "replace")
            shape = [tensor.Shape(axis) for axis in range(tensor.ShapeLength())]
            values = buffer.DataAsNumpy().view(dtypes[tensor.Type()]).reshape(shape)
            found[f"{name} ({number})" if name in found else name] = values
    return found


def _dtypes(kinds: Any) -> dict[int, Any]:
    """The flatbuffer's numbers of element types -> NumPy's; types that no weight has are left out."""
    import ml_dtypes
    import numpy as np

    names = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")
    found = {getattr(kinds, name.upper()): np.dtype(name) for name in names}
    return found | {kinds.BFLOAT16: np.dtype(ml_dtypes.bfloat16)}


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
