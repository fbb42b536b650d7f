"""Writes exp(x) - 1 with Exp, and with Elu below zero.

tf2onnx does not translate `Expm1`. Below zero ELU is the same function, which every target has a kernel for; above, the
subtraction loses at most a last bit of a number near one.

Removable when tf2onnx translates `Expm1` (tensorflow-onnx support_status.md).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def expm1_with_elu() -> Iterator[None]:
    """Writes `tf.math.expm1` with `tf.exp` and `tf.nn.elu`, while active."""
    import tensorflow as tf

    original = tf.math.expm1

    def expm1(x: Any, name: str | None = None) -> Any:
        x = tf.convert_to_tensor(x)
        if not x.dtype.is_floating:
            return original(x, name=name)
        record_rewrite("expm1_with_elu")
        zero, one = tf.zeros((), x.dtype), tf.ones((), x.dtype)
        return tf.add(tf.exp(tf.maximum(x, zero)) - one, tf.nn.elu(tf.minimum(x, zero)), name=name)

    with replaced("math.expm1", expm1):
        yield
