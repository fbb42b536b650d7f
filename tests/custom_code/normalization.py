"""Normalisations that Keras has no layer for."""

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("embeddings")
class L2Normalization(keras.layers.Layer):
    """Embeddings of length one: divides by the Euclidean length along the last axis."""

    def __init__(self, epsilon=1e-12, **options):
        super().__init__(**options)
        self.epsilon = epsilon

    def call(self, inputs):
        length = ops.sqrt(ops.maximum(ops.sum(ops.square(inputs), axis=-1, keepdims=True), self.epsilon))
        return inputs / length

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


class ResponseNormalization(keras.layers.Layer):
    """Pixels divided by what their channel and its neighbours hold."""

    def call(self, inputs):
        return tf.nn.local_response_normalization(inputs, depth_radius=1)
