"""The models that faults are planted into: small, each with other ways to go wrong, weights from a seed.

Every builder takes its faults as arguments: `build(**changes)` gives the model with something changed and the same
weights, so that it can be exported in the place of the good one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Describes the range of one model input: uniform between two ends.

    Attributes:
        low, high: the ends; whole numbers are drawn with both of them.
        shape: of one row; None is a dynamic axis, whose length is one of `LENGTHS`.
        dtype: of the array.
        words: for text, what to choose from.
    """

    low: float = 0.0
    high: float = 1.0
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    words: tuple[str, ...] = ()


LENGTHS = (8, 16, 24, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """One model: how it is built, what its inputs are in earnest, and the formats that take it with every axis free."""

    build: Callable[..., Any]
    domain: Mapping[str, Span]
    formats: tuple[str, ...] = ("onnx", "tflite", "saved_model", "tfjs")


def good(name: str) -> Any:
    """The model itself, with weights that leave nothing at zero or one."""
    import keras

    keras.utils.set_random_seed(7)
    model = MODELS[name].build()
    rng = np.random.default_rng(11)
    for layer in model._flatten_layers():  # noqa: SLF001 - Keras has no public way to all layers
        for variable in getattr(layer, "_trainable_variables", []) + getattr(layer, "_non_trainable_variables", []):
            if "float" in str(variable.dtype):
                _set(variable, rng)
    return model


def _set(variable: Any, rng: np.random.Generator) -> None:
    name, shape = variable.path.rpartition("/")[2], variable.shape
    if name in {"gamma", "moving_variance", "variance"}:
        variable.assign(rng.uniform(0.5, 1.5, shape))
    elif name in {"beta", "bias", "moving_mean", "mean"}:
        variable.assign(rng.normal(0, 0.2, shape))


def changed(name: str, model: Any, changes: Mapping[str, Any]) -> Any:
    """The model built with changes, with the good one's weights."""
    import keras

    keras.backend.clear_session(free_memory=False)
    other = MODELS[name].build(**changes)
    other.set_weights(model.get_weights())
    return other


def pixels(  # noqa: PLR0913 - each argument is a fault
    *,
    scale: float = 1 / 255,
    channels: tuple[int, ...] = (0, 1, 2),
    padding: str = "same",
    phase: tuple[tuple[int, int], ...] = ((0, 1), (0, 1)),
    activation: str = "relu6",
    epsilon: float = 1e-3,
    residual: bool = True,
    inner: str = "relu",
    pooling: str = "max",
    axis: int = -1,
) -> Any:
    """A classifier of images: rescaling, convolutions with normalizations, a residual connection."""
    import keras
    from keras import layers, ops

    image = keras.Input((16, 16, 3), name="image")
    x = layers.Rescaling(scale)(image)
    if channels != (0, 1, 2):
        x = ops.take(x, np.array(channels), axis=-1)
    x = layers.Conv2D(8, 3, padding=padding, name="stem")(x)
    if padding == "valid":
        x = layers.ZeroPadding2D(1)(x)
    x = layers.Activation(activation)(layers.BatchNormalization(epsilon=epsilon, name="stem_norm")(x) * 4.0)
    y = layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    y = layers.Activation(inner)(layers.BatchNormalization(name="depthwise_norm")(y))
    x = layers.Add()([x, y]) if residual else y
    x = layers.ZeroPadding2D(phase)(x)
    x = layers.Conv2D(12, 3, strides=2, activation="relu", name="reduce")(x)
    x = (layers.MaxPooling2D if pooling == "max" else layers.AveragePooling2D)(2)(x)
    x = layers.Dense(10, name="logits")(layers.Flatten()(x))
    return keras.Model(image, layers.Softmax(axis=axis, name="class")(x))


def upscaler(
    *,
    interpolation: str = "bilinear",
    slope: float = 0.3,
    final: str = "sigmoid",
    shift: int = 0,
    transposed_padding: str = "same",
) -> Any:
    """An image to image network: resizing, transposed convolution, a map of probabilities."""
    import keras
    from keras import layers, ops

    image = keras.Input((9, 9, 1), name="image")
    x = layers.LeakyReLU(slope)(layers.Conv2D(6, 3, padding="same", name="encode")(image))
    x = layers.UpSampling2D(2, interpolation=interpolation)(x)
    if shift:
        x = ops.roll(x, shift, axis=1)
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="decode")(x)
    x = layers.Conv2DTranspose(3, 3, strides=2, padding=transposed_padding, name="transposed")(x)
    x = x[:, -36:, -36:]
    return keras.Model(image, layers.Conv2D(1, 1, activation=final, name="mask")(x))


