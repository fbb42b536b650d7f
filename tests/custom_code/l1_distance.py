"""How far two embeddings lie apart, as Siamese networks compare them."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("MyLayers")
class L1(keras.layers.Layer):
    """Element by element."""

    def call(self, inputs):
        first, second = inputs
        return ops.abs(first - second)


class L1Distance(keras.layers.Layer):
    """Of two sequences, summed over their steps."""

    def call(self, inputs):
        first, second = inputs
        return ops.sum(ops.abs(first - second), axis=1)
