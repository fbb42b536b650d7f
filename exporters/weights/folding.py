"""Recomputes what converters compute with a batch normalization: kernels times its factors, biases plus its shift.

At inference a normalization is y = x i + (beta - mean i) with i = gamma / sqrt(variance + epsilon). Converters
multiply the kernel before it by i and make b i + beta - mean i of its bias b. Both are computed again here in float64.
A product of float32 numbers, each the result of a few roundings, stays within `MOST_ULPS` units in the last place of
it; a sum within as many of its largest term, of which it may be the small difference.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from exporters.weights.source_weights import Normalization, SourceWeights

MOST_ULPS = 8
"""1 / sqrt, two products, and the rounding of each input: five roundings, and room for an approximate 1 / sqrt."""
_UNIT = 2.0**-23
_TINY = 2.0**-126
_NEAR, _MOST_VECTORS = 1e-4, 2048
_ROWS, _SOME = 3, 8  # rows and elements of each for a first look
_FEW = 0.05
"""Share of the elements that may leave the common factor for a constant still to be a multiple of a weight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """Describes a constant that is a weight times one factor for each channel.

    Attributes:
        axes: of the weight, over which the factor varies; none for a single factor.
        factors: one for each channel; NaN where the weight is all zeros, so that the factor is unknown.
        differs: bool, in the weight's shape: the elements that are not that product.
    """

    axes: tuple[int, ...]
    factors: np.ndarray
    differs: np.ndarray


def scaled(weight: np.ndarray, stored: np.ndarray) -> Scaled | None:
    """Finds the factors by which a constant is a multiple of a weight; None where it is none.

    Args:
        weight: of rank 2 at least.
        stored: of the same shape, in the same order.
    """
    for axes in _channels(weight.ndim):
        count = int(np.prod([weight.shape[axis] for axis in axes], dtype=int))
        if weight.size < 2 * count:  # one element a channel is a multiple of any weight
            continue
        others = [axis for axis in range(weight.ndim) if axis not in axes]
        weight_rows, stored_rows = (
            array.transpose(*axes, *others).reshape(count, -1).astype("float64") for array in (weight, stored)
        )
        if rows := _row_factors(weight_rows, stored_rows):
            factors, differs = rows
            in_order = differs.reshape([weight.shape[axis] for axis in (*axes, *others)]).transpose(
                np.argsort((*axes, *others))
            )
            return Scaled(axes=axes, factors=factors, differs=in_order)
    return None


def _channels(rank: int) -> Iterator[tuple[int, ...]]:
    """Yields the axes that a factor may vary over: outputs, none, any other axis, a depthwise filter's channels."""
    yield (rank - 1,)
    yield ()
    yield from ((axis,) for axis in range(rank - 1))
    yield (rank - 2, rank - 1)


