"""Replaces a function of TensorFlow in every module through which a Keras calls it.

In: the function's public name and its replacement. Keras 3 calls `tensorflow`, tf_keras `tensorflow.compat.v2`, whose
modules are separate objects.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from typing import Any
from unittest import mock


@contextmanager
def replaced(name: str, function: Any) -> Iterator[None]:
    """Replaces `tf.NAME` by another function, while active.

    Args:
        name: `einsum`, `nn.gelu`.
        function: the replacement.
    """
    import tensorflow as tf

    module, _, attribute = name.rpartition(".")
    with ExitStack() as patches:
        for root in (tf, tf.compat.v2):
            owner = attrgetter(module)(root) if module else root
            patches.enter_context(mock.patch.object(owner, attribute, function))
        yield
