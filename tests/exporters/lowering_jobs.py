"""Jobs for the tests of single rewrites: what needs TensorFlow."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


def rounding_of_two_heads(request: Mapping[str, Any]) -> dict[str, str]:
    """Job: what the outputs of a model round to that has a head in float32, beside others in half precision.

    Args:
        request: `generation` (`keras` or `tf_keras`).
    """
    keras = import_module(request["generation"])
    layers = keras.layers
    x, pixels = keras.Input((4,), name="x"), keras.Input((4,), name="pixels_in", dtype="float16")
    ids = keras.Input((1,), dtype="int32", name="ids")
    word = keras.Input((1,), dtype="string", name="word")
    learnt = layers.StringLookup()
    learnt.adapt(["a", "b"])  # its table stands among the weights of tf_keras
    whole = layers.Reshape((1, 1), dtype="mixed_float16")(ids)
    exact = layers.Concatenate()([layers.Dense(3)(x), layers.Flatten()(layers.Embedding(4, 2)(whole))])
    rounded = layers.Dropout(0.5, dtype="mixed_bfloat16")(x)
    one, two = keras.Input((4,)), keras.Input((5,))
    halves = keras.Sequential([keras.Input((5,)), layers.Activation("relu", dtype="mixed_float16")])
    nested = keras.Model([one, two], [layers.Dense(2)(one), halves(two)])
    inner_exact, inner_rounded = nested([x, exact])
    unasked, _ = nested([layers.Dense(4)(x), layers.Dense(5, dtype="mixed_bfloat16")(x)])
    graph = keras.Model(
        [x, pixels, ids, word],
        {
            "exact": layers.Dense(2, name="exact")(exact),
            "rounded": layers.Dense(3, name="rounded")(rounded),
            "pixels": layers.Activation("relu", dtype="mixed_float16", name="pixels")(pixels),
            "given": layers.Dense(2, name="given")(pixels),
            "inner_exact": layers.Dense(2, name="inner_exact")(inner_exact),
            "inner_rounded": layers.Dense(2, name="inner_rounded")(inner_rounded),
            "unasked": layers.Dense(2, name="unasked")(unasked),
            "looked_up": layers.Embedding(4, 2, name="looked_up")(learnt(word)),
        },
    )
    return _rounds_to(request["generation"], graph)


def rounding_of_a_subclass(_request: Mapping[str, Any]) -> dict[str, str]:
    """Job: the same of a model whose inner graph nobody knows."""
    import keras

    class Two(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.one = keras.layers.Dense(3)
            self.other = keras.layers.Dense(3, dtype="mixed_bfloat16")

        def call(self, inputs: Any) -> dict[str, Any]:
            return {"exact": self.one(inputs), "rounded": keras.ops.cast(self.other(inputs), "float32")}

    inputs = keras.Input((4,))
    return _rounds_to("keras", keras.Model(inputs, Two()(inputs)))


def _rounds_to(generation: str, graph: Any) -> dict[str, str]:
    from exporters.lowering.rewrites.mixed_precision import rounds_to
    from exporters.source.keras import keras2, keras3

    reader, kind = (keras2, keras2.Keras2Model) if generation == "tf_keras" else (keras3, keras3.Keras3Model)
    model = kind(graph=graph, structure=graph.input, signature=reader._signature(graph))
    return dict(rounds_to(model))


def quantized(_request: Mapping[str, Any]) -> list[Any]:
    """Job: what a layer of 8-bit weights computes as it is, and while mixed precision is written in float32."""
    import keras
    import numpy as np

    from exporters.lowering.rewrites.mixed_precision import mixed_in_float32
    from exporters.source.keras.keras3 import Keras3Model, _signature

    inputs = keras.Input((4,))
    graph = keras.Model(inputs, keras.layers.Dense(3, dtype="mixed_bfloat16")(inputs))
    graph.quantize("int8")
    rows = np.random.default_rng(1).random((2, 4), dtype=np.float32)

    def answer() -> Any:
        return np.asarray(keras.ops.cast(graph(rows), "float32")).tolist()

    once = answer()
    with mixed_in_float32(Keras3Model(graph=graph, structure=graph.input, signature=_signature(graph))):
        return [once, answer()]


def counts(_request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: counts of categories, of an empty row, of one that holds a category twice, and called by position."""
    import tensorflow as tf

    from exporters.lowering.rewrites.bincount import bincount_as_comparison

    options = {"minlength": 3, "maxlength": 3, "axis": -1, "binary_output": True}
    with bincount_as_comparison():
        return {
            "empty": tf.math.bincount(tf.zeros([1, 0], tf.int64), **options).numpy().tolist(),
            "twice": tf.math.bincount(tf.constant([[1, 2, 2]]), **options).numpy().tolist(),
            "by position": tf.math.bincount(tf.constant([1, 2]), None, 3, 3).numpy().tolist(),
        }


def filled_array(request: Mapping[str, Any]) -> list[Any]:
    """Job: an array of tensors that is filled before a loop writes its first element.

    Args:
        request: `options` and `name` of the array.
    """
    import tensorflow as tf

    from exporters.lowering.rewrites.recurrent_loops import _arrays_as_tensors

    def written() -> Any:
        options = {"size": 3, "element_shape": (1,), "tensor_array_name": request["name"] or None, **request["options"]}
        array = tf.TensorArray(dtype=tf.float32, **options).unstack(tf.constant([[1.0], [2.0], [3.0]]))
        state = (0, array, tf.constant([9.0]))
        return tf.while_loop(lambda i, *_: i < 1, lambda i, a, s: (i + 1, a.write(i, s), s), state)[1].stack()

    with _arrays_as_tensors():
        answer: list[Any] = tf.function(written, autograph=False)().numpy().tolist()
    return answer


def kinds_of_arrays(_request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: name of an array -> its class, and whether it is a `tf.TensorArray`."""
    import tensorflow as tf

    from exporters.lowering.rewrites.recurrent_loops import _arrays_as_tensors

    with _arrays_as_tensors():
        made = {
            name: tf.TensorArray(dtype=tf.float32, size=1, tensor_array_name=name) for name in ("mine", "input_ta_0")
        }
        return {name: [type(array).__name__, isinstance(array, tf.TensorArray)] for name, array in made.items()}


def resized(request: Mapping[str, Any]) -> list[Any]:
    """Job: the shape of a resized image, and how far it lies from TensorFlow's.

    Args:
        request: options of `tf.image.resize`.
    """
    import numpy as np
    import tensorflow as tf

    from exporters.lowering.rewrites.resize import resizing_as_matrix_products

    image = np.random.default_rng(0).random((1, 8, 16, 1), dtype=np.float32)
    expected = tf.image.resize(image, [4, 4], **request).numpy()
    with resizing_as_matrix_products():
        found = tf.image.resize(image, [4, 4], **request).numpy()
    return [list(found.shape), float(np.abs(found - expected).max())]


def unordered_outputs(_request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: two outputs that are one complex tensor, kept apart."""
    import tensorflow as tf

    from exporters.formats.tflite import _distinct_outputs
    from exporters.lowering.rewrite_log import recorded_rewrites

    with recorded_rewrites() as acted:
        found = _distinct_outputs(
            {"a": tf.constant([1j], tf.complex64), "b": tf.constant([1j], tf.complex64)}, {"a": "x", "b": "x"}
        )
    return {"dtypes": [value.dtype.name for value in found.values()], "acted": sorted(acted)}
