"""Reshapes with the free axis left to the operator.

Keras' Flatten and Reshape ask for the batch's length and put it into the wanted shape. Over a free batch that is a
shape computed while the model runs, and LiteRT's GPU accelerator takes no such graph (tensorflow#38036). Where it is
the only length that is not known, -1 says the same and the shape is a constant.

Removable when Keras writes -1 itself (keras `Flatten.call`, `Reshape.call`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite


@contextmanager
def free_axis_left_open() -> Iterator[None]:
    """Writes -1 for the one length of a shape that is a tensor in `tf.reshape`, while active."""
    import tensorflow as tf

    original = tf.reshape

    def reshape(tensor: Any, shape: Any, name: str | None = None) -> Any:
        if isinstance(shape, list | tuple):
            lengths = [tf.get_static_value(length) if tf.is_tensor(length) else length for length in shape]
            known = [length for length in lengths if length is not None]
            if len(known) == len(lengths) - 1 and all(length > 0 for length in known):
                record_rewrite("free_axis_left_open")
                shape = [-1 if length is None else int(length) for length in lengths]
        return original(tensor, shape, name=name)

    with replaced("reshape", reshape):
        yield
