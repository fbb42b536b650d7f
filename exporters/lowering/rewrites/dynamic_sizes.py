"""Resizes images to sizes that are known only when a model runs.

`keras.ops.image.resize` compares the wanted size with zero in Python. While a graph is traced, the size of an image
with free axes is a tensor, and TensorFlow refuses the comparison: no model that enlarges images of any size could be
exported. The function behind it takes such sizes, so it is called directly.

Removable when keras#23315 is in the oldest Keras that is supported.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def sizes_as_tensors() -> Iterator[None]:
    """Lets Keras resize images to a size that is a tensor, while active."""
    from keras.src import backend
    from keras.src.ops import image

    original = image.resize

    def resize(images: Any, size: Any, *arguments: Any, **options: Any) -> Any:
        if all(isinstance(length, int) for length in size):
            return original(images, size, *arguments, **options)
        record_rewrite("sizes_as_tensors")
        return backend.image.resize(images, tuple(size), *arguments, **options)

    with mock.patch.object(image, "resize", resize):
        yield
