"""Traces functions in line that Keras would compile with XLA.

Keras wraps what TensorFlow's CPU kernels lack (grouped convolutions, channels-first 3-D ones) into a function with
`jit_compile=True`; tf_keras wraps grouped convolutions alike, once, when it is imported. No converter takes the result:
it arrives as a `StatefulPartitionedCall` marked `_XlaMustCompile` and `_noinline`. The targets have kernels for what is
inside, so while a graph is traced for them the wrapper is left out.

Removable when `keras.ops.conv` needs no wrapper (keras#18180, tensorflow-onnx#2099).
"""

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def xla_wrappers_inlined() -> Iterator[None]:
    """Makes `tf.function(jit_compile=True)` return the Python function itself, while active."""
    import tensorflow as tf

    original = tf.function

    def function(func: Callable[..., Any] | None = None, **options: Any) -> Any:
        if options.get("jit_compile"):
            return _noted(func) if func is not None else _noted
        return original(func, **options)

    with mock.patch.object(tf, "function", function), _wrapped_on_import():
        yield


def _noted(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the function so that its call is recorded; Keras wraps more functions than it calls."""

    @functools.wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        record_rewrite("xla_wrappers_inlined")
        return function(*arguments, **options)

    return called


@contextmanager
def _wrapped_on_import() -> Iterator[None]:
    """Replaces the one wrapper of tf_keras, where it is in use."""
    if "tf_keras" not in sys.modules:
        yield
        return
    from tf_keras.src.layers.convolutional.base_conv import Conv

    def convolution(layer: Any, inputs: Any, kernel: Any) -> Any:
        record_rewrite("xla_wrappers_inlined")
        return layer.convolution_op(inputs, kernel)

    with mock.patch.object(Conv, "_jit_compiled_convolution_op", convolution):
        yield
