"""Counts categories by comparison.

`CategoryEncoding` and `Discretization` count with `DenseBincount` (in Keras 2 in every mode), which TF Lite has no
builtin for. A row's numbers, each compared with every category and added up, are the same counts.

Removable when TF Lite has a builtin for `DenseBincount` (LiteRT#6458).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite

_MATRIX = 2


@contextmanager
def bincount_as_comparison() -> Iterator[None]:
    """Writes `tf.math.bincount` over rows of dense integers, to a fixed length, as a comparison and a sum."""
    import tensorflow as tf

    original = tf.math.bincount

    def bincount(  # noqa: PLR0913, PLR0917 - the parameters of `tf.math.bincount`, which may be given by position
        arr: Any,
        weights: Any = None,
        minlength: Any = None,
        maxlength: Any = None,
        dtype: Any = tf.int32,
        name: str | None = None,
        axis: int | None = None,
        binary_output: bool = False,
    ) -> Any:
        rows = isinstance(arr, tf.Tensor) and arr.shape.rank in {1, _MATRIX} and axis == -1
        if not rows or weights is not None or not isinstance(maxlength, int) or maxlength != minlength:
            return original(arr, weights, minlength, maxlength, dtype, name, axis, binary_output)
        record_rewrite("bincount_as_comparison")
        found = tf.cast(tf.equal(tf.expand_dims(arr, -1), tf.range(maxlength, dtype=arr.dtype)), tf.float32)
        counted = tf.reduce_sum(found, axis=-2)
        if binary_output:  # the largest of an empty row would be minus infinity
            counted = tf.minimum(counted, 1.0)
        return tf.cast(counted, dtype, name=name)

    with replaced("math.bincount", bincount):
        yield