def tabular(  # noqa: PLR0913 - each argument is a fault
    *,
    approximate: bool = False,
    epsilon: float = 1e-3,
    swapped: bool = False,
    bound: float = 3.0,
    decimals: float = 0.5,
    downwards: bool = True,
) -> Any:
    """Two inputs of one shape, standardized and bounded; a regression and a whole number."""
    import keras
    from keras import layers, ops

    before, after = keras.Input((6,), name="before"), keras.Input((6,), name="after")
    first, second = (after, before) if swapped else (before, after)
    norm = layers.Normalization(mean=np.linspace(40, 60, 6), variance=np.linspace(90, 110, 6))
    x = layers.Concatenate()([ops.clip(norm(first), -bound, bound), ops.clip(norm(second), -bound, bound)])
    x = ops.gelu(layers.Dense(16, name="mix")(x), approximate=approximate)
    x = layers.LayerNormalization(epsilon=epsilon, name="norm")(x)
    price = layers.Dense(1, name="price")(layers.Dense(16, activation="swish", name="deep")(x))
    level = price * 10.0 + decimals
    level = ops.cast(ops.floor(level) if downwards else level, "int32")
    return keras.Model([before, after], {"price": price, "level": level})


def tokens(  # noqa: PLR0913 - each argument is a fault
    *,
    approximate: bool = False,
    root: bool = True,
    axis: int = -1,
    epsilon: float = 1e-5,
    offset: int = 0,
    masked: bool = True,
    bits: str = "int32",
) -> Any:
    """Self-attention over words of any number, the padding masked."""
    import keras
    from keras import layers, ops

    ids = keras.Input((None,), dtype="int32", name="ids")
    x = layers.Embedding(300, 16, name="words")(ops.cast(ops.cast(ids, bits), "int32"))
    places = ops.minimum(ops.cumsum(ops.ones_like(ids), axis=1) - 1 + offset, 47)
    x += layers.Embedding(48, 16, name="places")(places)
    q, k, v = (layers.Dense(16, name=name)(x) for name in ("query", "key", "value"))
    scores = ops.matmul(q, ops.transpose(k, (0, 2, 1))) * (4.0 if root else 1.0)
    if masked:
        scores -= 1e4 * ops.cast(ops.equal(ids, 0), "float32")[:, None, :]
    x = layers.LayerNormalization(epsilon=epsilon, name="norm")(x + ops.matmul(ops.softmax(scores, axis=axis), v))
    x = ops.gelu(layers.Dense(24, name="up")(x), approximate=approximate)
    return keras.Model(ids, layers.Dense(5, name="topic")(layers.GlobalAveragePooling1D()(x)))


def recurrent(*, gate: str = "sigmoid", backwards: bool = False, final: str = "tanh", last: bool = True) -> Any:
    """An LSTM over a signal."""
    import keras
    from keras import layers

    signal = keras.Input((12, 4), name="signal")
    x = layers.LSTM(8, recurrent_activation=gate, go_backwards=backwards, return_sequences=True, name="lstm")(signal)
    x = x[:, -1] if last else x[:, -2]
    return keras.Model(signal, layers.Dense(3, activation=final, name="state")(x))


def both_ways(*, order: tuple[int, int] = (0, 1), epsilon: float = 1e-3, activation: str = "elu") -> Any:
    """A GRU in both directions, normalized."""
    import keras
    from keras import layers

    signal = keras.Input((10, 3), name="signal")
    ways = [
        layers.GRU(5, go_backwards=backwards, name=name)(signal)
        for name, backwards in (("forward", False), ("backward", True))
    ]
    x = layers.Concatenate()([ways[order[0]], ways[order[1]]])
    x = layers.BatchNormalization(epsilon=epsilon, name="norm")(x)
    return keras.Model(signal, layers.Dense(4, activation=activation, name="next")(x))


