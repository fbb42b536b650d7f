"""The first steps of a vision transformer: an image cut into patches, each patch projected and told its place."""

import keras
from keras import layers, ops


class Patches(layers.Layer):
    """Square patches of an image, as a sequence of flat vectors."""

    def __init__(self, size, **options):
        super().__init__(**options)
        self.size = size

    def call(self, images):
        _, height, width, channels = images.shape
        rows, columns = height // self.size, width // self.size
        cut = ops.reshape(images, (-1, rows, self.size, columns, self.size, channels))
        ordered = ops.transpose(cut, (0, 1, 3, 2, 4, 5))
        return ops.reshape(ordered, (-1, rows * columns, self.size * self.size * channels))

    def get_config(self):
        return {**super().get_config(), "size": self.size}


class PatchEncoder(layers.Layer):
    """Projects every patch and adds a learned vector for its place."""

    def __init__(self, patches, width, **options):
        super().__init__(**options)
        self.sizes = {"patches": patches, "width": width}
        self.projection = layers.Dense(width)
        self.places = layers.Embedding(patches, width)

    def call(self, patches):
        return self.projection(patches) + self.places(ops.arange(self.sizes["patches"]))

    def get_config(self):
        return {**super().get_config(), **self.sizes}


class ViTWrapper(layers.Layer):
    """A whole vision transformer in one layer: channels first in, one vector out."""

    def __init__(self, **options):
        super().__init__(**options)
        self.patches = layers.Conv2D(768, 16, strides=16)

    def call(self, images):
        return ops.mean(self.patches(ops.transpose(images, (0, 2, 3, 1))), axis=(1, 2))


@keras.saving.register_keras_serializable("vit")
def mish(x):
    """An activation of the user's own."""
    return x * ops.tanh(ops.softplus(x))
