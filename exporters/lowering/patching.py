"""A function of TensorFlow in the place of another, wherever a Keras looks for it.

In: the function's public name and what stands in for it. Keras 3 calls `tensorflow`, tf_keras `tensorflow.compat.v2`,
whose modules are objects of their own.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from typing import Any
from unittest import mock


@contextmanager
def replaced(name: str, function: Any) -> Iterator[None]:
    """While active, `tf.NAME` is another function.

    Args:
        name: `einsum`, `nn.gelu`.
        function: what stands in for it.
    """
    import tensorflow as tf

    module, _, own = name.rpartition(".")
    with ExitStack() as patches:
        for root in (tf, tf.compat.v2):
            owner = attrgetter(module)(root) if module else root
            patches.enter_context(mock.patch.object(owner, own, function))
        yield
