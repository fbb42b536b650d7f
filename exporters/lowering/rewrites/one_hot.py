"""Computes one-hot vectors by comparing integers.

TF.js' wasm backend writes the ones of `OneHot` as 32-bit integers whatever type is asked: read as float32 they are
1e-45, so a model with a CategoryEncoding loses the category without an error (tfjs#3409 added the kernel).

Removable when the wasm backend's `OneHot` heeds its dtype.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def one_hot_of_integers() -> Iterator[None]:
    """Writes `tf.one_hot` with floating ones and zeros as a comparison of integers and a cast, while active."""
    import tensorflow as tf

    original = tf.one_hot

    def one_hot(indices: Any, depth: Any, *values: Any, dtype: Any = None, **options: Any) -> Any:
        plain = not values and not {"on_value", "off_value"} & {
            key for key, value in options.items() if value is not None
        }
        wanted = tf.dtypes.as_dtype(dtype or tf.float32)
        if not plain or not wanted.is_floating or options.get("axis") not in (None, -1):
            return original(indices, depth, *values, dtype=dtype, **options)
        record_rewrite("one_hot_of_integers")
        # Not an integer `OneHot`: tf2onnx has none but for vectors.
        indices = tf.convert_to_tensor(indices)
        integers = tf.cast(indices, tf.int64 if indices.dtype == tf.int64 else tf.int32)
        return tf.cast(tf.equal(tf.expand_dims(integers, -1), tf.range(depth, dtype=integers.dtype)), wanted)

    with replaced("one_hot", one_hot):
        yield
