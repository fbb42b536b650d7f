"""In which orders a format may store a weight, and in which parts.

A weight keeps its values whatever the target; their order changes: Keras' HWIO filters become OHWI in TF Lite and OIHW
in ONNX, a dense kernel is transposed, heads of attention are laid side by side. Converters also cut weights up (one
filter for each group, one matrix for each gate) and ONNX' recurrent operators want the gates behind one another in an
order of their own.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

Order = tuple[int, ...]

_ANY_ORDER = 3  # axes; what has no more of them (matrices, 1-D filters, heads) may be stored in any order
_ORDERS: dict[int, tuple[Order, ...]] = {
    4: (
        (0, 1, 2, 3),  # as Keras has it; TF Lite's depthwise filters
        (3, 0, 1, 2),  # OHWI: TF Lite
        (2, 0, 1, 3),  # OHWI of a transposed convolution, whose kernel is HWOI
        (3, 2, 0, 1),  # OIHW: ONNX
        (2, 3, 0, 1),  # ONNX' depthwise filters
        (0, 1, 3, 2),
    ),
    5: ((0, 1, 2, 3, 4), (4, 3, 0, 1, 2), (4, 0, 1, 2, 3), (3, 0, 1, 2, 4)),
}
_MOST_PARTS = 64
_GATES = (4, 3, 8, 6, 2)
_DIRECTIONS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLayout:
    """How a format stores the weights of a model.

    Attributes:
        kernels: the orders of axes of a kernel of rank 4 or more: `source`, as Keras has them; `last_two`, these or
            with the last two axes swapped; `any`, the orders of `_ORDERS`.
        computes: whether the converter computes constants from weights (folds and adds them); where it does not, each
            weight is stored as it is, whatever its rank.
        packs_gates: whether recurrent operators store the gates of a cell in one constant, in an order of their own.
    """

    kernels: Literal["source", "last_two", "any"] = "any"
    computes: bool = True
    packs_gates: bool = False

    def orders(self, rank: int) -> tuple[Order, ...]:
        """Returns the orders of axes in which a weight of this rank may be stored."""
        same = tuple(range(rank))
        if not self.computes:
            return (same,)
        if rank <= _ANY_ORDER:
            return tuple(itertools.permutations(same))
        if self.kernels == "last_two":
            return (same, (*same[:-2], same[-1], same[-2]))
        return _ORDERS.get(rank, (same,)) if self.kernels == "any" else (same,)


def back(stored: np.ndarray, shape: tuple[int, ...], order: Order) -> np.ndarray:
    """A constant in the source's own order and shape; a view wherever NumPy can.

    Args:
        stored: of as many elements as the shape has, whatever its own shape is.
        shape: of the source weight.
        order: in which its axes are stored.
    """
    inverse = np.argsort(order) if order else ()
    return stored.reshape([shape[axis] for axis in order]).transpose(inverse)


def parts(array: np.ndarray, sizes: set[int]) -> Iterator[list[np.ndarray]]:
    """The ways to cut a weight into equal parts along its last or first axis so that constants of that size exist."""
    for axis in dict.fromkeys((array.ndim - 1, 0)) if array.ndim else ():
        length = array.shape[axis]
        for count in range(2, min(length, _MOST_PARTS) + 1):
            if length % count == 0 and array.size // count in sizes:
                yield np.split(array, count, axis=axis)


def gates(stored: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The ways in which ONNX may have laid gates behind one another: [directions, gates x units], and x inputs."""
    if stored.ndim not in {2, 3} or stored.shape[0] > _DIRECTIONS:  # a convolution's kernels look alike, and are many
        return
    for count in _GATES:
        if stored.shape[1] % count == 0 and stored.shape[1] > count:
            yield [part for direction in stored for part in np.split(direction, count)]
