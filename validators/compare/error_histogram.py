"""Counts how many elements of one output differ by how much from the reference.

In: reference and actual, of the same shape. Out: a `Histogram` with bins of half a decade, some dozen numbers. Pure.
"""

import numpy as np

from validators.contract import Histogram

PER_DECADE = 2
_FARTHEST = 20 * PER_DECADE
"""Errors beyond 1e20 and below 1e-20 are counted in the outermost bins, where exact sizes no longer matter."""
_BLOCK = 1 << 20


def histogram(expected: np.ndarray, got: np.ndarray) -> Histogram | None:
    """Counts errors; None for text, which has no distance.

    It works in blocks, as `validators.compare.distances` does: a tensor of gigabytes must not be copied whole.
    """
    if expected.dtype.kind not in "fciubV":
        return None
    expected, got = expected.reshape(-1), got.reshape(-1)
    equal = nonfinite = 0
    bins = np.zeros(2 * _FARTHEST + 1, np.int64)
    for start in range(0, expected.size, _BLOCK):
        wide = np.complex128 if expected.dtype.kind == "c" else np.float64
        a, b = (side[start : start + _BLOCK].astype(wide, copy=False) for side in (expected, got))
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        finite = np.isfinite(a) & np.isfinite(b)
        with np.errstate(over="ignore"):
            errors = np.abs(a[finite & ~same] - b[finite & ~same])
        equal += int(np.count_nonzero(same))
        nonfinite += int(np.count_nonzero(~same & ~finite))
        with np.errstate(divide="ignore"):  # two huge integers may round to the same float64
            places = np.floor(PER_DECADE * np.log10(errors))
        bins += np.bincount(np.clip(places, -_FARTHEST, _FARTHEST).astype(int) + _FARTHEST, minlength=len(bins))
    (used,) = np.nonzero(bins)
    first, end = (int(used[0]), int(used[-1]) + 1) if used.size else (_FARTHEST, _FARTHEST)
    return Histogram(equal=equal, nonfinite=nonfinite, first=first - _FARTHEST, counts=tuple(bins[first:end].tolist()))
