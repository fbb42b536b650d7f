"""Models of both Keras, saved in every form but the archive, and job functions that save and load them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters.errors import BadInput
from exporters.source.model_source import ModelSource
from tests.exporters import keras2_models

FORMS = ("h5", "saved_model", "by_object", "by_name", "checkpoint", "below_a_root", "folder")
WITHOUT_ARCHITECTURE = ("h5", "saved_model")

BUILDER = """
from tensorflow import keras

def make():
    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Dense(2, name="y")(keras.layers.Dense(4, activation="tanh", name="h")(x)))

def larger():
    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Dense(2, name="y")(keras.layers.Dense(5, activation="tanh", name="h")(x)))

def longer():
    x = keras.Input((3,), name="x")
    y = keras.layers.Dense(2, name="y")(keras.layers.Dense(4, activation="tanh", name="h")(x))
    return keras.Model(x, keras.layers.Dense(2, name="z")(y))

def shorter():
    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Dense(4, activation="tanh", name="h")(x))

def nothing():
    return 3
"""


def two_layers() -> Any:
    """What the builder makes."""
    import keras

    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Dense(2, name="y")(keras.layers.Dense(4, activation="tanh", name="h")(x)))


def twins() -> Any:
    """Two layers of one shape beside each other."""
    import keras

    x = keras.Input((3,), name="x")
    return keras.Model(x, [keras.layers.Dense(2, name="left")(x), keras.layers.Dense(2, name="right")(x)])


def shared() -> Any:
    """Two inputs of one shape, not in alphabetical order, a shared layer, statistics, two outputs."""
    import keras
    from keras import layers

    zeta, alpha = keras.Input((4,), name="zeta"), keras.Input((4,), name="alpha")
    twice = layers.Dense(4, activation="tanh", name="shared")
    mixed = layers.BatchNormalization()(layers.Concatenate()([twice(zeta), twice(alpha), alpha]))
    mixed = layers.Dropout(0.5)(mixed)
    return keras.Model([zeta, alpha], [layers.Dense(2, name="score")(mixed), layers.Dense(2, name="other")(mixed)])


def operators() -> Any:
    """Operators between layers, which an HDF5 file calls as layers are called; a nested model; attention."""
    import keras
    from keras import layers

    x = keras.Input((8, 8, 3), name="image")
    block = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3), layers.BatchNormalization()], name="block")
    y = layers.Reshape((36, 4))(block(x))
    y = y + layers.MultiHeadAttention(2, 3)(y, y) * 2.0
    return keras.Model(x, layers.Dense(3, name="y")(layers.Flatten()(y[:, 1:])))


def built_for_a_shape() -> Any:
    """A Sequential with no input layer."""
    import keras

    model = keras.Sequential([keras.layers.Dense(3, activation="tanh"), keras.layers.Dense(2, name="y")])
    model.build((None, 5))
    return model


def recurrent() -> Any:
    import keras
    from keras import layers

    ids = keras.Input((6,), name="ids")
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.Embedding(10, 3)(ids))
    return keras.Model(ids, layers.Dense(2, name="y")(layers.GRU(4)(y)))


def normalized() -> Any:
    """Statistics from which the layer derives what it computes with."""
    import keras
    import numpy as np
    from keras import layers

    x = keras.Input((3,), name="x")
    norm = layers.Normalization()
    norm.adapt(np.arange(12, dtype=np.float32).reshape(4, 3) ** 2)
    return keras.Model(x, layers.Dense(2, name="y")(norm(x)))


def mixed() -> Any:
    """Half precision, whose policy a file names in its own way."""
    import keras
    from keras import layers

    x = keras.Input((4,), name="x")
    half = layers.Dense(3, activation="relu", dtype="mixed_float16")(x)
    return keras.Model(x, layers.Dense(2, name="y", dtype="float32")(half))


def words() -> Any:
    """A vocabulary that was learnt."""
    import keras
    from keras import layers

    x = keras.Input((1,), dtype="string", name="word")
    lookup = layers.StringLookup()
    lookup.adapt(["b", "a", "b", "c"])
    return keras.Model(x, layers.Embedding(5, 2, name="y")(lookup(x)))


def save(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: saves a model in all forms; says what Keras itself computes with it.

    Args:
        request: `keras` (2 or 3), `name` of the model, `folder`, and `forms`.

    Returns:
        `values` (numbers of every output over the inputs of `keras2_models`), and under each form
        `[model, architecture]`.
    """
    import numpy as np
    import tensorflow as tf

    generation = request["keras"]
    model = _made(generation, request["name"])
    folder = Path(request["folder"])
    random = np.random.default_rng(5)
    weights = model.get_weights() if request["name"] not in {"normalized", "words", "sentences"} else []
    if weights:
        model.set_weights(
            [random.normal(0, 0.5, w.shape).astype(w.dtype) ** 2 if w.dtype.kind == "f" else w for w in weights]
        )
    model.compile("adam", "mse")
    told: dict[str, Any] = {}
    (folder / "model.json").write_text(model.to_json(), "utf-8")
    for form in request["forms"]:
        architecture = "" if form in WITHOUT_ARCHITECTURE else str(folder / "model.json")
        told[form] = [str(_saved(model, form, folder, generation)), architecture]
    shapes = tf.nest.map_structure(
        lambda t: keras2_models._numbers(tuple(t.shape), getattr(t.dtype, "name", t.dtype)), _inputs(model)
    )
    outputs = tf.nest.flatten(model(shapes, training=False))
    return {**told, "values": [np.asarray(output).ravel().tolist() for output in outputs]}


