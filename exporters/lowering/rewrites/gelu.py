"""Writes the exact GELU and erfc in terms of erf, which every target has.

TensorFlow writes the exact GELU with `Erfc` since it is more accurate for large negative inputs; TF.js and tf2onnx
know `Erf` only, and TF Lite fuses the form with erf into its own GELU. The two differ by rounding: 1 + erf(x) loses
relative precision where the result is close to zero, at most 1e-7 of |x|.

Removable when TF.js (tfjs#8304) and tf2onnx both translate `Erfc`.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def gelu_with_erf() -> Iterator[None]:
    """Writes `tf.nn.gelu` (exact) and `tf.math.erfc` with `tf.math.erf`, while active."""
    import tensorflow as tf

    original = tf.nn.gelu

    def gelu(features: Any, approximate: bool = False, name: str | None = None) -> Any:
        if approximate:
            return original(features, approximate=approximate, name=name)
        record_rewrite("gelu_with_erf")
        return 0.5 * features * (1.0 + tf.math.erf(features / math.sqrt(2.0)))

    def erfc(x: Any, name: str | None = None) -> Any:
        record_rewrite("gelu_with_erf")
        return tf.subtract(tf.ones((), x.dtype), tf.math.erf(x), name=name)

    with replaced("nn.gelu", gelu), replaced("math.erfc", erfc):
        yield
