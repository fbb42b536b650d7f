"""Loads models of Keras 3.

In: the open `StoredModel` of an admitted model that Keras 3 wrote. Out: a `Keras3Model`. Keras is imported in
functions.
"""

import functools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from exporters.contract import Signature
from exporters.source.keras.custom_objects import provide
from exporters.source.keras.keras3_weights import restore
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
class Keras3Model(SourceModel):
    """Wraps a model in Keras 3."""

    def with_constants(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """Calls `stateless_call`, which takes the weights as arguments; the state updates it returns are dropped."""
        import tensorflow as tf

        trainable = [tf.constant(v.value.numpy()) for v in self.graph.trainable_variables]
        fixed = [tf.constant(v.value.numpy()) for v in self.graph.non_trainable_variables]

        def call(inputs: Mapping[str, Any]) -> dict[str, Any]:
            outputs, _ = self.graph.stateless_call(trainable, fixed, self.structured(inputs), training=False)
            return self.named(outputs)

        return call

    def parameter_bytes(self) -> int:
        """Returns bytes of all variables, seeds and statistics included."""
        return sum(int(v.value.shape.num_elements()) * v.value.dtype.size for v in self.graph.variables)

    def loops(self) -> list[Loop]:
        """Takes the second axis of the sequence that a layer was built for as its time axis."""
        import keras

        known = (keras.layers.LSTM, keras.layers.GRU, keras.layers.SimpleRNN)
        recurrent = [layer for layer in self.graph._flatten_layers() if isinstance(layer, keras.layers.RNN)]  # noqa: SLF001
        return [Loop(layer=layer, steps=_steps(layer), known=isinstance(layer, known)) for layer in recurrent]

    def rebuilt(self, change: Callable[[Any], Any]) -> Any:
        """Builds the same model again. Safe mode is off, since its bytecode was allowed when it was loaded."""
        import keras

        keras.config.set_floatx("float64")
        with keras.src.saving.serialization_lib.SafeModeScope(safe_mode=False):
            return type(self.graph).from_config(change(self.graph.get_config()))

    def variables_of(self, graph: Any) -> list[tuple[str, Any]]:
        """Returns them with seeds and statistics."""
        return [(variable.path, variable.value) for variable in graph.variables]

    def trackable(self, function: Any) -> Any:
        """Tracks variables, and the lookup tables that layers hold (keras#21078)."""
        import keras

        archive = keras.export.ExportArchive()
        archive.track(self.graph)
        archive._filter_and_track_resources()  # noqa: SLF001 - finds the tables
        tracked = archive._tf_trackable  # noqa: SLF001 - write_out() takes no function of keyword arguments
        tracked.serve = function
        return tracked


def load(source: StoredModel, wanted: ModelSource, built: Any) -> Keras3Model:
    """Loads a model that Keras 3 wrote.

    Args:
        source: the open model.
        wanted: what the user says.
        built: the model that the user's builder made; None where the source describes it.

    Raises:
        BadInput: Keras cannot build the model, or the weights do not fit it.
    """
    import keras

    code = provide(source, wanted.custom_objects, keras.saving.get_custom_objects())
    name = source.path.name
    with keras_errors_as_bad_input(name, f"Keras {keras.__version__}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the optimizer and about metrics: inference needs neither
        if source.form == "archive":
            with _built(name, wanted):
                model = keras.saving.load_model(source.path, compile=False, safe_mode=not wanted.trust_lambda)
        else:
            model = _configured(source, wanted) if built is None else built
            _make_ready(model, name, wanted)
            restore(model, source)
        graph = _functional(model, name, wanted)
    return Keras3Model(graph=graph, structure=graph.input, signature=_signature(graph), code=code)


@contextmanager
def _built(name: str, wanted: ModelSource) -> Iterator[None]:
    """Gives a model that Keras builds from its configuration the user's shapes before its weights, while active.

    The compile configurations of models inside models are left out too: `compile=False` drops only the outermost one.
    """
    from keras.src.saving import saving_lib

    original = saving_lib.deserialize_keras_object

    def deserialize(config: Any, *arguments: Any, **options: Any) -> Any:
        model = original(without_training(config), *arguments, **options)
        _make_ready(model, name, wanted)
        return model

    with mock.patch.object(saving_lib, "deserialize_keras_object", deserialize):
        yield


def _configured(source: StoredModel, wanted: ModelSource) -> Any:
    """Returns the model as its configuration describes it, without weights."""
    from keras.src.legacy.saving import json_utils, saving_options, saving_utils
    from keras.src.saving import serialization_lib

    config = without_training(source.config)
    if "module" in config:  # else it is an HDF5 file, which Keras 3 still writes as Keras 2 did
        return serialization_lib.deserialize_keras_object(config, safe_mode=not wanted.trust_lambda)
    scope = serialization_lib.SafeModeScope(safe_mode=not wanted.trust_lambda)
    with saving_options.keras_option_scope(use_legacy_config=True), scope:
        return saving_utils.model_from_config(json_utils.decode(json.dumps(_with_operators(config))))


def _with_operators(node: Any) -> Any:
    """Returns a copy of an HDF5 file's configuration in which operators between layers carry their module.

    `x * 2` is kept there as a `Multiply` with nothing but a name, for which Keras finds the layer of that name and then
    cannot call it (keras/src/legacy/saving/legacy_h5_format.py). Removable when Keras reads its own file.
    """
    if isinstance(node, list):
        return [_with_operators(item) for item in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _with_operators(value) for key, value in node.items()}
    bare = "module" not in node and "inbound_nodes" in node and "trainable" not in node.get("config", ())
    if bare and (module := _operator_modules().get(node.get("class_name", ""))):
        copy |= {"module": module, "registered_name": node["class_name"]}
    return copy


@functools.cache
def _operator_modules() -> Mapping[str, str]:
    from keras.src.ops.operation import Operation

    operators = (operator for operator in _below(Operation) if operator.__module__.startswith("keras.src.ops."))
    return {operator.__name__: operator.__module__ for operator in operators}


def _below(base: type) -> Iterator[type]:
    children: list[type] = base.__subclasses__()
    for child in children:
        yield child
        yield from _below(child)


def _make_ready(model: Any, name: str, wanted: ModelSource) -> None:
    """Builds a model for the user's shapes where the file says none."""
    import keras

    if model.built:
        refuse_needless_shapes(name, wanted.input_shapes)
    elif wanted.input_shapes:
        _build(model, wanted)
    elif isinstance(model, keras.Sequential):
        raise unknown_shape(name, type(model).__name__)


def _build(model: Any, wanted: ModelSource) -> None:
    """Gives an unbuilt model the user's inputs."""
    import keras

    inputs = _inputs(wanted, getattr(model, "input_dtype", None))
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call:
        layers = list(model.layers)
        for _ in layers:
            model.pop(rebuild=False)
        for layer in (only(inputs), *layers):
            model.add(layer)
    else:
        model(one_or_dict(inputs), training=False)


def _inputs(wanted: ModelSource, dtype: str | None) -> dict[str, Any]:
    import keras

    return {
        name: keras.Input(batch_shape=tuple(shape), dtype=dtype, name=name)
        for name, shape in wanted.input_shapes.items()
    }


def _steps(layer: Any) -> int | None:
    shapes = getattr(layer, "_build_shapes_dict", None) or {}
    sequence = shapes.get("sequences_shape") or shapes.get("input_shape")
    return sequence[1] if sequence else None


def _functional(model: Any, name: str, wanted: ModelSource) -> Any:
    """Returns the model as a Functional one; a subclass is wrapped once its input shape is known."""
    import keras

    functional = keras.src.models.functional.Functional
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call and model.built:
        return model._functional  # noqa: SLF001 - where Sequential keeps its graph once built
    if isinstance(model, functional):
        if type(model).call is functional.call:
            return model
        inputs = keras.tree.map_structure(
            lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), model.input
        )
        return keras.Model(inputs, model(inputs, training=False))
    if wanted.input_shapes:
        named = _inputs(wanted, getattr(model, "input_dtype", None))
        return keras.Model(named, model(one_or_dict(named), training=False))
    shape = (getattr(model, "_build_shapes_dict", None) or {}).get("input_shape")
    if not model.built or shape is None:
        raise unknown_shape(name, type(model).__name__)
    inputs = keras.Input(batch_shape=tuple(shape), name="input")
    return keras.Model(inputs, model(inputs, training=False))


def _signature(model: Any) -> Signature:
    import keras

    outputs = keras.tree.flatten_with_path(model.output)
    return Signature(
        inputs=specs([(path, tensor, tensor.name) for path, tensor in keras.tree.flatten_with_path(model.input)]),
        outputs=specs([(path, t, name) for (path, t), name in zip(outputs, model.output_names, strict=True)]),
    )
