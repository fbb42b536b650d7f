"""Models for single questions, beside the table in `tests/models.py`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def static_batch() -> Any:
    """A model whose own batch is fixed."""
    import keras
    from keras import layers

    x = keras.Input(batch_shape=(4, 3), name="x")
    return keras.Model(x, layers.Dense(2, name="y")(x))


def double() -> Any:
    """Everything in float64, which TF.js does not have."""
    import keras
    from keras import layers

    x = keras.Input((6,), name="x", dtype="float64")
    hidden = layers.Dense(8, activation="tanh", dtype="float64")(x)
    return keras.Model(x, layers.Dense(3, name="y", dtype="float64")(hidden))


def twins() -> Any:
    """Two inputs of one shape and three outputs of one shape: whatever is swapped still fits."""
    import keras
    from keras import layers

    def head(name: str) -> Any:
        return layers.Dense(3, bias_initializer="random_normal", name=name)

    zeta, alpha = keras.Input((4,), name="zeta"), keras.Input((4,), name="alpha")
    hidden = layers.Concatenate()([layers.Dense(5, activation="tanh", name="deep")(zeta), alpha])
    return keras.Model([zeta, alpha], [head(name)(hidden) for name in ("third", "first", "second")])


def residual() -> Any:
    """A signal of one channel and what a convolution makes of it, added up; longest where the batch is one."""
    import keras
    from keras import layers

    x = keras.Input((6, 1), name="x")
    return keras.Model(x, layers.Add(name="y")([x, layers.Conv1D(1, 3, padding="same")(x)]))


def gelu() -> Any:
    """The exact GELU, which TensorFlow writes with `Erfc`."""
    import keras
    from keras import layers

    x = keras.Input((4,), name="x")
    return keras.Model(x, layers.Dense(3, name="y")(layers.Dense(6, activation="gelu")(x)))


def attention() -> Any:
    """An attention layer: Keras writes it with `Einsum`."""
    import keras
    from keras import layers

    x = keras.Input((5, 8), name="x")
    return keras.Model(x, layers.Add(name="y")([x, layers.MultiHeadAttention(num_heads=2, key_dim=3)(x, x)]))


def long_recurrence() -> Any:
    """A recurrent layer over a dynamic time axis: it stays a loop."""
    import keras
    from keras import layers

    x = keras.Input((None, 3), name="x")
    return keras.Model(x, layers.LSTM(4, name="y")(x))


def exponential() -> Any:
    """An ELU between two layers."""
    import keras
    from keras import layers

    x = keras.Input((5,), name="x")
    return keras.Model(x, layers.Dense(3, name="y")(layers.Dense(4, activation="elu")(x)))


def bent() -> Any:
    """A softsign and a CELU, the one of which TF.js has no operator for, the other tf2onnx none."""
    import keras
    from keras import layers

    x = keras.Input((5,), name="x")
    y = layers.Dense(4, activation="celu")(layers.Dense(4, activation="softsign")(x))
    return keras.Model(x, layers.Dense(3, name="y")(y))


def padded_pool() -> Any:
    """Zeros around negative numbers, and the largest of each window, as ResNet50V2 begins."""
    import keras
    from keras import layers

    x = keras.Input((6, 6, 2), name="x")
    y = layers.ZeroPadding2D(1)(layers.Conv2D(3, 1, bias_initializer="ones")(x) - 4.0)
    return keras.Model(x, layers.MaxPooling2D(3, strides=2, name="y")(y))


def one_tensor_twice() -> Any:
    """Two outputs that are one tensor."""
    import keras
    from keras import layers

    x = keras.Input((5,), name="x")
    y = layers.Dense(3)(x)
    return keras.Model(x, {"first": y, "second": y})


TABLE = (
    *(exponential, bent, padded_pool, one_tensor_twice, static_batch, double, twins, residual, gelu, attention),
    long_recurrence,
)
MODELS = {function.__name__: function for function in TABLE}


def build(request: Mapping[str, Any]) -> str:
    """Job: as `tests.models.build`, for the models of this table."""
    import keras

    keras.utils.set_random_seed(request["seed"])
    path = Path(request["folder"]) / f"{request['name']}.keras"
    MODELS[request["name"]]().save(path)
    return str(path)