def _inputs(model: Any) -> Any:
    """The inputs as the model is called with them; a Sequential that was built has no `input` of its own."""
    return model.inputs[0] if len(model.inputs) == 1 else model.input


def _made(generation: int, name: str) -> Any:
    if generation == 2:
        import os

        import tf_keras

        os.environ["TF_USE_LEGACY_KERAS"] = "1"
        tf_keras.utils.set_random_seed(3)
        return getattr(keras2_models, name)()
    import keras

    keras.utils.set_random_seed(3)
    return globals()[name]()


def _saved(model: Any, form: str, folder: Path, generation: int) -> Path:
    """Saves a model in one form; returns what the user would name."""
    import tensorflow as tf

    path = folder / form
    if form == "h5":
        path = folder / "model.h5"
        model.save(path)
    elif form == "saved_model":
        model.save(path)
    elif form == "by_object":
        path = folder / "model.weights.h5"
        model.save_weights(path)
    elif form == "by_name":
        path = folder / "weights.h5"
        _save_by_name(model, path, generation)
    elif form == "checkpoint":
        tf.train.Checkpoint(model).write(str(path))
    else:
        holder = tf.train.Checkpoint(net=model, step=tf.Variable(3))
        path = folder / form / "ckpt"
        holder.save(str(path))
        path = folder / form if form == "folder" else folder / form / "ckpt-1.index"
    return path


def _save_by_name(model: Any, path: Path, generation: int) -> None:
    if generation == 2:
        model.save_weights(path)
        return
    import h5py
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)


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
            architecture=request.get("architecture") or None,
            input_shapes=request.get("input_shapes", {}),
            trust_lambda=request.get("trust_lambda", False),
        )
    )
    outputs = model.call({spec.name: keras2_models._numbers(spec.shape, spec.dtype) for spec in model.signature.inputs})
    return {
        "inputs": [spec.name for spec in model.signature.inputs],
        "outputs": [spec.name for spec in model.signature.outputs],
        "values": [np.asarray(outputs[spec.name]).ravel().tolist() for spec in model.signature.outputs],
    }


def load_each(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: `load` for several requests, by name; gives the values of each, or why it is refused."""
    told: dict[str, Any] = {}
    for name, each in request["requests"].items():
        try:
            told[name] = load(each)["values"]
        except BadInput as error:
            told[name] = repr(error)
    return told


def with_roots(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: a checkpoint of several models; returns its path and the weights of each.

    Args:
        request: `folder`, `roots` (name -> units of the hidden layer of a model as `two_layers`).
    """
    import keras
    import tensorflow as tf

    made = {}
    for name, units in request["roots"].items():
        x = keras.Input((3,))
        made[name] = keras.Model(x, keras.layers.Dense(2)(keras.layers.Dense(units, activation="tanh")(x)))
    path = Path(request["folder"]) / "several"
    tf.train.Checkpoint(**made).write(str(path))
    given = keras2_models._numbers((None, 3), "float32")
    return {"path": f"{path}.index", **{name: model(given).numpy().ravel().tolist() for name, model in made.items()}}


def build(request: Mapping[str, Any]) -> str:
    """Job for the bench: saves the model `NAME_KERAS_FORM`; returns its path."""
    name, generation, form = request["name"].split("-")
    made = {"keras": int(generation), "name": name, "folder": request["folder"], "forms": [form]}
    return str(save(made)[form][0])


def with_lambda(request: Mapping[str, Any]) -> str:
    """Job: an HDF5 file with bytecode in it; returns its path."""
    import tf_keras

    x = tf_keras.Input((3,), name="x")
    path = Path(request["folder"]) / "lambda.h5"
    tf_keras.Model(x, tf_keras.layers.Lambda(lambda t: t * 2.0, name="y")(x)).save(path)
    return str(path)


def say_backend(path: Path, backend: str) -> None:
    """Has an HDF5 file say that it was written on another backend: what such a file is otherwise, is the same."""
    import h5py

    with h5py.File(path, "r+") as file:
        for holder in (file, file["model_weights"]):
            holder.attrs["backend"] = backend.encode()


def change_architecture(path: Path, **more: Any) -> None:
    """Edits a `model.json` in place."""
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **more}), "utf-8")
