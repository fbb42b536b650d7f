"""In which orders a format may store a weight, and in which parts.

A weight keeps its values whatever the target; their order changes: Keras' HWIO filters become OHWI in TF Lite and OIHW
in ONNX, a dense kernel is transposed, heads of attention are laid side by side. Converters also cut weights up (one
filter for each group, one matrix for each gate) and ONNX' recurrent operators want the gates behind one another in an
order of their own.
"""

from collections.abc import Iterator

import numpy as np

from exporters.weights.weight_layout import Order

_MOST_PARTS = 64
_GATES = (4, 3, 8, 6, 2)
_DIRECTIONS = 2


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
