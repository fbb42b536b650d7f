"""Writes resizing methods that targets lack as two matrix products.

Cubic interpolation is an operator that TF Lite (LiteRT#6458) and TF.js (tfjs#1668) do not have, and that tf2onnx
translates into one with other weights. So are the kernels behind `antialias`. Each
of them is linear and works along one axis after the other: with static sizes it is a product with one constant matrix
for the rows and one for the columns, and TensorFlow itself computes their values.

Removable when all three have `ResizeBicubic` and `ScaleAndTranslate`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite

_EVERYWHERE = {"bilinear", "nearest"}
_IMAGE = 4  # rank of a batch of images: batch, height, width, channels


@contextmanager
def resizing_as_matrix_products() -> Iterator[None]:
    """Writes `tf.image.resize` to a static size as two products, except where every target has the operator."""
    import tensorflow as tf

    original = tf.image.resize

    def resize(  # noqa: PLR0913, PLR0917 - the parameters of `tf.image.resize`, which may be given by position
        images: Any,
        size: Any,
        method: Any = "bilinear",
        preserve_aspect_ratio: bool = False,
        antialias: bool = False,
        name: str | None = None,
    ) -> Any:
        images = tf.convert_to_tensor(images)
        plain = method in _EVERYWHERE and not antialias
        static = tf.get_static_value(tf.convert_to_tensor(size))
        # With its aspect ratio kept, an image gets another size than is asked for, and its axes depend on each other.
        if plain or preserve_aspect_ratio or static is None or images.shape.rank != _IMAGE or None in images.shape[1:]:
            return original(images, size, method, preserve_aspect_ratio, antialias, name)
        record_rewrite("resizing_as_matrix_products")
        _, height, width, channels = images.shape
        weights = [
            _weights(lambda image, to: original(image, to, method, antialias=antialias), *lengths)
            for lengths in zip((height, width), map(int, static), strict=True)
        ]
        rows = tf.reshape(tf.cast(images, tf.float32), [-1, height, width * channels])
        rows = tf.matmul(tf.constant(weights[0][None]), rows)
        columns = tf.reshape(rows, [-1, width, channels])
        return tf.reshape(tf.matmul(tf.constant(weights[1][None]), columns), [-1, *map(int, static), channels])

    with replaced("image.resize", resize):
        yield


def _weights(resize: Callable[[Any, Any], Any], length: int, wanted: int) -> Any:
    """Returns the share of each old row in each new one, float32 [wanted, length].

    TensorFlow computes it: it resizes an image with one row in each channel.
    """
    import tensorflow as tf

    with tf.init_scope():  # a value, not a part of the graph that is being traced
        one_row_each = tf.reshape(tf.eye(length), [1, length, 1, length])
        return resize(one_row_each, [wanted, 1]).numpy()[0, :, 0, :]
