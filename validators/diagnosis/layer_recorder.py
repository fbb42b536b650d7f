"""Runs the original layer by layer and records every call.

In: a loaded model and inputs. Out: a `validators.diagnosis.contract.Run`: a visitor sees every call of a layer, and the
model continues with the values that the visitor returns. The model's own code runs, so nested, shared and subclassed
models need no special treatment; of computations of a subclass between layers only the result is seen. Runs where
TensorFlow is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np

from exporters.source.keras.model import SourceModel
from validators.diagnosis.contract import Arrays, Call, Result, Run, Visit


class LayerRecorder:
    """Records one run of the original.

    Attributes:
        layers: the layer of each call.
        arguments: the positional and keyword arguments of each call.
    """

    def __init__(self, model: SourceModel, visit: Visit | None = None) -> None:
        self.framework = framework_of(model)
        self._visit = visit
        self._path: list[str] = []
        self._leaf = False
        self._origin: dict[int, str] = {}
        self._kept: list[Any] = []  # keeps tensors alive: Python reuses the id of an object that is gone
        self.calls: list[Call] = []
        self.layers: list[Any] = []
        self.arguments: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._root = model.graph

    def run(self, model: SourceModel, inputs: Mapping[str, np.ndarray]) -> Result:
        """Runs the model once."""
        import tensorflow as tf

        fed = {name: tf.constant(array) for name, array in inputs.items()}
        for name, tensor in fed.items():
            self._note(tensor, f"input:{name}")
        with self._recording():
            outputs = model.call(fed)
        return Result(
            arrays={name: to_array(tensor) for name, tensor in outputs.items()},
            values={name: self._origin.get(id(tensor), "?") for name, tensor in outputs.items()},
        )

    def _note(self, tensor: Any, value: str) -> None:
        self._origin[id(tensor)] = value
        self._kept.append(tensor)

    @contextmanager
    def _recording(self) -> Iterator[None]:
        with mock.patch.object(self.framework.Layer, "__call__", self._wrapped(self.framework.Layer)):
            if self.framework.Operation is None:
                yield
                return
            # A Functional model computes `x + y` between layers with an operation, which is not a layer.
            with mock.patch.object(
                self.framework.Operation, "__call__", self._wrapped(self.framework.Operation, but=self.framework.Layer)
            ):
                yield

    def _wrapped(self, owner: Any, but: Any = ()) -> Any:
        original = owner.__call__
        recorder = self

        def call(layer: Any, *arguments: Any, **options: Any) -> Any:
            if recorder._leaf or isinstance(layer, but):
                return original(layer, *arguments, **options)
            if isinstance(layer, recorder.framework.Model):
                return recorder._descend(layer, original, arguments, options)
            return recorder._record(layer, original, arguments, options)

        return call

    def _descend(self, model: Any, original: Any, arguments: Any, options: Any) -> Any:
        if model is self._root:
            return original(model, *arguments, **options)
        self._path.append(model.name)
        try:
            return original(model, *arguments, **options)
        finally:
            self._path.pop()

    def _record(self, layer: Any, original: Any, arguments: Any, options: Any) -> Any:
        flat = self.framework.tensors((arguments, options))
        for tensor in flat:
            if id(tensor) not in self._origin:
                self._note(tensor, f"?{len(self._kept)}")
        self._leaf = True
        try:
            output = original(layer, *arguments, **options)
        finally:
            self._leaf = False
        gave = self.framework.tensors(output)
        call = Call(
            number=len(self.calls),
            layer="/".join([*self._path, layer.name]),
            kind=type(layer).__name__,
            inputs=tuple(self._origin[id(tensor)] for tensor in flat),
            outputs=len(gave),
        )
        self.calls.append(call)
        self.layers.append(layer)
        self.arguments.append((arguments, options))
        if self._visit:
            arrays = tuple(map(to_array, gave))
            replaced = self._visit(call, tuple(map(to_array, flat)), arrays)
            output = self.framework.replaced(output, gave, arrays, replaced)
            gave = self.framework.tensors(output)
        for k, tensor in enumerate(gave):
            # A layer may return its input (dropout): from here on the tensor counts as this layer's output.
            self._note(tensor, call.value(k))
        return output


def runner(model: SourceModel, inputs: Mapping[str, np.ndarray]) -> Run:
    """Returns a function that runs the original over these inputs."""
    return lambda visit: LayerRecorder(model, visit).run(model, inputs)


def to_array(tensor: Any) -> np.ndarray:
    """Returns a tensor's values; of a ragged or sparse one, those of its dense form."""
    if hasattr(tensor, "to_tensor"):
        tensor = tensor.to_tensor()
    return np.asarray(tensor)


class _Keras3:
    """Provides Keras 3: its layer classes, and the replacement of tensors in nested structures."""

    def __init__(self) -> None:
        import keras
        from keras.src.ops.operation import Operation

        self.Layer: Any = keras.layers.Layer
        self.Model: Any = keras.Model
        self.Operation: Any = Operation
        self.keras: Any = keras

    def flat(self, structure: Any) -> list[Any]:
        return list(self.keras.tree.flatten(structure))

    def tensors(self, structure: Any) -> list[Any]:
        import tensorflow as tf

        return [leaf for leaf in self.flat(structure) if isinstance(leaf, tf.Tensor)]

    def replaced(self, output: Any, gave: list[Any], arrays: Arrays, replaced: Arrays) -> Any:
        """Returns the output with the tensors that a visitor replaced; masks stay with their tensors."""
        new = {}
        for tensor, array, other in zip(gave, arrays, replaced, strict=True):
            if other is not array:
                new[id(tensor)] = self._with_mask(tensor, other)
        return self.map(lambda leaf: new.get(id(leaf), leaf), output) if new else output

    def _with_mask(self, tensor: Any, array: np.ndarray) -> Any:
        import tensorflow as tf

        fresh: Any = tf.constant(array, dtype=tensor.dtype)
        if (mask := getattr(tensor, "_keras_mask", None)) is not None:
            fresh._keras_mask = mask  # noqa: SLF001 - where both Keras keep it
        return fresh

    def map(self, function: Any, structure: Any) -> Any:
        return self.keras.tree.map_structure(function, structure)


class _Keras2(_Keras3):
    """Provides Keras 2, in which operations between layers are layers too."""

    def __init__(self) -> None:
        import tf_keras

        self.Layer = tf_keras.layers.Layer
        self.Model = tf_keras.Model
        self.Operation = None
        self.keras = tf_keras

    def flat(self, structure: Any) -> list[Any]:
        import tensorflow as tf

        return list(tf.nest.flatten(structure))

    def map(self, function: Any, structure: Any) -> Any:
        import tensorflow as tf

        return tf.nest.map_structure(function, structure)


def framework_of(model: SourceModel) -> Any:
    """Returns the Keras version that a model belongs to."""
    return _Keras2() if type(model.graph).__module__.startswith("tf_keras") else _Keras3()