def series(
    *, dilation: int = 2, padding: str = "causal", activation: str = "swish", groups: int = 2, epsilon: float = 1e-3
) -> Any:
    """Dilated convolutions in one dimension, groups normalized."""
    import keras
    from keras import layers

    signal = keras.Input((20, 2), name="signal")
    x = layers.Conv1D(8, 3, padding=padding, dilation_rate=dilation, name="dilated")(signal)
    x = layers.GroupNormalization(groups, epsilon=epsilon, name="norm")(x)
    x = layers.Activation(activation)(x)
    x = layers.AveragePooling1D(2, padding="same")(x)
    return keras.Model(signal, layers.Dense(6, name="head")(layers.Flatten()(x)))


def heads(*, exchanged: bool = False, last_of_equals: bool = False, stable: bool = True) -> Any:
    """Outputs of one shape, a winner, and a probability."""
    import keras
    from keras import layers, ops

    x = keras.Input((8,), name="x")
    a, b = (layers.Dense(5, name=name)(x) for name in ("one", "two"))
    rounded = ops.round(a)
    winner = ops.argmax(rounded, axis=-1)
    if last_of_equals:
        winner = 4 - ops.argmax(ops.flip(rounded, axis=-1), axis=-1)
    odds = ops.softmax(a * 64.0) if stable else ops.exp(a * 64.0) / ops.sum(ops.exp(a * 64.0), axis=-1, keepdims=True)
    left, right = (b, a) if exchanged else (a, b)
    return keras.Model(x, {"left": left, "right": right, "winner": winner, "odds": odds})


def rates() -> Any:
    """Numbers that are no shares of one: a price of some hundred thousands, a risk of some hundred thousandths."""
    import keras
    from keras import layers

    facts = keras.Input((12,), name="facts")
    x = layers.Dense(16, activation="gelu", name="mixed")(layers.BatchNormalization(name="norm")(facts))
    price = layers.Rescaling(2e5, offset=4e5, name="price")(layers.Dense(1, name="worth")(x))
    risk = layers.Activation("sigmoid", name="risk")(layers.Dense(1, name="odds")(x) - 11.0)
    return keras.Model(facts, {"price": price, "risk": risk})


VOCABULARY = tuple(f"word{number}" for number in range(24))


def words(*, known: int = 24) -> Any:
    """Text over a vocabulary."""
    import keras
    from keras import layers, ops

    text = keras.Input((5,), dtype="string", name="text")
    ids = layers.StringLookup(vocabulary=list(VOCABULARY[:known]), name="lookup")(text)
    x = layers.Embedding(25, 8, name="embedding")(ids)
    return keras.Model(text, layers.Dense(3, name="tone")(ops.mean(x, axis=1)))


MODELS: Mapping[str, Planted] = {
    "pixels": Planted(build=pixels, domain={"image": Span(high=255.0, shape=(16, 16, 3))}),
    "upscaler": Planted(build=upscaler, domain={"image": Span(low=-1.0, shape=(9, 9, 1))}),
    "tabular": Planted(build=tabular, domain={name: Span(high=100.0, shape=(6,)) for name in ("before", "after")}),
    "tokens": Planted(
        build=tokens,
        domain={"ids": Span(high=299, shape=(None,), dtype="int32")},
        formats=("onnx", "saved_model", "tfjs"),
    ),
    "recurrent": Planted(build=recurrent, domain={"signal": Span(low=-1.0, shape=(12, 4))}),
    "both_ways": Planted(build=both_ways, domain={"signal": Span(low=-1.0, shape=(10, 3))}),
    "series": Planted(build=series, domain={"signal": Span(low=-2.0, high=2.0, shape=(20, 2))}),
    "heads": Planted(build=heads, domain={"x": Span(low=-2.0, high=2.0, shape=(8,))}),
    "rates": Planted(build=rates, domain={"facts": Span(low=-2.0, high=2.0, shape=(12,))}),
    "words": Planted(build=words, domain={"text": Span(shape=(5,), dtype="string", words=(*VOCABULARY, "unheard of"))}),
}
"""The models that are scored. Those that constants were set with are `tests/models.py`; none is in both."""
