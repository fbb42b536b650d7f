"""Models that break converters: one small builder each. What is to come of each stands in `tests/zoo.py`."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


def asymmetric_strides() -> Any:
    """Strides that differ, padded `same`."""
    import keras
    from keras import layers

    x = keras.Input((12, 10, 3), name="x")
    y = layers.Conv2D(4, 3, strides=(2, 1), padding="same")(x)
    return keras.Model(x, layers.Conv2D(2, 3, strides=(1, 2), padding="same", name="y")(y))


def wide_strides() -> Any:
    """Strides longer than the kernel, padded `same`, over sizes that need padding and sizes that do not."""
    import keras
    from keras import layers

    x = keras.Input((13, 12, 3), name="x")
    same = {"padding": "same"}
    wide = layers.Conv2D(2, 2, strides=4, name="wide", **same)(x)
    point = layers.Conv2D(2, 1, strides=2, activation="relu", name="point", **same)(x)
    return keras.Model(x, [wide, point, layers.DepthwiseConv2D((1, 3), strides=2, name="depthwise", **same)(x)])


def gru_reset_before() -> Any:
    """A GRU that resets before the product, as CuDNN does not."""
    import keras
    from keras import layers

    x = keras.Input((3, 3), name="x")
    return keras.Model(x, layers.GRU(4, reset_after=False, name="y")(x))


def stacked_bilstm() -> Any:
    """Two bidirectional LSTMs, one on top of the other, joined in two ways."""
    import keras
    from keras import layers

    x = keras.Input((3, 3), name="x")
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(x)
    return keras.Model(x, layers.Bidirectional(layers.LSTM(3), merge_mode="sum", name="y")(y))


def left_padded() -> Any:
    """Masked words, padded on the left: the recurrent layer has to keep its state over what is masked."""
    import keras
    from keras import layers

    ids = keras.Input((6,), dtype="int32", name="ids")
    padded = layers.Concatenate()([keras.ops.zeros_like(ids), ids])
    return keras.Model(ids, layers.LSTM(4, name="y")(layers.Embedding(10, 5, mask_zero=True)(padded)))


def masked_both_ways() -> Any:
    """Masked words read in both directions, every step kept: what is masked depends on the direction."""
    import keras
    from keras import layers

    ids = keras.Input((6,), dtype="int32", name="ids")
    words = layers.Embedding(10, 3, mask_zero=True)(ids)
    return keras.Model(
        ids, layers.Dense(2, name="y")(layers.Bidirectional(layers.LSTM(3, return_sequences=True))(words))
    )


def conv_lstm() -> Any:
    """A convolutional LSTM over images."""
    import keras
    from keras import layers

    x = keras.Input((3, 6, 6, 2), name="x")
    return keras.Model(x, layers.ConvLSTM2D(3, 3, padding="same", name="y")(x))


def four_inputs() -> Any:
    """Four inputs of one shape, whose names stand in no order; each counts differently."""
    import keras
    from keras import layers

    names = ("zulu", "alpha", "mike", "bravo")
    inputs = [keras.Input((3,), name=name) for name in names]
    weighted = [tensor * float(weight) for weight, tensor in enumerate(inputs, 1)]
    return keras.Model(inputs, layers.Dense(2, name="y")(layers.Add()(weighted)))


def three_named_outputs() -> Any:
    """Three outputs of one shape in a dict whose keys stand in no order."""
    import keras
    from keras import layers

    x = keras.Input((4,), name="x")
    return keras.Model(x, {name: layers.Dense(3)(x) for name in ("tail", "head", "middle")})


def list_of_models() -> Any:
    """A subclass that holds models in a list."""
    import keras

    from tests.zoo_objects import Committee

    model = Committee(members=3)
    model(keras.Input((4,)))
    return model


def augmented() -> Any:
    """Normalisation with statistics of its own, and augmentation that must do nothing."""
    import keras
    from keras import layers

    x = keras.Input((8, 8, 3), name="x")
    y = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.5, 0.5, 2.0])(x)
    for layer in (layers.RandomFlip(), layers.RandomRotation(0.2), layers.RandomZoom(0.2), layers.RandomContrast(0.3)):
        y = layer(y)
    return keras.Model(x, layers.Conv2D(2, 3, name="y")(layers.GaussianNoise(0.5)(y)))


def vae() -> Any:
    """A variational autoencoder that draws its code at inference too: no two answers are the same."""
    import keras
    from keras import layers

    from tests.zoo_objects import Sampling

    x = keras.Input((6,), name="x")
    code = Sampling()([layers.Dense(2)(x), layers.Dense(2)(x)])
    return keras.Model(x, layers.Dense(6, name="y")(code))


def unet() -> Any:
    """An hour-glass over an image of odd size, enlarged in two ways."""
    import keras
    from keras import layers

    x = keras.Input((13, 11, 3), name="x")
    half = layers.MaxPooling2D(padding="same")(layers.Conv2D(4, 3, padding="same", activation="relu")(x))
    quarter = layers.MaxPooling2D(padding="same")(layers.Conv2D(6, 3, padding="same", activation="relu")(half))
    up = layers.Cropping2D(((0, 1), (0, 0)))(layers.UpSampling2D(interpolation="bilinear")(quarter))
    up = layers.UpSampling2D(interpolation="nearest")(layers.Concatenate()([up, half]))
    up = layers.Cropping2D(((1, 0), (0, 1)))(up)
    return keras.Model(x, layers.Conv2D(2, 1, name="y")(layers.Concatenate()([up, x])))


def bicubic() -> Any:
    """Enlarged by cubic interpolation."""
    import keras
    from keras import layers

    x = keras.Input((5, 7, 2), name="x")
    return keras.Model(x, layers.UpSampling2D((2, 3), interpolation="bicubic", name="y")(x))


def transposed() -> Any:
    """A transposed convolution of images, padded both ways."""
    import keras
    from keras import layers

    x = keras.Input((5, 4, 3), name="x")
    y = layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(x, layers.Conv2DTranspose(2, 2, strides=(1, 2), name="y")(y))


def transposed_volume() -> Any:
    """A transposed convolution of volumes."""
    import keras
    from keras import layers

    x = keras.Input((3, 4, 3, 2), name="x")
    return keras.Model(x, layers.Conv3DTranspose(3, 2, strides=2, name="y")(layers.Conv3D(2, 2, padding="same")(x)))


def dilated_depthwise() -> Any:
    """A depthwise and a separable convolution that leave out pixels."""
    import keras
    from keras import layers

    x = keras.Input((9, 9, 3), name="x")
    y = layers.DepthwiseConv2D(3, dilation_rate=2, depth_multiplier=2, padding="same")(x)
    return keras.Model(x, layers.SeparableConv2D(4, 3, dilation_rate=2, name="y")(y))


def mobilenet() -> Any:
    """The first blocks of MobileNetV3: hard swish, squeeze and excite, rescaling; with statistics as of a training."""
    import keras
    import numpy as np

    whole = keras.applications.MobileNetV3Small((32, 32, 3), alpha=0.5, weights=None, include_top=False)
    random = np.random.default_rng(4)
    for layer in whole.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, weight.shape) for weight in layer.get_weights()])
    return keras.Model(whole.input, whole.get_layer("expanded_conv_3_project_bn").output)


def top_k() -> Any:
    """The three largest values and where they stand."""
    import keras
    from keras import layers, ops

    x = keras.Input((5,), name="x")
    values, places = ops.top_k(layers.Dense(7)(x), 3)
    return keras.Model(x, {"values": values, "places": places})


def best_boxes() -> Any:
    """Non-maximum suppression, as detectors end."""
    import keras

    from tests.zoo_objects import BestBoxes

    boxes = keras.Input(batch_shape=(1, 8, 4), name="boxes")
    scores = keras.Input(batch_shape=(1, 8), name="scores")
    return keras.Model([boxes, scores], BestBoxes(name="kept")([boxes, scores]))


def fully_convolutional() -> Any:
    """Images of any size, and a summary of each."""
    import keras
    from keras import layers

    x = keras.Input((None, None, 3), name="x")
    y = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(x)
    y = layers.UpSampling2D(interpolation="bilinear")(y)
    return keras.Model(x, {"map": y, "summary": layers.GlobalAveragePooling2D()(y)})


def reshaped() -> Any:
    """Rows folded into the batch and out of it again."""
    import keras
    from keras import layers, ops

    x = keras.Input((6, 4), name="x")
    folded = layers.Dense(3, activation="relu")(ops.reshape(x, (-1, 4)))
    return keras.Model(x, layers.Flatten(name="y")(layers.Reshape((-1, 9))(ops.reshape(folded, (-1, 6, 3)))))


def wide_ids() -> Any:
    """Identifiers beyond 32 bits."""
    import keras
    from keras import layers, ops

    ids = keras.Input((4,), dtype="int64", name="ids")
    shard = ops.cast(ops.mod(ids * 5_000_000_019, 7), "int32")
    return keras.Model(ids, layers.Flatten(name="y")(layers.Embedding(7, 3)(shard)))


def half_precision() -> Any:
    """mixed_float16."""
    return _mixed("mixed_float16")


def brain_float() -> Any:
    """mixed_bfloat16."""
    return _mixed("mixed_bfloat16")


def _mixed(policy: str) -> Any:
    import keras
    from keras import layers

    x = keras.Input((8, 8, 2), name="x", dtype="float32")
    y = layers.Conv2D(4, 3, activation="relu", dtype=policy)(x)
    y = layers.GlobalAveragePooling2D(dtype=policy)(layers.BatchNormalization(dtype=policy)(y))
    return keras.Model(x, layers.Dense(3, dtype="float32", name="y")(y))


def spectrogram() -> Any:
    """Sound: a short-time Fourier transform in front of a convolution."""
    import keras
    from keras import layers

    x = keras.Input((160, 1), name="x")
    y = layers.STFTSpectrogram(mode="magnitude", frame_length=32, frame_step=16, fft_length=32)(x)
    return keras.Model(x, layers.Conv1D(3, 3, name="y")(y))


def not_finite() -> Any:
    """Infinities and NaN on their way out, infinities through softmax (as attention masks do) and argmax."""
    import keras
    from keras import ops

    x = keras.Input((6,), name="x")
    overflow = ops.exp(x * 300.0)
    mean = ops.mean(x, axis=-1, keepdims=True)
    masked = ops.where(x > mean - 0.01, x, float("-inf"))  # no tie where all are equal
    winner = ops.argmax(overflow, axis=-1)
    return keras.Model(x, {"raw": ops.log(x), "overflow": overflow, "shares": ops.softmax(masked), "winner": winner})


def nan_in_softmax() -> Any:
    """NaN through softmax, of which TensorFlow's CPU kernel makes zeros and everybody else NaN."""
    import keras
    from keras import layers, ops

    x = keras.Input((6,), name="x")
    return keras.Model(x, layers.Softmax(name="shares")(ops.concatenate([ops.log(x), ops.exp(x * 300.0)], axis=-1)))


