"""Writes local response normalization in arithmetic.

LiteRT's reference kernel leaves the last channel of every window out (reference_ops.h, `LocalResponseNormalization`:
the end of its loop is `c + range`), so one file gives two results in its two kernels. A
window over channels is a convolution of one pixel with a band of ones.

Removable when LiteRT's kernels agree.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite

_ROOT = 0.5


@contextmanager
def response_normalization_as_arithmetic() -> Iterator[None]:
    """Writes `tf.nn.local_response_normalization` over a known number of channels out, while active."""
    import numpy as np
    import tensorflow as tf

    original = tf.nn.local_response_normalization

    def normalize(  # noqa: PLR0913, PLR0917 - TensorFlow's own parameters
        input: Any,  # noqa: A002 - as above
        depth_radius: int = 5,
        bias: float = 1,
        alpha: float = 1,
        beta: float = _ROOT,
        name: str | None = None,
    ) -> Any:
        image = tf.convert_to_tensor(input)
        channels = image.shape[-1]
        if channels is None:
            return original(image, depth_radius, bias, alpha, beta, name=name)
        record_rewrite("response_normalization_as_arithmetic")
        places = np.arange(channels)
        band = np.abs(places[:, None] - places) <= depth_radius
        near = tf.nn.conv2d(tf.square(image), tf.constant(band[None, None], image.dtype), 1, "VALID")
        total = bias + alpha * near
        factor = tf.math.rsqrt(total) if beta == _ROOT else tf.pow(total, -beta)
        return tf.multiply(image, factor, name=name)

    with ExitStack() as patches:
        for public in ("nn.local_response_normalization", "nn.lrn"):
            patches.enter_context(replaced(public, normalize))
        yield
