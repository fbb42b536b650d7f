"""Small models of Keras 2, and job functions that save them as each of its writers did and load them as we do."""

import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

from exporters.source.model_source import ModelSource


def two_inputs() -> Any:
    """Two inputs of one shape, not in alphabetical order, a shared layer, two outputs."""
    import tf_keras
    from tf_keras import layers

    zeta, alpha = tf_keras.Input((4,), name="zeta"), tf_keras.Input((4,), name="alpha")
    shared = layers.Dense(4, activation="tanh", name="shared")
    mixed = layers.Concatenate()([shared(zeta), shared(alpha), alpha])
    mixed = layers.LeakyReLU()(layers.BatchNormalization()(layers.Dense(4)(mixed)))
    return tf_keras.Model([zeta, alpha], [layers.Dense(2, name="score")(mixed), layers.Dense(2, name="other")(mixed)])


def twins() -> Any:
    """Layers of one shape: exchanged, they fit as well."""
    import tf_keras
    from tf_keras import layers

    return tf_keras.Sequential(
        [
            tf_keras.Input((4,), name="x"),
            *(layers.Dense(4, activation="tanh") for _ in range(3)),
            layers.Dense(4, name="y"),
        ]
    )


def image() -> Any:
    """A nested Sequential of convolutions, a grouped one too, statistics, dropout, an operation of TensorFlow."""
    import tensorflow as tf
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((8, 8, 4), name="image")
    convolution = layers.Conv2D(4, 3, groups=2)
    block = tf_keras.Sequential([convolution, layers.BatchNormalization(), layers.ReLU()], name="block")
    y = layers.Dropout(0.5)(layers.RandomFlip()(block(x)))
    y = tf.nn.relu(y[:, 1:] * 2.0 - 0.25)
    return tf_keras.Model(x, layers.Dense(3, activation="softmax", name="y")(layers.Flatten()(y)))


def recurrent() -> Any:
    """Masked, bidirectional, stacked; the forms that each target takes differ."""
    import tf_keras
    from tf_keras import layers

    ids = tf_keras.Input((4,), name="ids")
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.Embedding(10, 3, mask_zero=True)(ids))
    y = layers.TimeDistributed(layers.GRU(2))(layers.Reshape((2, 2, 8))(y))
    return tf_keras.Model(ids, layers.Dense(2, name="y")(layers.SimpleRNN(3)(y)))


def gated() -> Any:
    """The weights of an LSTM and a GRU, with an activation of which Keras 2 has no form for cuDNN to write."""
    import tf_keras
    from tf_keras import layers

    ids = tf_keras.Input((4,), name="ids")
    lstm = layers.LSTM(4, return_sequences=True, activation="softsign")
    y = layers.Bidirectional(lstm)(layers.Embedding(10, 3, mask_zero=True)(ids))
    return tf_keras.Model(ids, layers.Dense(2, name="y")(layers.GRU(3, activation="softsign")(y)))


def attention() -> Any:
    """Attention and an exact GELU, which tf_keras writes with functions that not all targets have."""
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((5, 4), name="x")
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3)(x, x))
    y = layers.GlobalAveragePooling1D()(layers.Dense(6, activation="gelu")(y))
    return tf_keras.Model(x, layers.Dense(2, name="y")(y))


def films() -> Any:
    """A convolutional recurrence, which has no switch for unrolling."""
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((3, 5, 5, 2), name="film")
    return tf_keras.Model(x, layers.Dense(2, name="y")(layers.Flatten()(layers.ConvLSTM2D(2, 3)(x))))


def dicts() -> Any:
    """Dicts of inputs and outputs whose keys are not the layers' names."""
    import tf_keras
    from tf_keras import layers

    a, b = tf_keras.Input((3,), name="first"), tf_keras.Input((3,), name="second")
    total = layers.Add()([a, layers.Dense(3)(b)])
    return tf_keras.Model({"left": a, "right": b}, {"out": total, "also": layers.ReLU()(total)})


def built_by_a_call() -> Any:
    """A Sequential with no input layer."""
    import numpy as np
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(3, activation="tanh"), tf_keras.layers.Dense(2, name="y")])
    model(np.zeros((1, 5), np.float32))
    return model


def never_built() -> Any:
    import tf_keras

    return tf_keras.Sequential([tf_keras.layers.Dense(2, name="y")])


