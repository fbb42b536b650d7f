"""Constants that are weights bit by bit: whole ones, parts of weights, and weights that are parts of constants."""

from collections.abc import Iterator, Sequence

import numpy as np

from exporters.weights.layouts import back, gates, parts
from exporters.weights.match_state import Constant, Matching, Piece
from exporters.weights.weight_layout import WeightLayout


def exactly(state: Matching, pieces: Sequence[Piece]) -> None:
    """Marks what is stored bit by bit, in some order of its axes."""
    for piece in pieces:
        if piece.found or not piece.array.size:
            continue
        for constant in _same(state.layout, piece.array, state.alike(piece.array)):
            constant.known = True
            piece.found = piece.found or constant.tensor


def _same(layout: WeightLayout, array: np.ndarray, constants: Sequence[Constant]) -> Iterator[Constant]:
    """The constants that hold an array's very values."""
    for constant in constants:
        if any(_equal(array, back(constant.array, array.shape, order)) for order in layout.orders(array.ndim)):
            yield constant


def _equal(array: np.ndarray, stored: np.ndarray) -> bool:
    """Whether the values are the same; a type that holds more digits may hold them."""
    if not np.can_cast(array.dtype, stored.dtype, "safe"):
        return False
    index = tuple(slice(None, None, max(1, -(-length // 4))) for length in array.shape)
    return bool((array[index] == stored[index]).all()) and bool((array == stored).all())


def in_parts(state: Matching) -> None:
    """Weights that were cut up: a filter for each group, a matrix for each gate, one row of biases."""
    sizes = {constant.array.size for constant in state.left()}
    for piece in list(state.missing()):
        for cut in parts(piece.array, sizes):
            made = [Piece(weight=piece.weight, array=part) for part in cut]
            exactly(state, made)
            if any(each.found and each.array.any() for each in made):
                state.pieces.remove(piece)
                state.pieces += made
                break


def constants_in_parts(state: Matching) -> None:
    """ONNX' recurrent operators: gates behind one another, in an order of their own, after a zero bias or before."""
    if not state.layout.packs_gates:
        return
    for constant in state.left():
        for cut in gates(constant.array):
            made = [Constant(tensor=constant.tensor, array=part, known=not part.any()) for part in cut]
            inner = Matching(layout=state.layout, source=state.source, pieces=list(state.missing()), constants=made)
            in_parts(inner)
            exactly(inner, inner.pieces)
            if any(each.known and each.array.any() for each in made):
                kept = [piece for piece in state.pieces if piece.found or piece.weight.name in state.folded]
                state.pieces = kept + inner.pieces
                constant.known = True
                state.constants += made
                break
