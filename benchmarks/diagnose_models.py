"""Small models, and faulty copies of them, for `benchmarks.diagnose`: each fault is in one layer.

`build` and `plant` are job functions: they run where TensorFlow is.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def cnn() -> Any:
    """Convolutions, a folded batch norm, a residual, a head with GELU and layer norm."""
    import keras
    from keras import layers

    image = keras.Input((12, 12, 3), name="image")
    x = layers.Conv2D(8, 3, padding="same", name="conv1")(image)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.ReLU(name="relu1")(x)
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.Add(name="add")([x, y])
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(16, activation="gelu", name="dense1")(x)
    x = layers.LayerNormalization(name="layer_norm")(x)
    x = layers.Dense(5, name="dense2")(x)
    return keras.Model(image, layers.Softmax(name="softmax")(x))


def unet() -> Any:
    """Strides, a skip by concatenation, resizing, a transposed convolution; one nested model."""
    import keras
    from keras import layers

    inner_image = keras.Input((8, 8, 6))
    z = layers.Conv2D(6, 3, padding="same", activation="swish", name="inner1")(inner_image)
    inner = keras.Model(inner_image, layers.GroupNormalization(2, name="inner_norm")(z), name="inner")
    image = keras.Input((16, 16, 2), name="image")
    x = layers.Rescaling(0.5, name="rescale")(image)
    down = layers.Conv2D(6, 3, strides=2, padding="same", activation="elu", name="down")(x)
    x = inner(down)
    x = layers.Concatenate(name="skip")([x, down])
    x = layers.UpSampling2D(2, name="up")(x)
    x = layers.Conv2DTranspose(4, 3, padding="same", activation="leaky_relu", name="transposed")(x)
    x = layers.AveragePooling2D(2, name="pool")(x)
    return keras.Model(image, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x))


def sequence() -> Any:
    """Token ids, an embedding, recurrent layers, attention."""
    import keras
    from keras import layers

    ids = keras.Input((6,), dtype="int32", name="ids")
    x = layers.Embedding(2, 8, name="embedding")(ids)
    x = layers.LSTM(8, return_sequences=True, name="lstm")(x)
    y = layers.MultiHeadAttention(2, 4, name="attention")(x, x)
    x = layers.LayerNormalization(name="norm")(layers.Add(name="add")([x, y]))
    x = layers.Bidirectional(layers.GRU(4, return_sequences=True), name="gru")(x)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    return keras.Model(ids, layers.Dense(3, activation="tanh", name="head")(x))


MODELS: Mapping[str, Callable[[], Any]] = {"cnn": cnn, "unet": unet, "sequence": sequence}


def build(request: Mapping[str, Any]) -> str:
    """Job: builds a model with weights that none of its layers can hide behind, and saves it.

    Args:
        request: `name`, `folder`.
    """
    import keras
    import numpy as np

    keras.utils.set_random_seed(11)
    model = MODELS[request["name"]]()
    random = np.random.default_rng(11)
    # Statistics, gains and biases as training leaves them, not as they are initialised: ones and zeros.
    for weight in model.weights:
        if weight.name in {"gamma", "moving_variance"}:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
        elif weight.name in {"beta", "bias", "moving_mean"}:
            weight.assign(random.uniform(-0.3, 0.3, weight.shape))
    path = Path(request["folder"]) / f"{request['name']}.keras"
    model.save(path)
    return str(path)


def plant(request: Mapping[str, Any]) -> str:
    """Job: saves a copy of a model in which one layer is wrong.

    Args:
        request: `model` (path), `layer`, `fault` (a key of `FAULTS`), `path` of the copy.
    """
    import keras

    model = keras.saving.load_model(request["model"])
    fault = FAULTS[request["fault"]]
    copy = _with(model, request["layer"], fault)
    copy.save(request["path"])
    return str(request["path"])


def _with(model: Any, name: str, fault: Callable[[Any], Any]) -> Any:
    """The model with one layer replaced by what a fault makes of it; weights as they were."""
    import keras

    def clone(layer: Any) -> Any:
        if isinstance(layer, keras.Model):
            return _with(layer, name, fault)
        if layer.name == name and (other := fault(layer)) is not layer:
            return other
        return layer.__class__.from_config(layer.get_config())

    copy = keras.models.clone_model(model, clone_function=clone)
    for layer, cloned in zip(model.layers, copy.layers, strict=True):
        weights = layer.get_weights()
        if layer.name == name:
            weights = CHANGES[fault](weights) if fault in CHANGES else weights
        if not isinstance(layer, keras.Model):
            cloned.set_weights(weights)
    return copy


def _config(**changes: Any) -> Callable[[Any], Any]:
    return lambda layer: layer.__class__.from_config({**layer.get_config(), **changes})


def _weights(change: Callable[[list[Any]], None]) -> Callable[[Any], Any]:
    """A fault of the layer's weights alone."""

    def fault(layer: Any) -> Any:
        return layer

    def changed(weights: list[Any]) -> list[Any]:
        copies = [weight.copy() for weight in weights]
        change(copies)
        return copies

    CHANGES[fault] = changed
    return fault


