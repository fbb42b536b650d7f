"""Loads models of Keras 2, in tf_keras.

In: the open `StoredModel` of an admitted model that Keras 2 wrote. Out: a `Keras2Model`. tf_keras builds the model
from its configuration; `exporters.source.keras.weight_restoring` assigns the weights. tf_keras takes a second to
import and nothing else needs it, so it is imported in functions, where a model of Keras 2 is loaded.
"""

import functools
import json
import os
import sys
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from exporters.contract import Signature
from exporters.source.keras.custom_objects import provide
from exporters.source.keras.keras2_weights import restore
from exporters.source.keras.model import (
    Loop,
    SourceModel,
    keras_errors_as_bad_input,
    one_or_dict,
    only,
    refuse_needless_shapes,
    specs,
    unknown_shape,
    without_training,
)
from exporters.source.model_source import ModelSource
from exporters.source.readers.stored_model import StoredModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Keras2Model(SourceModel):
    """Wraps a model in tf_keras."""

    def with_constants(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """Returns `call`: its variables become constants when the graph is frozen, and inference updates none."""
        _unfuse_normalizations(self.graph)
        return self.call

    def parameter_bytes(self) -> int:
        """Returns bytes of all variables, statistics included."""
        import tensorflow as tf

        return sum(int(tf.size(v)) * v.dtype.size for v in _variables(self.graph))

    def loops(self) -> list[Loop]:
        """Takes the second axis of the sequence that a layer is called with as its time axis."""
        import tf_keras

        known = (tf_keras.layers.LSTM, tf_keras.layers.GRU, tf_keras.layers.SimpleRNN)
        steps = _time_axes(self.graph)
        return [
            Loop(layer=layer, steps=steps.get(id(layer)), known=isinstance(layer, known))
            for layer in _recurrent_layers(self.graph)
        ]

    def unroll(self, loops: Sequence[Loop]) -> None:
        """Unrolls layers for good; convolutional ones have no such option, but `backend.rnn`, which they call, has."""
        from tf_keras.src.layers.rnn.base_conv_rnn import ConvRNN

        for loop in loops:
            if isinstance(loop.layer, ConvRNN):
                loop.layer.call = _step_by_step(loop.layer.call)
            else:
                loop.layer.unroll = True

    def rebuilt(self, change: Callable[[Any], Any]) -> Any:
        """Builds the same model again. Safe mode is off, since its bytecode was allowed when it was loaded."""
        import tf_keras
        from tf_keras.src.saving.serialization_lib import SafeModeScope

        tf_keras.backend.set_floatx("float64")
        with SafeModeScope(safe_mode=False), keras_is_tf_keras():
            return type(self.graph).from_config(change(self.graph.get_config()))

    def variables_of(self, graph: Any) -> list[tuple[str, Any]]:
        """Returns them with the statistics of normalizations."""
        return [(variable.name, variable) for variable in _variables(graph)]

    def trackable(self, function: Any) -> Any:
        """Tracks variables and lookup tables only: saving the layers would trace each of them again."""
        import tensorflow as tf
        from tensorflow.python.trackable.resource import CapturableResource

        tracked = tf.__internal__.tracking.AutoTrackable()
        parts = tf.train.TrackableView(self.graph).descendants()
        tracked.weights = _variables(self.graph)
        tracked.resources = [part for part in parts if isinstance(part, CapturableResource)]
        tracked.serve = function
        return tracked


def load(source: StoredModel, wanted: ModelSource, built: Any) -> Keras2Model:
    """Loads a model that Keras 2 wrote.

    Args:
        source: the open model.
        wanted: what the user says.
        built: the model that the user's builder made; None where the source describes it.

    Raises:
        BadInput: tf_keras cannot build the model, or the weights do not fit it.
    """
    import tf_keras

    name = source.path.name
    with keras_is_tf_keras():
        code = provide(source, wanted.custom_objects, tf_keras.saving.get_custom_objects())
    with (
        keras_errors_as_bad_input(name, f"tf_keras {tf_keras.__version__}"),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # about code that a Lambda layer was written in
        model = _built(_configured(source, wanted) if built is None else built, name, wanted)
        restore(model, source)
        graph = _functional(model, name, wanted)
    for layer in _recurrent_layers(graph):
        layer._could_use_gpu_kernel = False  # noqa: SLF001 - else its graph holds a second form of it, for cuDNN
    return Keras2Model(graph=graph, structure=graph.input, signature=_signature(graph), code=code)


def _configured(source: StoredModel, wanted: ModelSource) -> Any:
    """Returns the model as its configuration describes it, without weights."""
    import tf_keras
    from tf_keras.src.saving.legacy.model_config import model_from_config
    from tf_keras.src.saving.legacy.saved_model import json_utils
    from tf_keras.src.saving.serialization_lib import ObjectSharingScope, SafeModeScope, deserialize_keras_object

    config = without_training(source.config)
    _check_located(config, _layer_classes() | set(tf_keras.saving.get_custom_objects()))
    if "module" in config:  # else it was written as up to Keras 2.12, which is how everything but archives still is
        with ObjectSharingScope():
            return deserialize_keras_object(config, safe_mode=not wanted.trust_lambda)
    with SafeModeScope(safe_mode=not wanted.trust_lambda):
        return model_from_config(json_utils.decode(json.dumps(config)))


def _layer_classes() -> set[str]:
    """Returns names of the layers that tf_keras finds, after adding the public ones that its own table leaves out.

    Without it a `SpectralNormalization` becomes the text of its name (tf_keras/src/layers/serialization.py,
    `populate_deserializable_objects`). Removable when that table is made from `tf_keras.layers`.
    """
    import tf_keras
    from tf_keras.src.layers import serialization

    serialization.populate_deserializable_objects()
    for name, value in vars(tf_keras.layers).items():
        if isinstance(value, type) and issubclass(value, tf_keras.layers.Layer):
            serialization.LOCAL.ALL_OBJECTS.setdefault(name, value)
    return set(serialization.LOCAL.ALL_OBJECTS)


def _check_located(node: Any, known: Collection[str]) -> None:
    """Raises ValueError naming an unknown layer class, for which tf_keras would put its name into the model."""
    if isinstance(node, dict):
        for layer in node["layers"] if isinstance(node.get("layers"), list) else ():
            if isinstance(layer, dict) and not {layer.get("class_name"), layer.get("registered_name")} & set(known):
                raise ValueError(f"Could not locate class {layer.get('class_name')!r} (module {layer.get('module')})")
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        _check_located(child, known)


def _built(model: Any, name: str, wanted: ModelSource) -> Any:
    """Returns the model with all its variables, built for the user's shapes where the file says none."""
    import tf_keras

    if model.built or isinstance(model, tf_keras.utils.FeatureSpace):  # which builds itself when it is asked
        refuse_needless_shapes(name, wanted.input_shapes)
        return model
    if not wanted.input_shapes:
        raise unknown_shape(name, type(model).__name__)
    inputs = _inputs(wanted)
    if not _is_plain_sequential(model):
        model(one_or_dict(inputs), training=False)
        return model
    first = only(inputs)
    layers = list(model.layers)
    for _ in layers:
        model.pop()
    dtype = getattr(layers[0], "compute_dtype", None)
    model.add(tf_keras.layers.InputLayer(batch_input_shape=tuple(first.shape), dtype=dtype, name=first.name))
    for layer in layers:
        model.add(layer)
    return model


def _inputs(wanted: ModelSource) -> dict[str, Any]:
    import tf_keras

    return {name: tf_keras.Input(batch_shape=tuple(shape), name=name) for name, shape in wanted.input_shapes.items()}


def _is_plain_sequential(model: Any) -> bool:
    import tf_keras

    return isinstance(model, tf_keras.Sequential) and type(model).call is tf_keras.Sequential.call


def _functional(model: Any, name: str, wanted: ModelSource) -> Any:
    """Returns the model as a Functional one: a Sequential's graph, or a wrapper around a subclass."""
    import tf_keras
    from tf_keras.src.engine.functional import Functional

    if isinstance(model, tf_keras.utils.FeatureSpace):
        return tf_keras.Model(model.get_inputs(), model.get_encoded_features())
    if _is_plain_sequential(model) and model.inputs:
        # Not the Sequential itself: it rebuilds its graph for every other shape that it is called with.
        return tf_keras.Model(model.inputs[0], model.outputs[0])
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    if wanted.input_shapes:
        named = _inputs(wanted)
        return tf_keras.Model(named, model(one_or_dict(named), training=False))
    if isinstance(model, Functional) and model.inputs:
        import keras

        names = iter(layer.name for layer in model._input_layers)  # noqa: SLF001 - the inputs' own names
        inputs = keras.tree.map_structure(
            lambda t: tf_keras.Input(batch_shape=tuple(t.shape), dtype=t.dtype, name=next(names)), model.input
        )
        return tf_keras.Model(inputs, model(inputs, training=False))
    shape = model._build_input_shape  # noqa: SLF001 - where tf_keras keeps what build() was given
    if shape is None or not all(axis is None or isinstance(axis, int) for axis in shape):
        raise unknown_shape(name, type(model).__name__)
    inputs = tf_keras.Input(batch_shape=tuple(shape), name="input")
    return tf_keras.Model(inputs, model(inputs, training=False))


def _signature(graph: Any) -> Signature:
    import keras

    sides = (
        (graph.input, graph._input_layers),  # noqa: SLF001 - the layers whose names tensors go by
        (graph.output, graph._output_layers),  # noqa: SLF001
    )
    inputs, outputs = (
        specs([(p, t, layer.name) for (p, t), layer in zip(keras.tree.flatten_with_path(tree), layers, strict=True)])
        for tree, layers in sides
    )
    return Signature(inputs=inputs, outputs=outputs)


def _variables(graph: Any) -> list[Any]:
    """Returns the variables, without the vocabulary that a lookup layer counts among its weights."""
    import tensorflow as tf

    return [variable for variable in graph.variables if isinstance(variable, tf.Variable)]


def _unfuse_normalizations(graph: Any) -> None:
    """Writes normalizations as arithmetic, as Keras 3 does.

    tf_keras calls `FusedBatchNormV3`. A batch normalization before a ReLU is then fused into a `_FusedBatchNormEx`,
    which TF.js does not know; a layer normalization calls it in training mode, which TF.js takes for inference: its
    output is NaN. Removable when TF.js does both (tfjs#8304).
    """
    import tf_keras
    from tf_keras.src.layers.normalization.batch_normalization import BatchNormalizationBase

    for layer in graph._flatten_layers():  # noqa: SLF001
        if isinstance(layer, BatchNormalizationBase):
            layer.fused = False
        elif isinstance(layer, tf_keras.layers.LayerNormalization):
            layer._fused = False  # noqa: SLF001 - decided when it is built


def _recurrent_layers(graph: Any) -> list[Any]:
    import tf_keras

    return [layer for layer in graph._flatten_layers() if isinstance(layer, tf_keras.layers.RNN)]  # noqa: SLF001


def _step_by_step(call: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a layer's call in which `backend.rnn` unrolls."""
    from tf_keras.src import backend

    @functools.wraps(call)
    def unrolled(*inputs: Any, **options: Any) -> Any:
        with mock.patch.object(backend, "rnn", functools.partial(backend.rnn, unroll=True)):
            return call(*inputs, **options)

    return unrolled


def _time_axes(graph: Any) -> dict[int, int | None]:
    """Returns the length of the time axis of every sequence that a layer is called with, by the layer's `id`.

    The shape that a layer was built for does not help: tf_keras keeps its time axis free.
    """
    import tf_keras

    found: dict[int, int | None] = {}
    for layer in graph._flatten_layers():  # noqa: SLF001
        shapes = [node.input_shapes for node in layer._inbound_nodes if not node.is_input]  # noqa: SLF001
        if isinstance(layer, tf_keras.layers.TimeDistributed):
            found[id(layer.layer)] = _steps(shapes, axis=2)  # to the inner layer, each step is a whole sequence
        elif isinstance(layer, tf_keras.layers.Bidirectional):
            found[id(layer.forward_layer)] = found[id(layer.backward_layer)] = _steps(shapes)
        else:
            found.setdefault(id(layer), _steps(shapes))
    return found


def _steps(calls: Sequence[Any], *, axis: int = 1) -> int | None:
    """Returns the length of an axis of the first input in every call, if it is the same; others are initial states."""
    sequences = [shapes[0] if isinstance(shapes, list) else shapes for shapes in calls]
    lengths = {shape[axis] if isinstance(shape, tuple) and len(shape) > axis else None for shape in sequences}
    return lengths.pop() if len(lengths) == 1 else None


@contextmanager
def keras_is_tf_keras() -> Iterator[None]:
    """Makes a user's `import keras` and `tensorflow.keras` mean tf_keras while active."""
    import tensorflow as tf
    import tf_keras

    public = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "tf_keras"}
    modules = {name.removeprefix("tf_"): module for name, module in public.items()}
    modules |= {f"tensorflow.{name}": module for name, module in modules.items()}
    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # for good: layers of tf_keras itself say `tf.keras` as well
    with mock.patch.dict(sys.modules, modules), mock.patch.object(tf, "keras", tf_keras):
        yield
