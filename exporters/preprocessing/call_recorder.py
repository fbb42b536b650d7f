"""Records which preprocessing layers were called while a model was traced, on what, and what they returned.

In: a trace that runs while `recording` is active. Out: one `LayerCall` for each. Layers are followed into nested
models and into the user's own layers; a layer that a preprocessing layer calls itself belongs to that one.
"""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from exporters.source.keras.user_code import is_of_keras

TEXT_LAYERS = ("TextVectorization", "StringLookup", "IntegerLookup", "Hashing", "HashedCrossing")
"""Layers of Keras that need text or tables, by the class's own name."""
_RECORDED = (*TEXT_LAYERS, "Discretization")


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCall:
    """Records one call of a preprocessing layer.

    Attributes:
        layer: the layer.
        kind: name of its class in Keras.
        inputs: the tensors it was called on.
        output: what it returned.
        begin, end: its operators are those that the graph had after `begin` and up to `end` operators.
    """

    layer: Any
    kind: str
    inputs: tuple[Any, ...]
    output: Any
    begin: int
    end: int

    @property
    def title(self) -> str:
        """Returns the layer's name for messages: `words (TextVectorization)`."""
        return f"{self.layer.name} ({self.kind})"

    @property
    def needs_text(self) -> bool:
        return self.kind in TEXT_LAYERS


@contextmanager
def recording() -> Iterator[list[LayerCall]]:
    """Records the calls of preprocessing layers in a graph, in the list that it yields, while active."""
    import keras

    calls: list[LayerCall] = []
    with ExitStack() as patches:
        for package in (keras, sys.modules.get("tf_keras")):
            if package is not None:
                layer = package.layers.Layer
                patches.enter_context(mock.patch.object(layer, "__call__", _recorded_call(layer.__call__, calls)))
        yield calls


def _recorded_call(original: Any, calls: list[LayerCall]) -> Any:
    import keras
    import tensorflow as tf

    depth = 0

    def called(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal depth
        kind = type(self).__name__
        known = kind in _RECORDED and is_of_keras(self)
        graph = tf.compat.v1.get_default_graph()
        # Depth: a TextVectorization calls a StringLookup, which belongs to it. Eager calls are no part of the trace.
        if not known or depth or tf.executing_eagerly():
            return original(self, *arguments, **options)
        begin = len(graph.get_operations())
        depth += 1
        try:
            output = original(self, *arguments, **options)
        finally:
            depth -= 1
        inputs = tuple(keras.tree.flatten((arguments, options)))
        call = LayerCall(
            layer=self, kind=kind, inputs=inputs, output=output, begin=begin, end=len(graph.get_operations())
        )
        calls.append(call)
        return output

    return called
