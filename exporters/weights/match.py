"""Finds every source weight among the constants of an artifact, and constants that are close to one but differ.

In: the source's weights and the artifact's constants by name. Out: a `WeightsRecord`. Pure.

In this order: a constant that is a weight bit by bit in one of the format's layouts; parts of a weight, or of a
constant; constants computed with a batch normalization. Then the rest of both sides is compared: a constant that is
like half of a weight, in rounding, in most of its elements or in direction, is a difference. So is a kernel of Keras'
own layers that is not found, while an unexplained constant of its size exists: the weights of another training. Any
other constant that is like no weight was computed, and a weight that no constant is like is not needed at inference;
both are counted.
"""

from collections.abc import Mapping

import numpy as np

from exporters.contract import WeightDifference, WeightsRecord
from exporters.weights.batch_norm_constants import match_folded_kernels, match_folded_vectors
from exporters.weights.exact_matches import match_exactly, match_packed_gates, match_parts
from exporters.weights.layouts import in_source_order
from exporters.weights.match_state import Constant, Matching, Piece, changed
from exporters.weights.similarity import ENOUGH, difference
from exporters.weights.source_weights import SourceWeights
from exporters.weights.swapped_weights import find_swapped
from exporters.weights.weight_layout import WeightLayout
from exporters.weights.weight_sums import match_sums


def match(layout: WeightLayout, source: SourceWeights, stored: Mapping[str, np.ndarray]) -> WeightsRecord:
    """Compares an artifact's constants with the source's weights.

    Args:
        layout: how the artifact's format stores weights.
        source: the original's weights.
        stored: every constant of the artifact by its own name there.
    """
    constants = [Constant(tensor=name, array=array) for name, array in stored.items() if array.dtype.kind in "biufcV"]
    state = Matching(
        layout=layout,
        source=source,
        pieces=[Piece(weight=w, array=w.array) for w in source.weights],
        constants=constants,
    )
    # From certain to uncertain: what an exact match explains cannot be taken for something similar later.
    match_exactly(state, state.pieces)
    match_parts(state)
    match_packed_gates(state)
    match_folded_kernels(state)
    match_sums(state)
    match_folded_vectors(state)
    state.differences += [found for piece in state.unmatched() if (found := _closest_difference(state, piece))]
    differing = {difference.weight for difference in state.differences}
    unlike = [piece for piece in state.unmatched() if piece.weight.name not in differing]
    state.differences += [found for piece in unlike if (found := _replaced_kernel(state, piece))]
    state.differences += find_swapped(
        source.weights, {p.constant: p.weight for p in state.pieces if p.constant and p.array is p.weight.array}
    )
    return _record(state)


def _record(state: Matching) -> WeightsRecord:
    differing = {each.weight for each in state.differences}
    missing = {piece.weight.name for piece in state.unmatched()} - differing
    names = [weight.name for weight in state.source.weights]
    return WeightsRecord(
        weights=len(names),
        exact=len(set(names) - missing - differing - state.folded),
        folded=len(state.folded - differing),
        ulps=round(state.ulps, 2),
        unmatched={name: _reason(state, name) for name in sorted(missing)},
        computed=sum(c.array.size > 1 and c.array.dtype.kind in "fc" for c in state.unexplained()),
        differences=tuple(state.differences),
    )


def _reason(state: Matching, name: str) -> str:
    size = next(weight.array.size for weight in state.source.weights if weight.name == name)
    if not state.unexplained(size):
        return "no constant of its size is left: inference does not need it, or it was computed away"
    return "no constant of its size is like it"


def _closest_difference(state: Matching, piece: Piece) -> WeightDifference | None:
    """Returns the difference from the constant that is most like a piece of a weight; None where none is like it."""
    best: tuple[float, WeightDifference, Constant] | None = None
    for constant in state.unexplained(piece.array.size):
        for order in state.layout.orders(piece.array.ndim):
            found = difference(
                piece.weight, piece.array, constant.tensor, in_source_order(constant.array, piece.array.shape, order)
            )
            if found and (best is None or found[0] < best[0]):
                best = (*found, constant)
    if best is None:
        return None
    best[2].known = True
    return best[1]


def _replaced_kernel(state: Matching, piece: Piece) -> WeightDifference | None:
    """Returns the difference from a constant that may replace a kernel; None where there is none.

    A user's layer may compute with a function of its kernel (its sign, its square), and a vector may contain others:
    there a constant that is unlike the weight is no fault.
    """
    weight, array = piece.weight, piece.array
    if not weight.as_is or not weight.varied or array.ndim <= 1 or array.size < ENOUGH or array.dtype.kind != "f":
        return None
    left = [
        each for each in state.unexplained(array.size) if each.array.dtype == array.dtype and np.ptp(each.array) > 0
    ]
    if not left:
        return None
    constant = max(left, key=lambda each: weight.layer in each.tensor)
    constant.known = True
    wide = array.astype("float64")
    errors = (
        abs(in_source_order(constant.array, array.shape, order) - wide) for order in state.layout.orders(array.ndim)
    )
    return changed(weight, constant.tensor, min(errors, key=lambda error: float(error.max())))
