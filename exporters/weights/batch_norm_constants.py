"""Finds constants computed with a batch normalization: kernels times its factors, biases with its shift."""

import numpy as np

from exporters.weights.folding import (
    MOST_ULPS,
    Scaled,
    Shifts,
    explained,
    scaled,
    shifts,
    ulps_of_factors,
)
from exporters.weights.layouts import in_source_order
from exporters.weights.match_state import Constant, Matching, Piece, changed

_NEARLY = 0.05 * 2**23
"""5 % in units in the last place: factors so close to a normalization's come from another epsilon."""
_SURE = 3
"""Elements for each factor: with fewer, a constant is a multiple of a weight by chance more often than by a fault."""


def match_folded_kernels(state: Matching) -> None:
    """Finds kernels that were multiplied by a normalization, and that normalization."""
    for piece in state.unmatched():
        if piece.array.ndim <= 1 or not piece.weight.varied or piece.array.dtype.kind != "f":
            continue
        # Converters name most constants after their layer: the likely ones first, where there are hundreds of one size.
        likely = sorted(
            state.unexplained(piece.array.size), key=lambda constant: piece.weight.layer not in constant.tensor
        )
        for constant in likely:
            if constant.array.dtype.kind == "f" and _multiplied(state, piece, constant):
                break


def _multiplied(state: Matching, piece: Piece, constant: Constant) -> bool:
    for order in state.layout.orders(piece.array.ndim):
        stored = in_source_order(constant.array, piece.array.shape, order)
        found = scaled(piece.array, stored)
        if found is None or _only_ones(state, found.factors):
            continue
        wrong, known = found.differs, _explain_factors(state, piece.array, constant.tensor, found)
        expected = piece.array * _spread(np.nan_to_num(found.factors), found.axes, piece.array.shape)
        if not known:
            if piece.array.size < _SURE * found.factors.size:
                continue
            wrong, expected = stored != piece.array, piece.array
        constant.known = True
        state.folded.add(piece.weight.name)
        if wrong.any():
            error = np.abs(stored.astype("float64") - expected)[wrong]
            state.differences.append(changed(piece.weight, constant.tensor, error))
        return True
    return False


def _only_ones(state: Matching, factors: np.ndarray) -> bool:
    """Tells whether every factor is one, and no normalization of the model has such factors."""
    one = ~(np.abs(factors - 1.0) > MOST_ULPS * 2.0**-23)
    like = (each for each in state.source.normalizations if each.inverse.size == factors.size)
    return bool(one.all()) and not any(ulps_of_factors(factors, each).max() <= MOST_ULPS for each in like)


def _spread(factors: np.ndarray, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    return factors.reshape([shape[axis] if axis in axes else 1 for axis in range(len(shape))])


def _explain_factors(state: Matching, weight: np.ndarray, tensor: str, found: Scaled) -> bool:
    """Tells whether the original explains the factors of a kernel, and records it or the difference from it.

    A SavedModel stores variables unchanged, so nothing explains factors there.
    """
    if not state.layout.computes:
        return False
    factors = found.factors
    candidates = [each for each in state.source.normalizations if each.inverse.size == factors.size]
    measured = sorted(
        ((ulps_of_factors(factors, each), each) for each in candidates), key=lambda pair: np.median(pair[0])
    )
    for ulps, normalization in measured:
        if ulps.max() <= MOST_ULPS:
            state.record_folding(normalization, ("inverse",), float(ulps.max()))
            return True
    if explained(weight, found, state.source):
        return True
    for ulps, normalization in measured[:1]:
        if _mostly_equal(ulps, normalization.inverse) or ulps.max() <= _NEARLY:
            off = ulps > MOST_ULPS
            error = np.abs(factors - normalization.inverse)[off]
            state.record_difference(normalization, ("gamma", "moving_variance"), tensor, error)
            return True
    return False


def _mostly_equal(ulps: np.ndarray, expected: np.ndarray) -> bool:
    """Tells whether a vector equals another, not uniform one in at least half of its elements, from their distances."""
    return ulps.size > 1 and 2 * int((ulps <= MOST_ULPS).sum()) >= ulps.size and bool((expected != expected[0]).any())


def match_folded_vectors(state: Matching) -> None:
    """Finds biases that contain a normalization's shift, and vectors that contain only a normalization."""
    candidates_by_length: dict[int, Shifts] = {}
    for constant in state.unexplained():
        length = constant.array.size
        if length < 1 or constant.array.dtype.kind != "f" or max(constant.array.shape, default=0) != length:
            continue
        stored = constant.array.reshape(-1)
        if length not in candidates_by_length:
            biases = [(w.name, w.array) for w in state.source.weights if w.array.shape == stored.shape]
            candidates_by_length[length] = shifts(length, state.source.normalizations, biases)
        ulps = candidates_by_length[length].ulps(stored)
        if len(ulps) and not _explained_by_normalization(state, constant, candidates_by_length[length], ulps):
            _mostly_explained(state, constant, candidates_by_length[length], ulps)


def _explained_by_normalization(state: Matching, constant: Constant, candidates: Shifts, ulps: np.ndarray) -> bool:
    furthest = ulps.max(axis=1)
    if not (furthest <= MOST_ULPS).any():
        return False
    first = int(np.argmax(furthest <= MOST_ULPS))
    constant.known = True
    state.record_folding(candidates.normalizations[first], candidates.uses[first], float(furthest[first]))
    return True


def _mostly_explained(state: Matching, constant: Constant, candidates: Shifts, ulps: np.ndarray) -> None:
    most = int(np.argmax((ulps <= MOST_ULPS).sum(axis=1)))
    value = candidates.values[most]
    if _mostly_equal(ulps[most], value):
        constant.known = True
        off = ulps[most] > MOST_ULPS
        bias = next((w for w in state.source.weights if w.name in candidates.uses[most]), None)
        error = np.abs(constant.array.reshape(-1) - value)[off]
        if bias is not None:
            state.folded.add(bias.name)
        what = ("gamma", "beta", "moving_mean", "moving_variance")
        state.record_difference(candidates.normalizations[most], what, constant.tensor, error)
