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
from exporters.weights.layouts import back
from exporters.weights.match_state import Constant, Matching, Piece, changed

_NEARLY = 0.05 * 2**23
"""5 % in units in the last place: factors so close to a normalization's come from another epsilon."""
_SURE = 3
"""Elements for each factor: with fewer, a constant is a multiple of a weight by chance more often than by a fault."""


def in_kernels(state: Matching) -> None:
    """Finds kernels that were multiplied by a normalization, and that normalization."""
    for piece in state.missing():
        if piece.array.ndim <= 1 or not piece.weight.varied or piece.array.dtype.kind != "f":
            continue
        # Converters name most constants after their layer: the likely ones first, where there are hundreds of one size.
        likely = sorted(state.left(piece.array.size), key=lambda constant: piece.weight.layer not in constant.tensor)
        for constant in likely:
            if constant.array.dtype.kind == "f" and _multiplied(state, piece, constant):
                break


def _multiplied(state: Matching, piece: Piece, constant: Constant) -> bool:
    for order in state.layout.orders(piece.array.ndim):
        stored = back(constant.array, piece.array.shape, order)
        found = scaled(piece.array, stored)
        if found is None or _only_itself(state, found.factors):
            continue
        wrong, known = found.off, _take_factors(state, piece.array, constant.tensor, found)
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


def _only_itself(state: Matching, factors: np.ndarray) -> bool:
    """Tells whether every factor is one, and no normalization of the model has such factors."""
    one = ~(np.abs(factors - 1.0) > MOST_ULPS * 2.0**-23)
    like = (each for each in state.source.normalizations if each.inverse.size == factors.size)
    return bool(one.all()) and not any(ulps_of_factors(factors, each).max() <= MOST_ULPS for each in like)


def _spread(factors: np.ndarray, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    return factors.reshape([shape[axis] if axis in axes else 1 for axis in range(len(shape))])


def _take_factors(state: Matching, weight: np.ndarray, tensor: str, found: Scaled) -> bool:
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
            state.fold(normalization, ("inverse",), float(ulps.max()))
            return True
    if explained(weight, found, state.source):
        return True
    for ulps, normalization in measured[:1]:
        if _mostly(ulps, normalization.inverse) or ulps.max() <= _NEARLY:
            off = ulps > MOST_ULPS
            error = np.abs(factors - normalization.inverse)[off]
            state.differ(normalization, ("gamma", "moving_variance"), tensor, error)
            return True
    return False


def _mostly(ulps: np.ndarray, expected: np.ndarray) -> bool:
    """Tells whether a vector equals another, not uniform one in at least half of its elements, from their distances."""
    return ulps.size > 1 and 2 * int((ulps <= MOST_ULPS).sum()) >= ulps.size and bool((expected != expected[0]).any())


def in_vectors(state: Matching) -> None:
    """Finds biases that contain a normalization's shift, and vectors that contain only a normalization."""
    made: dict[int, Shifts] = {}
    for constant in state.left():
        length = constant.array.size
        if length < 1 or constant.array.dtype.kind != "f" or max(constant.array.shape, default=0) != length:
            continue
        stored = constant.array.reshape(-1)
        if length not in made:
            biases = [(w.name, w.array) for w in state.source.weights if w.array.shape == stored.shape]
            made[length] = shifts(length, state.source.normalizations, biases)
        ulps = made[length].ulps(stored)
        if len(ulps) and not _taken(state, constant, made[length], ulps):
            _nearly_taken(state, constant, made[length], ulps)


def _taken(state: Matching, constant: Constant, candidates: Shifts, ulps: np.ndarray) -> bool:
    furthest = ulps.max(axis=1)
    if not (furthest <= MOST_ULPS).any():
        return False
    first = int(np.argmax(furthest <= MOST_ULPS))
    constant.known = True
    state.fold(candidates.normalizations[first], candidates.uses[first], float(furthest[first]))
    return True


def _nearly_taken(state: Matching, constant: Constant, candidates: Shifts, ulps: np.ndarray) -> None:
    most = int(np.argmax((ulps <= MOST_ULPS).sum(axis=1)))
    value = candidates.values[most]
    if _mostly(ulps[most], value):
        constant.known = True
        off = ulps[most] > MOST_ULPS
        bias = next((w for w in state.source.weights if w.name in candidates.uses[most]), None)
        error = np.abs(constant.array.reshape(-1) - value)[off]
        if bias is not None:
            state.folded.add(bias.name)
        what = ("gamma", "beta", "moving_mean", "moving_variance")
        state.differ(candidates.normalizations[most], what, constant.tensor, error)