def words() -> Any:
    """A vocabulary that was learnt, so that it stands beside the weights and not in the configuration."""
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((1,), dtype="string", name="word")
    lookup = layers.StringLookup()
    lookup.adapt(["b", "a", "b", "c"])
    return tf_keras.Model(x, layers.Embedding(5, 2, name="y")(lookup(x)))


def sentences() -> Any:
    """A vocabulary with weights of its own, inside another layer."""
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((1,), dtype="string", name="sentence")
    vectors = layers.TextVectorization(output_mode="tf_idf")
    vectors.adapt(["a b c", "c zebra"])
    return tf_keras.Model(x, layers.Dense(2, name="y")(vectors(x)))


def spectral() -> Any:
    """A layer that the table of tf_keras leaves out."""
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((4,), name="x")
    return tf_keras.Model(x, layers.SpectralNormalization(layers.Dense(3), name="y")(x))


def normalized() -> Any:
    """Statistics that were learnt, and two names of one kind of layer."""
    import numpy as np
    import tf_keras
    from tf_keras import layers

    x = tf_keras.Input((3,), name="x")
    norm = layers.Normalization()
    norm.adapt(np.arange(12, dtype=np.float32).reshape(4, 3) ** 2)
    return tf_keras.Model(x, layers.Dense(2, name="y")(norm(x)))


CODE = """
class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2

class Net(keras.Model):
    def __init__(self, **options):
        super().__init__(**options)
        self.blocks = [keras.layers.Dense(4, activation="tanh") for _ in range(2)]
        self.z_mean = keras.layers.Dense(4)
        self.again = [self.z_mean, keras.layers.Dense(4)]

    def call(self, x):
        for layer in [*self.blocks, *self.again]:
            x = layer(x)
        return x

    def get_config(self):
        return {}
"""


def with_code() -> Any:
    """A layer of the user's own."""
    import tf_keras

    x = tf_keras.Input((3,), name="x")
    return tf_keras.Model(x, tf_keras.layers.Dense(2, name="y")(_written()["Doubled"]()(x)))


def subclass() -> Any:
    """A model of the user's own, in which layers stand under several attributes."""
    import numpy as np

    model = _written()["Net"]()
    model(np.zeros((1, 4), np.float32))
    model.build((None, 4))
    return model


def _written() -> dict[str, Any]:
    import tf_keras

    written: dict[str, Any] = {"keras": tf_keras, "__name__": "doubling"}
    exec(CODE, written)  # noqa: S102 - our own text, which a test gives to the worker as a file
    return written


@contextmanager
def _old_walk() -> Iterator[None]:
    """Saves as Keras 2.12 to 2.14 did: attributes from A to Z, `_layer_checkpoint_dependencies` first, all counted."""
    from tf_keras.src.saving import saving_lib
    from tf_keras.src.utils import generic_utils

    skipped = saving_lib.ATTR_SKIPLIST - {"_layer_checkpoint_dependencies"}

    def walk(part: Any) -> Iterator[tuple[str, Any]]:
        for name in dir(part):
            if name.startswith("__") or name in skipped:
                continue
            try:
                value = getattr(part, name)
            except Exception:  # noqa: BLE001, S112 - as the writer did
                continue
            yield name, value

    def container(
        items: Any, weights_store: Any, assets_store: Any, inner_path: str, visited_trackables: set[int]
    ) -> None:
        used: dict[str, int] = {}
        for item in list(items.values()) if isinstance(items, dict) else items:
            if not saving_lib._is_keras_trackable(item):
                continue
            name = generic_utils.to_snake_case(type(item).__name__)
            if name in used:
                used[name] += 1
                name = f"{name}_{used[name]}"
            else:
                used[name] = 0
            saving_lib._save_state(item, weights_store, assets_store, f"{inner_path}/{name}", visited_trackables)

    with (
        mock.patch.object(saving_lib, "_walk_trackable", walk),
        mock.patch.object(saving_lib, "_save_container_state", container),
    ):
        yield


@contextmanager
def _windows() -> Iterator[None]:
    """Joins steps as Windows does."""
    from tf_keras.src.saving import saving_lib

    gfile = saving_lib.tf.io.gfile
    with mock.patch.object(gfile, "join", lambda *steps: "\\".join(step for step in steps if step)):
        yield


WRITERS = {"2.15": nullcontext, "2.13": _old_walk, "windows": _windows}


def build(request: Mapping[str, Any]) -> str:
    """Job for the bench: saves a model as tf_keras does today; returns its path."""
    return str(save({**request, "writer": "2.15"})["model"])


