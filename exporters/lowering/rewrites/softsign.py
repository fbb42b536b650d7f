"""Writes softsign in arithmetic: x / (1 + |x|), its definition.

TF.js has no operator of that name, and its converter refuses the model.

Removable when TF.js has `Softsign` (tfjs#8304).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def softsign_in_arithmetic() -> Iterator[None]:
    """Writes `tf.nn.softsign` and `tf.math.softsign` with a division, while active."""
    import tensorflow as tf

    def softsign(features: Any, name: str | None = None) -> Any:
        record_rewrite("softsign_in_arithmetic")
        x = tf.convert_to_tensor(features)
        return tf.divide(x, tf.abs(x) + tf.ones((), x.dtype), name=name)

    with replaced("nn.softsign", softsign), replaced("math.softsign", softsign):
        yield
