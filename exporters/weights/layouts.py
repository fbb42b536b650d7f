"""Lists the axis orders and the parts in which a format may store a weight.

A weight keeps its values in every target; their order changes: Keras' HWIO filters become OHWI in TF Lite and OIHW in
ONNX, a dense kernel is transposed, attention heads are joined. Converters also split weights (one filter for each
group, one matrix for each gate), and ONNX' recurrent operators join the gates in another order.
"""

from collections.abc import Iterator

import numpy as np

from exporters.weights.weight_layout import Order

_MOST_PARTS = 64
_GATES = (4, 3, 8, 6, 2)
_DIRECTIONS = 2


def in_source_order(stored: np.ndarray, shape: tuple[int, ...], order: Order) -> np.ndarray:
    """Returns a constant in the source's axis order and shape; a view wherever NumPy can.

    Args:
        stored: of as many elements as the shape has, whatever its own shape is.
        shape: of the source weight.
        order: in which its axes are stored.
    """
    inverse = np.argsort(order) if order else ()
    return stored.reshape([shape[axis] for axis in order]).transpose(inverse)


def parts(array: np.ndarray, sizes: set[int]) -> Iterator[list[np.ndarray]]:
    """Yields the splits of a weight into equal parts, along its last or first axis, whose size some constant has."""
    for axis in dict.fromkeys((array.ndim - 1, 0)) if array.ndim else ():
        length = array.shape[axis]
        for count in range(2, min(length, _MOST_PARTS) + 1):
            if length % count == 0 and array.size // count in sizes:
                yield np.split(array, count, axis=axis)


def gates(stored: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yields the splits of ONNX' joined gates, [directions, gates x units] or [directions, gates x units, inputs]."""
    if stored.ndim not in {2, 3} or stored.shape[0] > _DIRECTIONS:  # a convolution's kernels look alike, and are many
        return
    for count in _GATES:
        if stored.shape[1] % count == 0 and stored.shape[1] > count:
            yield [part for direction in stored for part in np.split(direction, count)]
