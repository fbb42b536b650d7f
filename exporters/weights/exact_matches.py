"""Finds constants that are weights, parts of weights, or several weights, bit by bit."""

from collections.abc import Iterator, Sequence

import numpy as np

from exporters.weights.layouts import gates, in_source_order, parts
from exporters.weights.match_state import Constant, Matching, Piece
from exporters.weights.weight_layout import WeightLayout


def match_exactly(state: Matching, pieces: Sequence[Piece]) -> None:
    """Marks the weights that are stored bit by bit, in some order of their axes."""
    for piece in pieces:
        if piece.constant or not piece.array.size:
            continue
        for constant in _same(state.layout, piece.array, state.of_equal_values(piece.array)):
            constant.known = True
            piece.constant = piece.constant or constant.tensor


def _same(layout: WeightLayout, array: np.ndarray, constants: Sequence[Constant]) -> Iterator[Constant]:
    """Yields the constants that hold exactly an array's values."""
    for constant in constants:
        if any(
            _equal(array, in_source_order(constant.array, array.shape, order)) for order in layout.orders(array.ndim)
        ):
            yield constant


def _equal(array: np.ndarray, stored: np.ndarray) -> bool:
    """Tells whether the values are the same; the stored type may have more digits."""
    if not np.can_cast(array.dtype, stored.dtype, "safe"):
        return False
    # A few elements first: most pairs differ there, and comparing large arrays whole takes time.
    index = tuple(slice(None, None, max(1, -(-length // 4))) for length in array.shape)
    return bool((array[index] == stored[index]).all()) and bool((array == stored).all())


def match_parts(state: Matching) -> None:
    """Finds weights that were split: a filter for each group, a matrix for each gate, one row of biases."""
    sizes = {constant.array.size for constant in state.unexplained()}
    for piece in list(state.unmatched()):
        for cut in parts(piece.array, sizes):
            split = [Piece(weight=piece.weight, array=part) for part in cut]
            match_exactly(state, split)
            if any(part.constant and part.array.any() for part in split):
                state.pieces.remove(piece)
                state.pieces += split
                break


def match_packed_gates(state: Matching) -> None:
    """Finds weights in ONNX' recurrent operators, which join gates in another order, next to a bias of zeros."""
    if not state.layout.packs_gates:
        return
    for constant in state.unexplained():
        for cut in gates(constant.array):
            split = [Constant(tensor=constant.tensor, array=part, known=not part.any()) for part in cut]
            inner = Matching(layout=state.layout, source=state.source, pieces=list(state.unmatched()), constants=split)
            match_parts(inner)
            match_exactly(inner, inner.pieces)
            if any(part.known and part.array.any() for part in split):
                kept = [piece for piece in state.pieces if piece.constant or piece.weight.name in state.folded]
                state.pieces = kept + inner.pieces
                constant.known = True
                state.constants += split
                break
