"""Functions that Keras would compile with XLA, traced in line instead.

Keras wraps what TensorFlow's CPU kernels lack (grouped convolutions, channels-first 3-D ones) into a function with
`jit_compile=True`. No converter takes the result: it arrives as a `StatefulPartitionedCall` marked `_XlaMustCompile`
and `_noinline`. The targets have kernels for what is inside, so while a graph is traced for them the wrapper is left
out.

Removable when `keras.ops.conv` needs no wrapper (keras#18180, tensorflow-onnx#2099).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock


@contextmanager
def xla_wrappers_inlined() -> Iterator[None]:
    """While active, `tf.function(jit_compile=True)` returns the Python function itself."""
    import tensorflow as tf

    original = tf.function

    def function(func: Callable[..., Any] | None = None, **options: Any) -> Any:
        if options.get("jit_compile"):
            return func if func is not None else lambda inner: inner
        return original(func, **options)

    with mock.patch.object(tf, "function", function):
        yield
