"""Writes Einsum as a batched matrix product.

TF.js' wasm backend has no `Einsum` kernel (tfjs#7439), so no model with an attention layer that Keras itself does not
write as matrix products runs there. A sum over two operands is a matrix product once their axes are put in order:
[shared, own, summed] x [shared, summed, own].

Removable when the wasm backend has the kernel.
"""

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exporters.lowering.patching import replaced
from exporters.lowering.rewrite_log import record_rewrite

_TWO_OPERANDS = re.compile(r"([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]*)")


@contextmanager
def einsum_as_matrix_product() -> Iterator[None]:
    """Writes `tf.einsum` of two operands as transpositions and one `tf.matmul`, while active."""
    import tensorflow as tf

    original = tf.einsum

    def einsum(equation: str, *operands: Any, **options: Any) -> Any:
        match = _TWO_OPERANDS.fullmatch(equation.replace(" ", ""))
        if match is None or not _plain(*match.groups()):
            return original(equation, *operands, **options)
        record_rewrite("einsum_as_matrix_product")
        return _matrix_product(*match.groups(), *operands)

    with replaced("einsum", einsum):
        yield


def _plain(left: str, right: str, result: str) -> bool:
    """Tells whether no axis is repeated in one operand, and none is summed over that only one operand has."""
    unique = all(len(set(axes)) == len(axes) for axes in (left, right, result))
    return unique and set(left) ^ set(right) <= set(result) <= set(left) | set(right)


def _matrix_product(left: str, right: str, result: str, a: Any, b: Any) -> Any:
    import tensorflow as tf

    shared = [axis for axis in result if axis in left and axis in right]
    summed = [axis for axis in left if axis in right and axis not in result]
    own_left = [axis for axis in left if axis not in right]
    own_right = [axis for axis in right if axis not in left]
    lengths = {**_lengths(right, b), **_lengths(left, a)}
    product = tf.matmul(
        _grouped(a, left, (shared, own_left, summed), lengths),
        _grouped(b, right, (shared, summed, own_right), lengths),
    )
    order = [*shared, *own_left, *own_right]
    ungrouped = tf.reshape(product, _shape(order, lengths))
    return tf.transpose(ungrouped, [order.index(axis) for axis in result])


def _lengths(axes: str, tensor: Any) -> dict[str, Any]:
    """Returns the length of each axis: an int where it is static, else a scalar tensor."""
    import tensorflow as tf

    dynamic = tf.shape(tensor)
    return {axis: tensor.shape[i] if tensor.shape[i] is not None else dynamic[i] for i, axis in enumerate(axes)}


def _shape(axes: list[str], lengths: dict[str, Any]) -> Any:
    """Returns a shape to reshape to; a constant where possible, with -1 for a single dynamic axis."""
    known = [lengths[axis] if isinstance(lengths[axis], int) else -1 for axis in axes]
    return known if known.count(-1) <= 1 else [lengths[axis] for axis in axes]


def _grouped(tensor: Any, axes: str, groups: tuple[list[str], list[str], list[str]], lengths: dict[str, Any]) -> Any:
    """Transposes the operand to the order of the groups, and joins each of the last two groups into one axis."""
    import tensorflow as tf

    ordered = tf.transpose(tensor, [axes.index(axis) for group in groups for axis in group])
    shape = [lengths[axis] for axis in groups[0]]
    for group in groups[1:]:
        sizes = [lengths[axis] for axis in group]
        shape.append(math.prod(sizes) if all(isinstance(n, int) for n in sizes) else tf.reduce_prod(tf.stack(sizes)))
    flexible = sum(not isinstance(n, int) for n in shape)
    return tf.reshape(ordered, [n if isinstance(n, int) else -1 for n in shape] if flexible <= 1 else shape)
