"""Traces Python functions into TensorFlow graphs."""

from collections.abc import Callable
from typing import Any


def graph_function(python: Callable[..., Any]) -> Any:
    """Decorates a function that TensorFlow traces as it is written; returns a `tf.function`.

    AutoGraph stays off: it would rewrite the model's Python code, and report errors at lines that no file has.
    """
    import tensorflow as tf

    return tf.function(python, autograph=False)
