"""Layers whose small weights are set to zero while training; at inference only what is left of them counts."""

import keras


class PruneLowMagnitude(keras.layers.Wrapper):
    """A layer with a mask over its kernel, in Keras 2."""

    def __init__(self, layer, pruning_schedule=None, block_size=(1, 1), block_pooling_type="AVG", **options):
        super().__init__(layer, **options)
        self.settings = {
            "pruning_schedule": pruning_schedule,
            "block_size": list(block_size),
            "block_pooling_type": block_pooling_type,
        }

    def build(self, shape):
        super().build(shape)
        kernel = getattr(self.layer, "kernel", None)
        if kernel is not None:
            self.kernel = kernel
            self.mask = self.add_weight(name="mask", shape=kernel.shape, initializer="ones", trainable=False)
            self.threshold = self.add_weight(name="threshold", shape=(), initializer="zeros", trainable=False)
        self.pruning_step = self.add_weight(
            name="pruning_step", shape=(), initializer="zeros", dtype="int64", trainable=False
        )

    def call(self, inputs, training=None):
        del training
        return self.layer(inputs)

    def get_config(self):
        return {**super().get_config(), **self.settings}