def _row_factors(weight: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the factor of each row, and a mask of the elements that differ; None where more than a few do."""
    if _has_no_common_factor(weight, stored):
        return None
    some = slice(None, None, max(1, weight.shape[1] // 64))
    if _factors_and_differences(weight[:, some], stored[:, some])[1].mean() > 2 * _FEW + 1 / weight[:, some].shape[1]:
        return None
    factors, differs = _factors_and_differences(weight, stored)
    return (factors, differs) if differs.sum() <= max(1, int(_FEW * differs.size)) else None


def _has_no_common_factor(weight: np.ndarray, stored: np.ndarray) -> bool:
    """Tells whether the first rows of numbers have no common factor: most pairs of constants are rejected here."""
    few = np.flatnonzero(weight[:, :_SOME].all(axis=1))[:_ROWS]
    if len(few) < _ROWS or weight.shape[1] < _SOME:
        return False
    ratios = stored[few, :_SOME] / weight[few, :_SOME]
    middle = np.median(ratios, axis=1, keepdims=True)
    return bool((np.abs(ratios - middle) > _NEAR * np.abs(middle)).sum() > ratios.size // 2)


def _factors_and_differences(weight: np.ndarray, stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the median factor of each row, and a mask of the elements that are not the product with it."""
    alive = weight.any(axis=1)
    factors = np.full((len(weight), 1), np.nan)
    with np.errstate(all="ignore"):
        ratios = np.where(weight == 0, np.nan, stored / weight)
        factors[alive] = np.nanmedian(ratios[alive], axis=1, keepdims=True)
    # A channel of zeros has no factor, and differs wherever the constant is not zero.
    product = np.where(weight == 0, 0.0, weight * np.where(np.isfinite(factors), factors, 0.0))
    return factors[:, 0], np.abs(stored - product) > MOST_ULPS / 2 * _UNIT * np.abs(product) + _TINY


def ulps_of_factors(factors: np.ndarray, normalization: Normalization) -> np.ndarray:
    """Measures how far factors are from a normalization's own, in units in the last place of each."""
    return _ulps(factors, normalization.inverse)


def _ulps(factors: np.ndarray, expected: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        ulps = np.abs(factors - expected) / (np.abs(expected) * _UNIT + _TINY)
    return np.where((factors == expected) | np.isnan(factors), 0.0, ulps)


def explained(weight: np.ndarray, found: Scaled, source: SourceWeights) -> bool:
    """Tells whether the original holds the factors that a converter multiplied a weight with, for each channel.

    They are the factors or divisors of one or two normalizations, scaling layers or weights, or the length of the
    weight in that channel (weight normalization), times any single number: a constant of the graph, or the factor of a
    rescaling.

    Args:
        weight: the weight.
        found: the factors by which a constant is a multiple of it.
        source: the original.
    """
    factors = found.factors
    known = np.isfinite(factors)
    finite = factors[known]
    if finite.size < 2 or _proportional(finite, np.ones_like(finite)):  # noqa: PLR2004 - one factor
        return True
    others = tuple(axis for axis in range(weight.ndim) if axis not in found.axes)
    lengths = np.sqrt(np.square(weight.astype("float64")).sum(axis=others)).reshape(-1)
    single = [each[known] for each in _multipliers(factors.size, source)] + [1.0 / lengths[known]]
    return any(_proportional(finite, each) for each in single) or any(
        _proportional(finite, single[one] * single[other]) for one, other in _pairs(finite, single)
    )


def _pairs(factors: np.ndarray, vectors: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Yields the few pairs whose product has the same ratio to the factors in two channels."""
    two = np.flatnonzero(factors)[:2]
    if len(two) == 2 and len(vectors) <= _MOST_VECTORS:  # noqa: PLR2004
        with np.errstate(all="ignore"):
            ratios = np.array([vector[two[1]] / vector[two[0]] for vector in vectors])
            near = np.abs(np.outer(ratios, ratios) / (factors[two[1]] / factors[two[0]]) - 1) < _NEAR
        yield from zip(*(places.tolist() for places in np.nonzero(np.triu(near))), strict=True)


def _multipliers(size: int, source: SourceWeights) -> Iterator[np.ndarray]:
    yield from (each.inverse for each in source.normalizations if each.inverse.size == size)
    vectors = [each for each in source.scales if each.size == size]
    vectors += [
        each.array.reshape(-1).astype("float64")
        for each in source.weights
        if each.array.size == size and each.array.dtype.kind == "f" and each.varied
    ]
    for vector in vectors:
        yield vector
        if (vector != 0).all():
            yield 1.0 / vector


def _proportional(factors: np.ndarray, other: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        ratio = np.where((factors == 0) & (other == 0), np.nan, factors / other)
    common = np.nanmedian(ratio) if not np.isnan(ratio).all() else 1.0
    return bool((_ulps(ratio, np.full_like(ratio, common)) <= 2 * MOST_ULPS).all())


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts:
    """Vectors of one length that a converter may have computed, and the size of the terms that they sum up.

    Attributes:
        normalizations: the normalization of each vector.
        uses: the parts that each was computed from: `inverse`, `shift`, and the name of a bias where it contains one.
        values, terms: float64 [candidates, length].
    """

    normalizations: tuple[Normalization, ...]
    uses: tuple[tuple[str, ...], ...]
    values: np.ndarray
    terms: np.ndarray

    def ulps(self, stored: np.ndarray) -> np.ndarray:
        """Measures how far a stored vector is from each, in units in the last place of its largest term."""
        ulps: np.ndarray = np.abs(stored.astype("float64") - self.values) / (self.terms * _UNIT + _TINY)
        return ulps


def shifts(length: int, normalizations: Sequence[Normalization], biases: Sequence[tuple[str, np.ndarray]]) -> Shifts:
    """Computes every vector of a length that normalizations give, without and with a bias before them."""
    found: list[tuple[Normalization, tuple[str, ...], np.ndarray, np.ndarray]] = []
    for each in normalizations:
        inverse, centre, beta = each.inverse, each.centre, each.beta
        if len(inverse) != length:
            continue
        largest_term = np.maximum(np.abs(beta), np.abs(centre))
        found.append((each, ("inverse",), inverse, np.abs(inverse)))
        found.append((each, ("shift",), beta - centre, largest_term))
        for name, bias in biases:
            moved = bias.astype("float64") * inverse
            found.append((each, ("shift", name), moved + beta - centre, np.maximum(largest_term, np.abs(moved))))
    empty = np.zeros((0, length))
    return Shifts(
        normalizations=tuple(each for each, *_ in found),
        uses=tuple(uses for _, uses, _, _ in found),
        values=np.stack([value for *_, value, _ in found]) if found else empty,
        terms=np.stack([terms for *_, terms in found]) if found else empty,
    )
