"""Finds constants that are sums of weights."""

import itertools
from collections.abc import Sequence

import numpy as np

from exporters.weights.layouts import in_source_order
from exporters.weights.match_state import Matching
from exporters.weights.source_weights import SourceWeight

_MOST_ADDENDS = 8
"""Most weights of one shape of which pairs are tried as addends; more would take too long."""


def match_sums(state: Matching) -> None:
    """Finds tables that others were added to: a converter sums constants, such as a patch's bias and position."""
    for piece in state.unmatched() if state.layout.computes else ():
        if piece.array.ndim <= 1 or piece.array.dtype.kind != "f":  # a vector that took up another is a bias
            continue
        addends = [w for w in state.source.weights if w is not piece.weight and _adds(w.array, piece.array)]
        sums = [each for count in (1, 2) for each in itertools.combinations(addends[:_MOST_ADDENDS], count)]
        for constant in state.unexplained(piece.array.size) if sums else ():
            for order in state.layout.orders(piece.array.ndim):
                stored = in_source_order(constant.array, piece.array.shape, order)
                if others := next((each for each in sums if _is_sum(stored, piece.array, each)), None):
                    constant.known = True
                    state.folded |= {piece.weight.name, *(each.name for each in others)}
                    break


def _adds(array: np.ndarray, table: np.ndarray) -> bool:
    """Tells whether a weight may be added to a table: another one of its size, or a bias along its last axis."""
    fits = array.shape[-1:] == table.shape[-1:] and array.size in {table.size, table.shape[-1]}
    return fits and array.dtype == table.dtype and bool(array.any())


def _is_sum(stored: np.ndarray, array: np.ndarray, others: Sequence[SourceWeight]) -> bool:
    """Tells whether a constant is the sum of weights, up to the rounding of these additions in any order."""
    if stored.dtype != array.dtype:
        return False
    terms = [array, *(w.array.reshape(array.shape) if w.array.size == array.size else w.array for w in others)]
    rounding = len(others) * np.finfo(array.dtype).eps * sum(np.abs(term) for term in terms)
    return bool((np.abs(stored - sum(terms)) <= rounding).all())
