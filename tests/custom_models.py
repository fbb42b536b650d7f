"""Small models made of the layers in `tests/custom_code`, saved in a process of their own: whoever opens the files has
none of that code.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from exporters.source.model_source import ModelSource

CODE = Path(__file__).with_name("custom_code")


def code(*names: str) -> Any:
    """What the files of these names define."""
    from exporters.source.keras.user_code import defined, import_user_module

    found: dict[str, Any] = {}
    for name in names:
        found.update(defined(import_user_module(str(CODE / f"{name}.py"))))
    return SimpleNamespace(**found)


def twins() -> Any:
    """Two sequences through one layer, compared; a district beside them."""
    import keras
    from keras import layers

    own = code("l1_distance", "normalization", "categories")
    first, second = keras.Input((2, 5), name="first"), keras.Input((2, 5), name="second")
    district = keras.Input((), name="district")
    shared = keras.Sequential([layers.Dense(4), own.L2Normalization(epsilon=1e-6, name="length")])
    apart = own.L1Distance(name="apart")([shared(first), shared(second)])
    known = layers.Embedding(5, 4)(own.CastAndClipLayer(5)(district))
    beside = own.L1()([apart, known])
    return keras.Model([first, second, district], layers.Dense(1, activation="sigmoid", name="y")(beside))


def tokens() -> Any:
    """A text classifier over tokens; nought is padding."""
    import keras
    from keras import layers

    own = code("positional_embedding", "transformer_block")
    ids = keras.Input((8,), dtype="int32", name="ids")
    x = own.TransformerEncoder(6, 4, 2)(own.PositionalEmbedding(8, 30, 6)(ids))
    return keras.Model(ids, layers.Dense(2, name="y")(layers.GlobalAveragePooling1D()(x)))


def patches() -> Any:
    """A small vision transformer with an activation of its own."""
    import keras
    from keras import layers

    own = code("vit_patches", "normalization", "positional_embedding", "transformer_block")
    image = keras.Input((8, 8, 3), name="image")
    x = own.PatchEncoder(4, 6)(own.Patches(4)(own.ResponseNormalization()(image)))
    x = own.TransformerBlock(6, 2, 8, dropout=0.1)(own.PositionalEncoding(4, 6)(x))
    return keras.Model(image, layers.Dense(3, activation=own.mish, name="y")(layers.Flatten()(x)))


def temporal() -> Any:
    """A temporal convolutional network."""
    import keras
    from keras import layers

    own = code("tcn")
    tcn = own.TCN(nb_filters=4, dilations=[1, 2], dropout_rate=0.1)
    return keras.Sequential([keras.Input((9, 2), name="x"), tcn, layers.Dense(1, name="y")])


def autoencoder() -> Any:
    """A variational autoencoder with its loss inside; it draws while it trains only, else two outputs are one."""
    import keras
    from keras import layers

    own = code("sampling")
    x = keras.Input((5,), name="x")
    mean, log_variance = layers.Dense(3)(x), layers.Dense(3)(x)
    drawn = layers.Lambda(own.sampling, name="z")([mean, log_variance])
    again = own.Sampling()([drawn, log_variance])
    y = own.VAELossLayer(name="y")([x, layers.Dense(5)(again), mean, log_variance])
    return keras.Model(x, {"y": y, "mean": mean, "z": drawn})


def recommender() -> Any:
    """A model that is a class of its own."""
    import keras

    model = code("subclass").RecommenderNet(num_users=4, num_place=3, embedding_size=5)
    model(keras.ops.zeros((1, 2)))
    return model


def pruned() -> Any:
    """Keras 2: a pruned classifier of voxels, and an autoencoder that is a class of its own."""
    import tf_keras
    from tf_keras import layers

    from exporters.source.keras.keras2 import keras_is_tf_keras

    with keras_is_tf_keras():
        own = code("pruning", "one_hot")
        grid = tf_keras.Input((2, 3), dtype="uint8", name="grid")
        x = own.PruneLowMagnitude(layers.Dense(4, activation="relu"))(own.OneHot()(grid))
        return tf_keras.Model(grid, layers.Dense(2, name="y")(layers.Flatten()(x)))


def variational() -> Any:
    """Keras 2: an autoencoder of two models in a class of its own."""
    import tf_keras
    from tf_keras import layers

    from exporters.source.keras.keras2 import keras_is_tf_keras

    with keras_is_tf_keras():
        own = code("sampling")
        x, z = tf_keras.Input((5,)), tf_keras.Input((3,))
        mean, log_variance = layers.Dense(3, activation="elu")(x), layers.Dense(3)(x)
        encoder = tf_keras.Model(x, [mean, log_variance, own.Sampling()([mean, log_variance])])
        model = own.VAE(encoder, tf_keras.Model(z, layers.Dense(5, name="y")(z)), beta=1.1)
        model(tf_keras.backend.zeros((1, 5)))
        return model


def trusting() -> Any:
    """Bytecode beside a layer of its own."""
    import keras
    from keras import layers

    own = code("normalization")
    x = keras.Input((4,), name="x")
    doubled = layers.Lambda(lambda value: value * 2.0, name="doubled")(x)
    return keras.Model(x, layers.Dense(2, name="y")(own.L2Normalization(name="length")(doubled)))


TABLE: tuple[Callable[[], Any], ...] = (
    twins,
    tokens,
    patches,
    temporal,
    autoencoder,
    recommender,
    pruned,
    variational,
    trusting,
)
MODELS = {function.__name__: function for function in TABLE}


def build(request: Mapping[str, Any]) -> str:
    """Job: as `tests.models.build`, for the models of this table."""
    import keras

    keras.utils.set_random_seed(request["seed"])
    path = Path(request["folder"]) / f"{request['name']}.keras"
    MODELS[request["name"]]().save(path)
    return str(path)


def used(source: ModelSource) -> list[str]:
    """Job: loads a model as every stage does; names the user's code that it was built with."""
    from exporters.source.keras.loading import load

    return [each.name for each in load(source).code]
