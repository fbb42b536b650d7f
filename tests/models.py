"""Tiny models for the contract tests: one for every way a signature or a layer has been known to break a converter.

Each function builds a model with fixed random weights. `build` is a job function: it runs in a worker and saves files.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def single_input() -> Any:
    """Convolution, batch norm with statistics that are not trivial, dropout."""
    import keras
    import numpy as np
    from keras import layers

    image = keras.Input((8, 8, 1), name="image")
    norm = layers.BatchNormalization()
    x = norm(layers.Conv2D(4, 3, activation="relu")(image))
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    model = keras.Model(image, layers.Dense(3, activation="softmax", name="probabilities")(x))
    random = np.random.default_rng(1)
    norm.set_weights([random.uniform(0.5, 1.5, w.shape) for w in norm.get_weights()])
    return model


def two_inputs() -> Any:
    """Two inputs of one shape whose names are not in alphabetical order; a swap changes the result."""
    import keras
    from keras import layers

    zeta, alpha = keras.Input((4,), name="zeta"), keras.Input((4,), name="alpha")
    mixed = layers.Concatenate()([layers.Dense(3, activation="tanh")(zeta), alpha])
    return keras.Model([zeta, alpha], layers.Dense(2, name="score")(mixed))


def dict_inputs() -> Any:
    """A dict of inputs of different types."""
    import keras
    from keras import layers

    ids = keras.Input((5,), dtype="int32", name="ids")
    size = keras.Input((2,), name="size")
    embedded = layers.GlobalAveragePooling1D()(layers.Embedding(10, 4)(ids))
    return keras.Model({"size": size, "ids": ids}, layers.Dense(2, name="y")(layers.Concatenate()([embedded, size])))


def list_outputs() -> Any:
    """Three outputs of one shape, as a list, names not in alphabetical order."""
    import keras
    from keras import layers

    x = keras.Input((4,), name="x")
    return keras.Model(x, [layers.Dense(3, name=name)(x) for name in ("third", "first", "second")])


def dict_outputs() -> Any:
    """Two outputs of one shape and one of another type, as a dict whose keys are not the layers' names."""
    import keras
    from keras import layers, ops

    x = keras.Input((4,), name="x")
    right, left = layers.Dense(3)(x), layers.Dense(3)(x)
    return keras.Model(x, {"right": right, "left": left, "winner": ops.argmax(right, axis=-1)})


def lstm_states() -> Any:
    """An LSTM that returns its states: three outputs called `lstm`."""
    import keras
    from keras import layers

    x = keras.Input((6, 3), name="x")
    return keras.Model(x, layers.LSTM(4, return_state=True, name="lstm")(x))


def shared_layer() -> Any:
    """One layer used twice: two outputs of one name."""
    import keras
    from keras import layers

    x = keras.Input((3,), name="x")
    dense = layers.Dense(2, name="d")
    return keras.Model(x, [dense(x), dense(x * 2.0)])


def dynamic_sequence() -> Any:
    """A dynamic axis beside the batch."""
    import keras
    from keras import layers

    x = keras.Input((None, 3), name="x")
    return keras.Model(x, layers.GlobalMaxPooling1D(name="peak")(layers.Conv1D(4, 3, padding="same")(x)))


def recurrent() -> Any:
    """A bidirectional GRU under a dense head."""
    import keras
    from keras import layers

    x = keras.Input((3, 3), name="x")
    y = layers.Bidirectional(layers.GRU(4, return_sequences=True))(x)
    return keras.Model(x, layers.Dense(2, name="y")(layers.SimpleRNN(3)(y)))


def grouped_convolution() -> Any:
    """Grouped and depthwise convolutions, and one with a group for every channel."""
    import keras
    from keras import layers

    x = keras.Input((8, 8, 4), name="x")
    y = layers.Conv2D(6, 3, groups=2, name="grouped")(x)
    y = layers.Conv2D(12, 3, groups=6, padding="same", name="one_each")(y)
    return keras.Model(x, layers.DepthwiseConv2D(3, name="y")(y))


MODELS: Mapping[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (
        single_input,
        two_inputs,
        dict_inputs,
        list_outputs,
        dict_outputs,
        lstm_states,
        shared_layer,
        dynamic_sequence,
        recurrent,
        grouped_convolution,
    )
}


def build(request: Mapping[str, Any]) -> str:
    """Job: builds one model of the table and saves it.

    Args:
        request: `name` (key of `MODELS`), `folder`, `seed`.

    Returns:
        Path of the `.keras` file.
    """
    import keras

    keras.utils.set_random_seed(request["seed"])
    path = Path(request["folder"]) / f"{request['name']}.keras"
    MODELS[request["name"]]().save(path)
    return str(path)