def save(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: saves a model as one of the writers did; says what tf_keras itself computes with it.

    Args:
        request: `name` of the model, `writer` (key of `WRITERS`), `folder`.

    Returns:
        `model` (path), `values` (output name -> numbers) over the inputs that `feeds` makes.
    """
    import numpy as np
    import tensorflow as tf
    import tf_keras

    os.environ["TF_USE_LEGACY_KERAS"] = "1"  # as every user of tf_keras sets it: some of its layers say `tf.keras`
    tf_keras.utils.set_random_seed(3)
    model = globals()[request["name"]]()
    path = Path(request["folder"]) / f"{request['name']}.keras"
    random = np.random.default_rng(5)
    if not model.built:
        model.save(path)
        return {"model": str(path), "values": []}
    model.set_weights(
        [random.normal(0, 0.5, w.shape).astype(w.dtype) ** 2 if w.dtype.kind == "f" else w for w in model.get_weights()]
    )
    with WRITERS[request["writer"]]():
        model.save(path)
    if request.get("without_shape"):
        forget_shape(path)
    if request["name"] == "subclass":
        inputs = _numbers((None, 4), "float32")
    else:
        inputs = tf.nest.map_structure(lambda t: _numbers(tuple(t.shape), t.dtype.name), model.input)
    outputs = tf.nest.flatten(model(inputs, training=False))
    with zipfile.ZipFile(path) as archive:
        backslashes = b"layers\\" in archive.read("model.weights.h5")
    assert backslashes == (request["writer"] == "windows")
    return {"model": str(path), "values": [np.asarray(output).ravel().tolist() for output in outputs]}


def save_each(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: `save` for several writers, each into a folder of its name below `folder`."""
    told: dict[str, Any] = {}
    for writer in request["writers"]:
        folder = Path(request["folder"]) / writer
        folder.mkdir()
        told[writer] = save({**request, "writer": writer, "folder": str(folder)})
    return told


def load(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: loads a model as paritygate does and calls it over the same inputs.

    Args:
        request: `model` (path) and what else `exporters.source.keras.loading.load` takes.
    """
    import numpy as np

    from exporters.source.keras.loading import load as load_source

    model = load_source(
        ModelSource(
            path=Path(request["model"]),
            custom_objects=tuple(request.get("custom_objects", ())),
            input_shapes=request.get("input_shapes", {}),
        )
    )
    signature = model.signature
    outputs = model.call({spec.name: _numbers(spec.shape, spec.dtype) for spec in signature.inputs})
    return {
        "inputs": [[spec.name, spec.dtype, list(spec.shape)] for spec in signature.inputs],
        "outputs": [[spec.name, spec.dtype, list(spec.shape)] for spec in signature.outputs],
        "values": [np.asarray(outputs[spec.name]).ravel().tolist() for spec in signature.outputs],
    }


def _numbers(shape: tuple[int | None, ...], dtype: str) -> Any:
    import numpy as np
    import tensorflow as tf

    shape = tuple(2 if axis is None else axis for axis in shape)
    if dtype == "string":
        return tf.reshape(tf.constant(["c", "zebra"]), shape)
    return tf.constant(np.arange(np.prod(shape)).reshape(shape) % 5, dtype)


def forget_shape(path: Path) -> None:
    """Takes the shape that a Sequential was built for out of its configuration."""

    def change(config: dict[str, Any]) -> None:
        config.pop("build_config", None)
        config["config"].pop("build_input_shape", None)
        config["config"]["layers"] = [x for x in config["config"]["layers"] if x["class_name"] != "InputLayer"]

    change_config(path, change)


def change_config(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Edits the configuration in place."""
    members = _members(path)
    config = json.loads(members["config.json"])
    change(config)
    _write(path, members | {"config.json": json.dumps(config).encode()})


def exchange(path: Path, one: str, other: str) -> None:
    """Exchanges two groups of the stored weights."""

    def change(file: Any) -> None:
        file.move(one, "spare")
        file.move(other, one)
        file.move("spare", other)

    change_weights(path, change)


def change_weights(path: Path, change: Callable[[Any], None]) -> None:
    """Edits the stored weights in place."""
    import io

    import h5py

    members = _members(path)
    stream = io.BytesIO(members["model.weights.h5"])
    with h5py.File(stream, "r+") as file:
        change(file)
    _write(path, members | {"model.weights.h5": stream.getvalue()})


def _members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _write(path: Path, members: Mapping[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