def long_conv_lstm() -> Any:
    """A convolutional LSTM over as many images as there are: a loop whose state has several axes, masked."""
    import keras
    from keras import layers

    x = keras.Input((None, 5, 5, 1), name="x")
    y = layers.ConvLSTM2D(2, 3, padding="same", return_sequences=True)(x)
    return keras.Model(x, layers.ConvLSTM2D(2, 3, padding="same", go_backwards=True, name="y")(y))


def masked_loop() -> Any:
    """Masked words of any number through two loops, forwards and backwards."""
    import keras
    from keras import layers

    ids = keras.Input((None,), dtype="int32", name="ids")
    y = layers.Bidirectional(layers.GRU(4, return_sequences=True))(layers.Embedding(10, 5, mask_zero=True)(ids))
    return keras.Model(ids, layers.LSTM(3, name="y")(y))


def long_static() -> Any:
    """More steps than are written out."""
    import keras
    from keras import layers

    x = keras.Input((300, 2), name="x")
    return keras.Model(x, layers.SimpleRNN(3, return_sequences=True, name="y")(x))


TABLE: tuple[Callable[[], Any], ...] = (
    asymmetric_strides,
    wide_strides,
    gru_reset_before,
    stacked_bilstm,
    left_padded,
    masked_both_ways,
    conv_lstm,
    four_inputs,
    three_named_outputs,
    list_of_models,
    augmented,
    vae,
    unet,
    bicubic,
    transposed,
    transposed_volume,
    dilated_depthwise,
    mobilenet,
    top_k,
    best_boxes,
    fully_convolutional,
    reshaped,
    wide_ids,
    half_precision,
    brain_float,
    spectrogram,
    not_finite,
    nan_in_softmax,
    long_conv_lstm,
    masked_loop,
    long_static,
)
MODELS = {function.__name__: function for function in TABLE}


def build(request: Mapping[str, Any]) -> str:
    """Job: as `tests.models.build`, for the models of this table."""
    import keras

    keras.utils.set_random_seed(request["seed"])
    path = Path(request["folder"]) / f"{request['name']}.keras"
    MODELS[request["name"]]().save(path)
    return str(path)
