"""Measures the distance of two tensors of one kind and shape, whatever their values are.

In: reference and actual, of the same shape, and a tolerance. Out: one `Measure`. Pure. NaN, infinities, denormals,
numbers at the limits of their type and text each have their own rule, written where it applies.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from validators.compare.tolerance import dtype_name
from validators.contract import Tolerance

_BLOCK = 1 << 20
_EXACT = Tolerance(atol=0.0, rtol=0.0, reason="exact")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The distance of two tensors of one shape: fields as in `TensorDiff`, and `worst` as a flat index.

    `severity` orders worst elements: first the kind of fault (2 NaN or infinity, 1 beyond the tolerance, 0 none), then
    its size. `powers` are four sums over elements finite in both: reference^2, actual^2, their product and
    difference^2.
    """

    failing: int
    nonfinite: int
    max_abs: float | None
    max_rel: float | None
    severity: tuple[int, float]
    worst: int
    needed: float | None = None
    powers: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)

    @property
    def sqnr_db(self) -> float | None:
        """Computes the signal to noise ratio in dB, see `TensorDiff`; None without signal or noise."""
        signal, _, _, error = self.powers
        ratio = signal / error if signal > 0 and error > 0 else 0.0
        return 10 * math.log10(ratio) if 0 < ratio < math.inf else None

    @property
    def cosine(self) -> float | None:
        """Computes the cosine similarity, see `TensorDiff`; None where a side is all zeros."""
        signal, actual, product, _ = self.powers
        lengths = math.sqrt(signal) * math.sqrt(actual)
        # Rounding may carry the quotient of two parallel vectors beyond one.
        return max(-1.0, min(1.0, product / lengths)) if 0 < lengths < math.inf else None


def kind_of(array: np.ndarray) -> str:
    """Returns the family of types that decides how values compare; the rest (bfloat16 is `V`) counts as real."""
    name = dtype_name(array)
    return name if name == "string" else {"i": "integer", "u": "integer", "b": "bool"}.get(array.dtype.kind, "real")


def measure(expected: np.ndarray, got: np.ndarray, allowed: Tolerance | None) -> Measure:
    """Measures two tensors of the same kind and shape.

    It works on flat arrays, so that scalars need no special case, and in blocks, so that the float64 copies and masks
    of a tensor of gigabytes (64 segmentation maps) stay small.
    """
    expected, got = expected.reshape(-1), got.reshape(-1)
    kind = kind_of(expected)
    blocks = []
    for start in range(0, expected.size, _BLOCK):
        part = slice(start, start + _BLOCK)
        if kind == "string":
            block = _measure_text(expected[part], got[part])
        elif kind == "real":
            block = _measure_real(expected[part], got[part], allowed or _EXACT)
        else:
            block = _measure_integers(expected[part], got[part])
        blocks.append(replace(block, worst=start + block.worst))
    first, second, third, fourth = (sum(parts) for parts in zip(*(block.powers for block in blocks), strict=True))
    return Measure(
        failing=sum(block.failing for block in blocks),
        nonfinite=sum(block.nonfinite for block in blocks),
        max_abs=_most([block.max_abs for block in blocks]),
        max_rel=_most([block.max_rel for block in blocks]),
        severity=max(block.severity for block in blocks),
        worst=max(blocks, key=lambda block: block.severity).worst,
        needed=_most([block.needed for block in blocks]),
        powers=(first, second, third, fourth),
    )


def _most(values: Sequence[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _measure_text(expected: np.ndarray, got: np.ndarray) -> Measure:
    """Compares text for equality; TensorFlow returns bytes, others str: both are compared as UTF-8."""
    failing = np.array([_utf8(a) != _utf8(b) for a, b in zip(expected.tolist(), got.tolist(), strict=True)])
    count = int(np.count_nonzero(failing))
    worst = int(np.argmax(failing))
    return Measure(failing=count, nonfinite=0, max_abs=None, max_rel=None, severity=(min(count, 1), 0.0), worst=worst)


def _measure_integers(expected: np.ndarray, got: np.ndarray) -> Measure:
    """Compares integers and booleans for equality.

    The distance is taken modulo 2^64, the larger minus the smaller: neither unsigned nor signed subtraction can
    overflow into a small number, and ids beyond 2^53 keep their last bit.
    """
    a, b = expected.astype(np.uint64), got.astype(np.uint64)
    distance = np.where(expected > got, a - b, b - a).astype(np.float64)
    count = int(np.count_nonzero(expected != got))
    everywhere = np.ones(expected.shape, dtype=bool)
    worst = int(np.argmax(distance))
    return Measure(
        failing=count,
        nonfinite=0,
        max_abs=_largest(distance, everywhere),
        max_rel=_largest_relative(distance, np.abs(expected.astype(np.float64)), everywhere),
        severity=(min(count, 1), float(distance[worst])),
        worst=worst,
    )


def _measure_real(expected: np.ndarray, got: np.ndarray, allowed: Tolerance) -> Measure:
    """Measures floating numbers in float64 (complex128): float16 cannot overflow and denormals survive.

    NaN agrees with NaN and an infinity with the same infinity. The test is `distance <= limit`, which is False for NaN,
    so NaN can only fail.
    """
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = expected.astype(wide, copy=False), got.astype(wide, copy=False)
    finite = np.isfinite(a) & np.isfinite(b)
    nonfinite = ~(finite | (a == b) | (np.isnan(a) & np.isnan(b)))
    with np.errstate(invalid="ignore", over="ignore"):  # Inf - Inf is masked; an overflow is Inf, which fails
        distance = np.where(finite, np.abs(a - b), 0.0)
        magnitude = np.abs(a)
        relative = np.where(finite, allowed.rtol * magnitude, 0.0)
        limit = np.where(finite, allowed.atol + relative, 0.0)
        powers = _powers(a[finite], b[finite])
    failing = nonfinite | ~(distance <= limit)
    # The worst element is of the worst kind: one NaN matters more than any finite error.
    if nonfinite.any():
        rank, score = 2, nonfinite
    elif failing.any():
        rank, score = 1, np.where(failing, distance - limit, -np.inf)
    else:
        rank, score = 0, distance
    worst = int(np.argmax(score))
    return Measure(
        failing=int(np.count_nonzero(failing)),
        nonfinite=int(np.count_nonzero(nonfinite)),
        max_abs=_largest(distance, finite),
        max_rel=_largest_relative(distance, magnitude, finite),
        severity=(rank, float(score[worst])),
        worst=worst,
        needed=_largest(np.maximum(distance - relative, 0.0), finite),
        powers=powers,
    )


def _powers(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float, float]:
    sides = ((a, a), (b, b), (a, b), (a - b, a - b))
    first, second, third, fourth = (float(np.vdot(one, other).real) for one, other in sides)
    return first, second, third, fourth


def _largest(values: np.ndarray, where: np.ndarray) -> float | None:
    """Returns the largest value where the mask holds, limited to finite numbers, since JSON has no infinity."""
    return min(float(np.max(values, where=where, initial=0.0)), sys.float_info.max) if where.any() else None


def _largest_relative(distance: np.ndarray, magnitude: np.ndarray, where: np.ndarray) -> float | None:
    measurable = where & (magnitude > 0)
    with np.errstate(over="ignore"):  # a denormal reference makes the ratio infinite
        ratio = np.divide(distance, magnitude, out=np.zeros_like(distance), where=measurable)
    return _largest(ratio, measurable)


def _utf8(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")
