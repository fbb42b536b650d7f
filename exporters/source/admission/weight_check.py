"""Adds up the sizes of stored weights, and checks that every one of them is a finite number.

In: the `Weights` of an open model. Out: a `WeightFacts`, or BadInput naming the layer.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from exporters.errors import BadInput
from exporters.source.printable import printable
from exporters.source.readers.stored_model import Stored, Weights

_SLAB = 8 << 20
"""Bytes read at a time while looking for NaN."""
_BFLOAT16_EXPONENT = 0x7F80


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts:
    """Sizes of what the file stores; the fields are those of `ModelFacts`."""

    parameters: int
    parameter_bytes: int
    optimizer_bytes: int
    has_optimizer_state: bool


def measure(stored: Weights) -> WeightFacts:
    """Adds up what is stored, and checks every array's declaration on the way.

    Raises:
        BadInput: see `Weights.rows`.
    """
    with stored.rows() as found:
        rows = [(stored.role(item.path), item.elements, item.size) for item in found]
    return WeightFacts(
        parameters=sum(elements for kind, elements, _ in rows if kind == "weight"),
        parameter_bytes=sum(size for kind, _, size in rows if kind == "weight"),
        optimizer_bytes=sum(size for kind, _, size in rows if kind == "optimizer"),
        has_optimizer_state=any(kind == "optimizer" for kind, *_ in rows),
    )


def check_finite(name: str, stored: Weights) -> None:
    """Raises BadInput naming the first weight with a NaN or infinite value and how many it has.

    Args:
        name: of the file, for messages.
        stored: its weights.
    """
    with stored.rows(lambda path: stored.role(path) == "weight") as found:
        for item in found:
            bad = sum(_nonfinite(item.read(slab)) for slab in _slabs(item))
            if bad:
                raise BadInput(
                    f"{name}: layer {stored.layer(item.path)} has a weight "
                    f"({printable(item.path)}) in which {bad:,} of {item.elements:,} values are NaN or infinite",
                    next_step="Training diverged: take an earlier checkpoint, or train with a lower learning rate.",
                )


def _slabs(item: Stored) -> Iterator[tuple[Any, ...]]:
    """Yields index expressions that cover an array in parts of about `_SLAB` bytes."""
    import numpy as np

    shape, itemsize = item.shape, item.dtype.itemsize
    axis = 0
    while axis < len(shape) and math.prod(shape[axis + 1 :]) * itemsize > _SLAB:
        axis += 1
    if axis == len(shape):
        yield ()
        return
    step = max(1, _SLAB // max(1, math.prod(shape[axis + 1 :]) * itemsize))
    for outer in np.ndindex(*shape[:axis]):
        for start in range(0, shape[axis], step):
            yield (*outer, slice(start, start + step))


def _nonfinite(values: Any) -> int:
    """Counts the values that are NaN or infinite. Keras stores bfloat16 as opaque pairs of bytes (NumPy kind `V`)."""
    import numpy as np

    array = np.asarray(values)
    if array.dtype.kind in "fc":
        return int(array.size - np.count_nonzero(np.isfinite(array)))
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # noqa: PLR2004 - two bytes: bfloat16
        bits = np.ascontiguousarray(array).view(np.uint16)
        return int(np.count_nonzero((bits & _BFLOAT16_EXPONENT) == _BFLOAT16_EXPONENT))
    return 0
