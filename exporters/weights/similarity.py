"""Tells whether a constant resembles a weight so much that it must be a changed copy of it.

Rounded to half precision or to small integers it is the same weight stored in another type. Otherwise it has to equal
the weight in half of its elements, or differ in all of them by at most 0.2 %, or, where there are enough elements, be
nearer to the weight than half of the weight's norm: so far does training move a weight from one epoch to the next, and
an unrelated constant is never so near.
"""

from typing import Any

import numpy as np

from exporters.contract import WeightDifference
from exporters.weights.source_weights import SourceWeight

_NEAR = 0.5
"""|stored - weight| / |weight| of a weight of rank 2 or more."""
_CLOSE = 2e-3
"""The same for vectors, which have fewer elements; element by element."""
ENOUGH = 8
"""Elements with which a likeness is no accident."""
_CORRELATED = 0.99
"""Small integers are a weight when they are proportional to it up to their own rounding."""


def difference(
    weight: SourceWeight, array: np.ndarray, tensor: str, stored: np.ndarray
) -> tuple[float, WeightDifference] | None:
    """Returns the relative distance of a constant from a weight that it resembles, and the record of the difference.

    Args:
        weight: whose name and layer are recorded.
        array: its values, or those of a part of it.
        tensor: the constant's name.
        stored: its values, in the order of `array`.
    """
    if array.dtype.kind != "f" or not weight.varied:
        return None
    if stored.dtype.kind in "iu":
        return _quantized(weight, array, tensor, stored)
    if stored.dtype.kind != "f" and stored.dtype.name != "bfloat16":
        return None
    if into := _rounded_to(array, stored):
        return 0.0, _record(weight, array, tensor, stored, kind="rounded", into=into)
    if stored.dtype != array.dtype:
        return None
    off = array != stored
    distance = float(np.linalg.norm(_wide(stored) - _wide(array)) / max(float(np.linalg.norm(_wide(array))), 1e-300))
    few = array.size > 1 and 2 * int(off.sum()) <= array.size
    close = bool((np.abs(_wide(stored) - _wide(array)) <= _CLOSE * np.abs(_wide(array))).all())
    near = array.ndim > 1 and array.size >= ENOUGH and distance < _NEAR
    return (distance, _record(weight, array, tensor, stored, kind="changed")) if few or close or near else None


def ulps_between(first: np.ndarray, second: np.ndarray) -> int:
    """Returns the largest distance of two arrays of one floating type in units in the last place."""
    integer = f"i{first.dtype.itemsize}"
    a, b = (
        np.ascontiguousarray(each).view(integer).astype(object if integer == "i8" else "i8") for each in (first, second)
    )
    lowest = -(2 ** (8 * first.dtype.itemsize - 1))
    a, b = (np.where(each < 0, lowest - each, each) for each in (a, b))
    return int(np.abs(a - b).max()) if first.size else 0


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype("float64")


def _rounded_to(array: np.ndarray, stored: np.ndarray) -> str:
    """Returns the narrower type that a constant's values were rounded to, or that it is stored in; else empty."""
    import ml_dtypes

    for name, dtype in {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}.items():
        narrower = np.dtype(dtype).itemsize < array.dtype.itemsize
        with np.errstate(over="ignore"):
            if narrower and bool((array.astype(dtype).astype(array.dtype) == stored.astype(array.dtype)).all()):
                return name
    return ""


def _quantized(
    weight: SourceWeight, array: np.ndarray, tensor: str, stored: np.ndarray
) -> tuple[float, WeightDifference] | None:
    if array.size < ENOUGH or array.ndim < 2 or stored.itemsize > 2:  # noqa: PLR2004 - matrices as int8 or int16
        return None
    # One scale for the whole weight, or one for each output channel.
    flat, got = _wide(array).reshape(-1, array.shape[-1]), _wide(stored).reshape(-1, array.shape[-1])
    scale = np.abs(flat).max(axis=0) / np.maximum(np.abs(got).max(axis=0), 1)
    for candidate in (got, got * scale):
        if candidate.std() and np.corrcoef(flat.reshape(-1), candidate.reshape(-1))[0, 1] > _CORRELATED:
            return 0.0, _record(weight, array, tensor, stored, kind="quantized", into=stored.dtype.name)
    return None


def _record(weight: SourceWeight, array: np.ndarray, tensor: str, stored: np.ndarray, **how: Any) -> WeightDifference:
    error = np.abs(_wide(stored) - _wide(array)) if stored.dtype.kind not in "iu" else np.zeros(1)
    return WeightDifference(
        weight=weight.name,
        layer=weight.layer,
        tensor=tensor,
        elements=int((array != stored).sum()),
        ulps=ulps_between(array, stored) if array.dtype == stored.dtype else None,
        max_abs=float(error.max()),
        **how,
    )
