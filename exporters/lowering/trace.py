"""The stateless trace: the model as one flat graph with its weights as constants.

In: a loaded model. Out: a `Graph`: a GraphDef without variables, captures or seed state, whose inputs and outputs are
named. Keras' `stateless_call` takes the weights as arguments and returns state updates, which are dropped: augmentation
and dropout leave nothing behind that a converter would stumble over.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.contract import Signature, TensorSpec
from exporters.keras_model import SourceModel, tensor_specs
from exporters.limits import limited
from exporters.lowering.addition import additions_as_written
from exporters.lowering.einsum import einsum_as_matrix_product
from exporters.lowering.gelu import gelu_with_erf
from exporters.lowering.signbit import signbit_in_arithmetic
from exporters.lowering.xla import xla_wrappers_inlined

_GRAPH = "graph.pb"
_SIGNATURE = "signature.json"
_REWRITES = (
    xla_wrappers_inlined,
    signbit_in_arithmetic,
    additions_as_written,
    einsum_as_matrix_product,
    gelu_with_erf,
)
"""What Keras and TensorFlow write otherwise while a model is traced for a target; one module each, each removable."""
_PROTO_LIMIT = 2**31 - 1  # bytes of one serialised protocol buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A frozen TensorFlow graph.

    Attributes:
        graph_def: the `GraphDef`; weights are `Const` nodes.
        signature: canonical names; `native` is the tensor in the graph, `node:0`.
    """

    graph_def: Any
    signature: Signature

    def save(self, folder: Path) -> None:
        """Writes the graph and its signature into a new folder."""
        folder.mkdir(parents=True)
        (folder / _GRAPH).write_bytes(self.graph_def.SerializeToString(deterministic=True))
        (folder / _SIGNATURE).write_bytes(TypeAdapter(Signature).dump_json(self.signature, indent=1))

    @classmethod
    def read(cls, folder: Path) -> "Graph":
        """Reads what `save` wrote."""
        from tensorflow.core.framework import graph_pb2

        graph_def = graph_pb2.GraphDef.FromString((folder / _GRAPH).read_bytes())
        return cls(
            graph_def=graph_def, signature=TypeAdapter(Signature).validate_json((folder / _SIGNATURE).read_bytes())
        )

    def function(self) -> Any:
        """The graph as a concrete function from its inputs, in signature order, to a dict of canonical outputs."""
        import tensorflow as tf

        wrapped = tf.compat.v1.wrap_function(lambda: tf.graph_util.import_graph_def(self.graph_def, name=""), [])
        feeds = [wrapped.graph.get_tensor_by_name(spec.native) for spec in self.signature.inputs]
        fetches = {spec.name: wrapped.graph.get_tensor_by_name(spec.native) for spec in self.signature.outputs}
        return wrapped.prune(feeds, fetches)


def trace(model: SourceModel, *, batch: int | None = None, unroll: Sequence[Any] = ()) -> Graph:
    """Traces the model's inference once.

    Args:
        model: the source model.
        batch: fixed length of the first axis, None to keep the model's own.
        unroll: recurrent layers of the model to write out step by step instead of as a loop; they need static time,
            and stay switched to this form.

    Raises:
        Limited: the constants do not fit into one protocol buffer (2 GiB), or the model looks words up in a table.
    """
    import tensorflow as tf

    size = sum(int(v.value.shape.num_elements()) * v.value.dtype.size for v in model.keras.variables)
    if size > _PROTO_LIMIT:
        raise limited("graphdef-2gib", f"the weights take {size / 2**30:.1f} GiB")
    for layer in unroll:
        layer.unroll = True
    trainable = [tf.constant(v.value.numpy()) for v in model.keras.trainable_variables]
    fixed = [tf.constant(v.value.numpy()) for v in model.keras.non_trainable_variables]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator, unused-ignore]
    def inference(**inputs: Any) -> dict[str, Any]:
        outputs, _ = model.keras.stateless_call(trainable, fixed, model.structured(inputs), training=False)
        # The identity gives each output a node of its own, also where one tensor serves as two outputs.
        return {name: tf.identity(value) for name, value in model.named(outputs).items()}

    with contextlib.ExitStack() as rewrites:
        for rewrite in _REWRITES:
            rewrites.enter_context(rewrite())
        concrete = inference.get_concrete_function(**tensor_specs(model.signature.inputs, batch=batch))
    return _frozen(concrete, model.signature, batch)


def recurrent_layers(model: SourceModel) -> list[Any]:
    """All layers that loop over time, wrapped ones included."""
    import keras

    return [layer for layer in model.keras._flatten_layers() if isinstance(layer, keras.layers.RNN)]  # noqa: SLF001


def _frozen(concrete: Any, signature: Signature, batch: int | None) -> Graph:
    """Weights as constants, calls inlined, names of the graph's tensors noted in the signature."""
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    outputs = {name: tensor.name for name, tensor in concrete.structured_outputs.items()}
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False, aggressive_inlining=True)
    inputs = {tensor.op.name: tensor for tensor in frozen.inputs}
    if captured := sorted(set(inputs) - {spec.name for spec in signature.inputs}):
        raise limited("lookup-table", ", ".join(captured))
    named = Signature(
        inputs=tuple(_bound(spec, inputs[spec.name], batch) for spec in signature.inputs),
        outputs=tuple(
            _bound(spec, frozen.graph.get_tensor_by_name(outputs[spec.name]), None) for spec in signature.outputs
        ),
    )
    return Graph(graph_def=frozen.graph.as_graph_def(), signature=named)


def _bound(spec: TensorSpec, tensor: Any, batch: int | None) -> TensorSpec:
    shape = spec.shape if tensor.shape.rank is None else tuple(tensor.shape)
    return replace(spec, native=tensor.name, shape=(shape[0] or batch, *shape[1:]) if shape else ())
