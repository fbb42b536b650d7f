"""Runs recurrent loops over plain tensors instead of lists of tensors.

Keras keeps the steps of a recurrent loop in `TensorArray`s, which TensorFlow 2 turns into lists (`TensorListReserve`,
...). TF Lite has none unless every shape is static (tensorflow#62849), and TF.js disposes of what its lists still hold
(tfjs#7422). A layer whose steps cannot be written out, because its time axis is dynamic or long, needs the loop: here
its steps are rows of one tensor, read with a slice and written with a selection. TF.js' wasm backend reverses booleans
as if they took four bytes, beyond the end of its memory: a mask is reversed as numbers.

Removable when TF Lite reserves lists of a dynamic shape and TF.js keeps the tensors of lists alive.
"""

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite
from exporters.source.keras.model import Loop

_WHILE = ("while_loop", "compat.v1.while_loop")  # of Keras 3, of tf_keras
_OF_KERAS = re.compile(r"(input|output)_ta_\d+|mask_ta")  # names of the arrays in `rnn` of both
_ARGUMENTS = {"dtype", "size", "element_shape", "tensor_array_name"}  # that both pass for them


@contextmanager
def loops_over_tensors(loops: Sequence[Loop]) -> Iterator[None]:
    """Makes these layers keep their steps in tensors, while active."""
    with ExitStack() as patches:
        for loop in loops:
            patches.enter_context(mock.patch.object(loop.layer, "call", _over_tensors(loop.layer.call)))
        yield


def _over_tensors(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def called(*arguments: Any, **options: Any) -> Any:
        with _arrays_as_tensors():
            return call(*arguments, **options)

    return called


@contextmanager
def _arrays_as_tensors() -> Iterator[None]:
    """Makes a `tf.TensorArray` of Keras a tensor, inside and outside of `tf.while_loop`, while active."""
    import tensorflow as tf

    original = tf.while_loop

    def while_loop(cond: Any, body: Any, loop_vars: Sequence[Any], **options: Any) -> Any:
        return _loop(original, cond, body, loop_vars, options)

    reverse_numbers = tf.reverse

    def reverse(tensor: Any, axis: Any, name: str | None = None) -> Any:
        if tensor.dtype != tf.bool:
            return reverse_numbers(tensor, axis, name=name)
        return tf.cast(reverse_numbers(tf.cast(tensor, tf.int32), axis, name=name), tf.bool)

    with ExitStack() as patches:
        patches.enter_context(replaced("TensorArray", _array_class(tf.TensorArray)))
        patches.enter_context(replaced("reverse", reverse))
        for name in _WHILE:
            patches.enter_context(replaced(name, while_loop))
        yield


def _array_class(original: type) -> type:
    """Builds the replacement of `tf.TensorArray`: it creates `Rows` for Keras, and the original for a user's cell.

    Instances of both pass its `isinstance`.
    """

    class Either(type):
        def __call__(cls, *arguments: Any, **options: Any) -> Any:
            called = options.get("tensor_array_name") or ""
            of_keras = not arguments and set(options) <= _ARGUMENTS and _OF_KERAS.fullmatch(called)
            return (Rows if of_keras else original)(*arguments, **options)

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, (original, Rows))

    return Either("TensorArray", (), {})


class Rows:
    """Implements the part of `tf.TensorArray` that Keras' `rnn` uses, over one tensor with an element in each row.

    Args:
        dtype: of the elements.
        size: number of elements; an int or a scalar tensor.
        element_shape: of one element, where something will be written.
        tensor: the elements, where there are any yet.
    """

    def __init__(
        self, dtype: Any, size: Any, element_shape: Any = None, tensor: Any = None, tensor_array_name: str = ""
    ) -> None:
        del tensor_array_name
        self._dtype = dtype
        self._size = size
        self._element_shape = element_shape
        self.tensor = tensor

    def unstack(self, tensor: Any) -> "Rows":
        return self.of(tensor)

    def of(self, tensor: Any) -> "Rows":
        """Returns the same array with these elements."""
        return Rows(self._dtype, self._size, self._element_shape, tensor)

    def read(self, index: Any) -> Any:
        return self.tensor[index]

    def write(self, index: Any, value: Any) -> "Rows":
        import tensorflow as tf

        row = value[tf.newaxis]
        if isinstance(self._size, int) and self._size == 1:
            return self.of(row)
        here = tf.equal(tf.range(self._size), index)
        written = tf.where(tf.reshape(here, [-1] + [1] * value.shape.rank), row, self.tensor)
        written.set_shape(self.tensor.shape)
        return self.of(written)

    def stack(self) -> Any:
        return self.tensor

    def empty(self, like: Any) -> "Rows":
        """Returns the same array full of zeros.

        Args:
            like: a state of the loop; where an element's axis is dynamic, it is as long as the state's.
        """
        import tensorflow as tf

        lengths = tf.shape(like)
        axes = [n if n is not None else lengths[axis] for axis, n in enumerate(self._element_shape)]
        return self.of(tf.zeros(tf.stack([self._size, *axes]), self._dtype))


def _loop(
    original: Callable[..., Any], cond: Any, body: Any, loop_vars: Sequence[Any], options: Mapping[str, Any]
) -> Any:
    """Runs the loop with its arrays as tensors; arrays that were not written to get zeros."""
    import tensorflow as tf

    flat = tf.nest.flatten(list(loop_vars))
    if not any(isinstance(each, Rows) for each in flat):
        return original(cond, body, loop_vars, **options)
    record_rewrite("loops_over_tensors")
    state = flat[-1]
    arrays = [each.empty(state) if isinstance(each, Rows) and each.tensor is None else each for each in flat]

    def packed(tensors: Sequence[Any]) -> Any:
        rows = [a.of(t) if isinstance(a, Rows) else t for a, t in zip(arrays, tensors, strict=True)]
        return tf.nest.pack_sequence_as(list(loop_vars), rows)

    def plain(structure: Any) -> list[Any]:
        return [each.tensor if isinstance(each, Rows) else each for each in tf.nest.flatten(list(structure))]

    done = original(
        lambda *tensors: cond(*packed(tensors)),
        lambda *tensors: plain(body(*packed(tensors))),
        plain(arrays),
        **options,
    )
    return packed(done)
