"""Describes how a format stores the weights of a model: in which orders of axes, and what its converter computes.

Imports nothing heavy: the registry of formats holds these records, and the command line reads that registry.
"""

import itertools
from dataclasses import dataclass
from typing import Literal

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


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightLayout:
    """Describes how a format stores the weights of a model.

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
