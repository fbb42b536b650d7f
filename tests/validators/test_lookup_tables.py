"""What a layer with tables inside looks up in them, in real models of both Keras."""

from typing import Any

import pytest

pytestmark = pytest.mark.slow

CODE = """
import {keras} as keras
import tensorflow as tf

class WordsAndPlaces(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.words = keras.layers.Embedding(1000, 3)
        self.places = keras.layers.Embedding(64, 3)

    def call(self, x):
        return self.words(x) + self.places(tf.range(tf.shape(x)[-1]))

class Patches(keras.layers.Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.cut = keras.layers.Conv2D(3, 4, strides=4)
        self.places = keras.layers.Embedding(4, 3)

    def call(self, x):
        return tf.reshape(self.cut(x), (-1, 4, 3)) + self.places(tf.range(4))

class OneTable(keras.layers.Layer):
    def build(self, shape):
        self.table = self.add_weight(name="table", shape=(12, 2))
        super().build(shape)

    def call(self, x):
        return tf.gather(tf.convert_to_tensor(self.table), tf.cast(x, "int32"))

class Encoded(keras.layers.Layer):
    def call(self, x):
        return tf.one_hot(tf.cast(x, "int64"), 5)
"""


CASES = {
    "words and places": ("WordsAndPlaces", (6,), "int32", 1000),
    "an image with places": ("Patches", (8, 8, 3), "float32", None),
    "a table without a layer": ("OneTable", (), "float32", 12),
    "one of a few": ("Encoded", (4,), "int32", 5),
}


def ranges(request: dict) -> Any:
    """Job: builds a model of one layer after a layer that hands values on, and says what its input is drawn from."""
    import importlib
    import sys
    from pathlib import Path

    from exporters.source.keras.loading import load
    from exporters.source.model_source import ModelSource
    from validators.samples.input_domains import ranges_of

    module, path = Path(request["module"]), Path(request["module"]).with_name("model.keras")
    sys.path.insert(0, str(module.parent))
    keras, own = importlib.import_module(request["keras"]), importlib.import_module(module.stem)
    name, shape, dtype, _ = CASES[request["case"]]
    x = keras.Input(shape, dtype=dtype, name="x")
    y = getattr(own, name)(name="first")(keras.layers.Dropout(0.1)(x))
    keras.Model(x, keras.layers.Flatten(name="y")(y)).save(path)
    found = ranges_of(load(ModelSource(path=path, custom_objects=(str(module),))))
    return {name: [float(known.low), float(known.high), known.why] for name, known in found.items()}


@pytest.mark.parametrize("keras", ["keras", "tf_keras"])
@pytest.mark.parametrize("case", CASES)
def test_a_layer_with_tables_inside_wants_what_it_looks_up_in_them(bench, tmp_path, keras, case):
    (tmp_path / "own.py").write_text(CODE.format(keras=keras), "utf-8")
    request = {"keras": keras, "case": case, "module": str(tmp_path / "own.py")}
    found = bench.call("tests.validators.test_lookup_tables:ranges", request)
    rows = CASES[case][3]
    why = f"layer first looks it up in a table of {rows} rows"
    assert found == ({"x": [0.0, rows - 1.0, why]} if rows else {})
