"""Writes additions that Keras takes for biases as additions.

`keras.ops.add` calls `BiasAdd` whenever its second operand can be squeezed to a vector as long as the first one's
last *or second* axis. With a fixed batch of one, the residual connection of a [1, T, 1] signal looks like that, and
becomes a `BiasAdd` over the second axis, which no converter expects (`'tf.Transpose' op x should be of the same rank
with y`).

Removable when Keras looks for a vector instead of squeezing for one (keras/src/backend/tensorflow/numpy.py, `add`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def additions_as_written() -> Iterator[None]:
    """Writes `tf.nn.bias_add` over the second axis as a broadcast addition, while active."""
    import tensorflow as tf

    original = tf.nn.bias_add

    def bias_add(value: Any, bias: Any, data_format: Any = None, name: str | None = None) -> Any:
        if not (data_format or "").startswith("NC"):
            return original(value, bias, data_format=data_format, name=name)
        record_rewrite("additions_as_written")
        trailing = [1] * (len(value.shape) - 2)
        return tf.add(value, tf.reshape(bias, [-1, *trailing]), name=name)

    with replaced("nn.bias_add", bias_add):
        yield
