"""Finds the sign of zero with arithmetic that every target has.

`keras.ops.argmax` and `argmin` order -0.0 before 0.0 (jax#24280) and find the sign with `Bitcast` and `BitwiseAnd`,
which no target has: no model that ends in an argmax could be exported. 1 / -0.0 is -Inf, so a comparison does the same.

Removable when Keras finds it otherwise, or when TF Lite, TF.js and tf2onnx all know `Bitcast`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def signbit_in_arithmetic() -> Iterator[None]:
    """Writes Keras' `signbit` of floating tensors as `x < 0 or 1 / x < 0` (NaN counts as positive), while active."""
    import tensorflow as tf
    from keras.src.backend.tensorflow import numpy as backend

    original = backend.signbit

    def signbit(x: Any) -> Any:
        if not tf.convert_to_tensor(x).dtype.is_floating:
            return original(x)
        record_rewrite("signbit_in_arithmetic")
        one = tf.ones((), x.dtype)
        return tf.logical_or(x < 0, one / x < 0)

    with mock.patch.object(backend, "signbit", signbit):
        yield
