"""Layers and models that are not Keras' own, for `tests/zoo.py`; what a user names with `--custom-objects`."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable("zoo")
class Committee(keras.Model):
    """The mean of several models, which it keeps in a list."""

    def __init__(self, members: int, **options: Any) -> None:
        super().__init__(**options)
        self.members = [
            keras.Sequential([keras.layers.Dense(5, activation="tanh"), keras.layers.Dense(2)]) for _ in range(members)
        ]

    def build(self, shape: Any) -> None:
        for member in self.members:
            member.build(shape)
        super().build(shape)

    def call(self, inputs: Any) -> Any:
        return sum(member(inputs) for member in self.members) / len(self.members)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "members": len(self.members)}


@keras.saving.register_keras_serializable("zoo")
class Sampling(keras.layers.Layer):
    """Draws from the distribution that it is given, in training and at inference."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.seed_generator = keras.random.SeedGenerator(1)

    def call(self, inputs: Any) -> Any:
        mean, log_variance = inputs
        drawn = keras.random.normal(keras.ops.shape(mean), seed=self.seed_generator)
        return mean + keras.ops.exp(0.5 * log_variance) * drawn


@keras.saving.register_keras_serializable("zoo")
class BestBoxes(keras.layers.Layer):
    """Keeps three boxes of the first row; places that are not filled are -1."""

    def call(self, inputs: Any) -> Any:
        boxes, scores = inputs
        kept, valid = tf.image.non_max_suppression_padded(
            tf.reshape(boxes, (8, 4)), tf.reshape(scores, (8,)), 3, iou_threshold=0.3, pad_to_max_output_size=True
        )
        return tf.where(tf.range(3) < valid, kept, -1)[None]

    def compute_output_spec(self, inputs: Any) -> Any:
        del inputs
        return keras.KerasTensor((1, 3), dtype="int32")
