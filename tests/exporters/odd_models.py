"""Models that load in an unusual way or not at all; and a job function that loads what it is given."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters.source.model_source import ModelSource
from tests.exporters.keras2_models import forget_shape

CUSTOM = """
import keras

class Doubled(keras.layers.Layer):
    def call(self, inputs):
        return inputs * 2
"""


def save(request: Mapping[str, str]) -> str:
    """Job: saves the odd model `name` into `folder`; returns its path."""
    import keras

    keras.utils.set_random_seed(1)
    folder = Path(request["folder"])
    path = folder / f"{request['name']}.keras"
    globals()[request["name"]](folder).save(path)
    if request["name"] == "weights_of_another":
        _exchange_weights(path, single(folder))
    if request["name"] == "shape_lost":
        forget_shape(path)
    return str(path)


def single(_folder: Path) -> Any:
    import keras

    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.Dense(2, name="y")(x))


def sequential(_folder: Path) -> Any:
    import keras

    return keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2, name="y")])


def sequential_built_by_a_call(_folder: Path) -> Any:
    import keras
    import numpy as np

    model = keras.Sequential([keras.layers.Dense(2, name="y")])
    model(np.zeros((1, 3), np.float32))
    return model


def shape_lost(folder: Path) -> Any:
    return sequential_built_by_a_call(folder)


def nested_loss(_folder: Path) -> Any:
    """A model inside a model that was compiled with a loss of its own, which nobody else has."""
    import keras

    def focal(expected: Any, found: Any) -> Any:
        return expected - found

    inner = keras.Sequential([keras.Input((3,), name="x"), keras.layers.Dense(2)], name="inner")
    inner.compile(loss=focal)
    x = keras.Input((3,), name="x")
    return keras.Model(x, keras.layers.ReLU(name="y")(inner(x)))


def never_built(_folder: Path) -> Any:
    import keras

    return keras.Sequential([keras.layers.Dense(2, name="y")])


def weights_of_another(_folder: Path) -> Any:
    import keras

    x = keras.Input((5,), name="x")
    return keras.Model(x, keras.layers.Dense(2, name="y")(x))


def nested_dicts(_folder: Path) -> Any:
    import keras

    a, b = keras.Input((3,), name="first"), keras.Input((3,), name="second")
    total = keras.layers.Add()([a, b])
    return keras.Model({"left": a, "right": b}, {"out": [total, keras.layers.ReLU()(total)]})


def custom(folder: Path) -> Any:
    import keras

    from exporters.source.keras.user_code import import_user_module

    (folder / "layers_of_mine.py").write_text(CUSTOM, "utf-8")
    x = keras.Input((3,), name="x")
    return keras.Model(x, import_user_module(str(folder / "layers_of_mine.py")).Doubled(name="y")(x))


def noisy(_folder: Path) -> Any:
    """Layers that draw random numbers in training."""
    import keras
    from keras import layers

    x = keras.Input((8, 8, 1), name="x")
    y = layers.RandomFlip()(layers.GaussianNoise(1.0)(layers.Dropout(0.5)(x)))
    return keras.Model(x, layers.Flatten(name="y")(y))


def _exchange_weights(path: Path, other: Any) -> None:
    """Puts the weights of another model into the archive."""
    donor = path.with_name("donor.keras")
    other.save(donor)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(donor) as archive:
        members["model.weights.h5"] = archive.read("model.weights.h5")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def describe(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: loads a model and calls it twice on the same rows.

    Returns:
        `inputs` and `outputs` ([name, dtype, shape, path]), `same` (both calls gave the same), `values` of the first.
    """
    import numpy as np
    import tensorflow as tf

    from exporters.source.keras.loading import load

    model = load(
        ModelSource(
            path=Path(request["model"]),
            custom_objects=tuple(request["custom_objects"]),
            input_shapes=request.get("input_shapes") or {},
        )
    )
    feeds = {
        spec.name: tf.constant(np.linspace(-1, 1, int(np.prod(spec.shape[1:])), dtype=spec.dtype)[None])
        for spec in model.signature.inputs
    }
    feeds = {s.name: tf.reshape(feeds[s.name], (1, *s.shape[1:])) for s in model.signature.inputs}
    first, second = ({name: np.asarray(t) for name, t in model.call(feeds).items()} for _ in range(2))
    sides = {"inputs": model.signature.inputs, "outputs": model.signature.outputs}
    return {
        **{side: [[s.name, s.dtype, list(s.shape), s.path] for s in specs] for side, specs in sides.items()},
        "same": all(np.array_equal(first[name], second[name]) for name in first),
        "values": {name: array.ravel().tolist() for name, array in first.items()},
    }
