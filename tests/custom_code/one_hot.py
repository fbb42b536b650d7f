"""Kinds of blocks in a grid of voxels."""

import keras
import tensorflow as tf

KINDS = 29


class OneHot(keras.layers.Layer):
    """A channel for every kind."""

    def call(self, inputs):
        return tf.one_hot(tf.cast(inputs, tf.int32), KINDS)