CHANGES: dict[Callable[[Any], Any], Callable[[list[Any]], list[Any]]] = {}


def _one(index: int, by: float) -> Callable[[list[Any]], None]:
    def change(weights: list[Any]) -> None:
        weights[index].reshape(-1)[weights[index].size // 2] += by

    return change


def _transposed(weights: list[Any]) -> None:
    weights[0] = weights[0].swapaxes(-1, -2).copy()


def _mirrored(weights: list[Any]) -> None:
    weights[0] = weights[0][::-1].copy()


def _swapped(weights: list[Any]) -> None:
    weights[0][..., [0, 1]] = weights[0][..., [1, 0]]


def _exchanged(weights: list[Any]) -> None:
    half = len(weights) // 2
    weights[:] = [*weights[half:], *weights[:half]]


def _stale(weights: list[Any]) -> None:
    import numpy as np

    weights[0] += np.random.default_rng(3).normal(scale=0.05, size=weights[0].shape)


def _other(kind: str, **options: Any) -> Callable[[Any], Any]:
    def fault(layer: Any) -> Any:
        import keras

        other: Any = getattr(keras.layers, kind)(name=layer.name, **options)
        return other

    return fault


def _shifted(layer: Any) -> Any:
    """A convolution whose window starts one pixel off: explicit padding on one side, then `valid`."""
    import keras

    config = layer.get_config() | {"padding": "valid", "name": f"{layer.name}_valid"}
    stride = config["strides"][0]
    pads = ((2, 0), (2, 0)) if stride == 1 else ((1, 0), (1, 0))
    return keras.Sequential([keras.layers.ZeroPadding2D(pads), layer.__class__.from_config(config)], name=layer.name)


FAULTS: Mapping[str, Callable[[Any], Any]] = {
    "one weight +0.2": _weights(_one(0, 0.2)),
    "one weight +0.001": _weights(_one(0, 1e-3)),
    "one bias +0.05": _weights(_one(-1, 0.05)),
    "recurrent weight +0.2": _weights(_one(1, 0.2)),
    "gain +0.1": _weights(_one(0, 0.1)),
    "one variance +0.3": _weights(_one(3, 0.3)),
    "transposed kernel": _weights(_transposed),
    "mirrored kernel": _weights(_mirrored),
    "swapped channels": _weights(_swapped),
    "stale weights": _weights(_stale),
    "epsilon 0.05": _config(epsilon=0.05),
    "relu6 for relu": _config(max_value=0.8),
    "sigmoid for gelu": _config(activation="sigmoid"),
    "tanh for swish": _config(activation="tanh"),
    "hard sigmoid": _config(activation="hard_sigmoid"),
    "relu for elu": _config(activation="relu"),
    "relu for leaky relu": _config(activation="relu"),
    "average for maximum": _other("AveragePooling2D", pool_size=2),
    "maximum for average": _other("MaxPooling2D", pool_size=2),
    "maximum for sum": _other("Maximum"),
    "softmax over the rows": _config(axis=0),
    "other interpolation": _config(interpolation="bilinear"),
    "scale 0.51": _config(scale=0.51),
    "window shifted": _shifted,
    "directions exchanged": _weights(_exchanged),
}
