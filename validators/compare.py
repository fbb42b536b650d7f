"""Compares a runtime's outputs with the reference: names first, then each tensor.

In: two sets of tensors under canonical names and a tolerance for each output. Out: one `TensorDiff` for every output
that either side has. Pure: no I/O, no logging, no clock. Nothing is matched by order or by shape, nothing is
broadcast, nothing is skipped; a difference is data, never an exception.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from validators.contract import TensorDiff, Tensors, Tolerance, Worst
from validators.tolerance import dtype_name

MISSING = "missing output"
EXTRA = "extra output"
DTYPE = "dtype mismatch"
SHAPE = "shape mismatch"
NONFINITE = "nonfinite mismatch"
EXCEEDED = "tolerance exceeded"
CONSTANT = "constant output"
NOTHING = "nothing compared"
PROBLEMS = (MISSING, EXTRA, DTYPE, SHAPE, NONFINITE, EXCEEDED, CONSTANT, NOTHING)
"""Every value that `TensorDiff.problem` takes when the comparison did not pass."""

_BLOCK = 1 << 20
_EXACT = Tolerance(atol=0.0, rtol=0.0, reason="exact")


def compare(
    reference: Tensors,
    actual: Tensors,
    *,
    sample_set: str,
    tolerances: Mapping[str, Tolerance | None],
    dtypes: Mapping[str, str] | None = None,
) -> tuple[TensorDiff, ...]:
    """Compares all outputs over one sample set.

    Args:
        reference: what the original computed.
        actual: what the artifact computed, also outputs that nobody knows.
        sample_set: its name, for the records.
        tolerances: an entry for every reference output (`validators.tolerance.tolerances`); None demands equality.
            Integers, booleans and text are always compared exactly.
        dtypes: outputs that the target is known to deliver in another type of the same kind than the reference's,
            by name (TF.js: int64 becomes int32). Everything else must have the reference's own type.

    Returns:
        One record for each output: the reference's in its order, then the unexpected ones by name. Never empty:
        where there was nothing to compare, that is a record whose problem is `nothing compared`.

    Raises:
        KeyError: a reference output has no entry in `tolerances`.
    """
    diffs = []
    if not reference:
        diffs.append(_unmeasured("", sample_set, NOTHING, f"the reference has no outputs, got {_names(actual)}"))
    for name, expected in reference.items():
        allowed = tolerances[name]
        dtype = (dtypes or {}).get(name, dtype_name(expected))
        problem, what = _incomparable(name, expected, actual, dtype)
        if problem:
            diffs.append(_unmeasured(name, sample_set, problem, f"output `{name}` {what}"))
        else:
            diffs.append(_compare_values(name, sample_set, expected, actual[name], allowed))
    for name in sorted(set(actual) - set(reference)):
        message = f"output `{name}` is not one of the model's: {_names(reference)}"
        diffs.append(_unmeasured(name, sample_set, EXTRA, message))
    return tuple(diffs)


def _names(tensors: Tensors) -> str:
    return ", ".join(f"`{name}`" for name in sorted(tensors)) or "none"


def _unmeasured(name: str, sample_set: str, problem: str, message: str) -> TensorDiff:
    """The record of an output whose elements could not be compared at all."""
    return TensorDiff(
        name=name,
        sample_set=sample_set,
        problem=problem,
        message=message,
        elements=0,
        failing=0,
        max_abs=None,
        max_rel=None,
        nonfinite_mismatches=0,
        worst=None,
        tolerance=None,
    )


def _incomparable(name: str, expected: np.ndarray, actual: Tensors, dtype: str) -> tuple[str, str]:
    """The problem that forbids comparing any value, and the predicate of its sentence; two empty strings if none."""
    if name not in actual:
        return MISSING, f"is missing, got {_names(actual)}"
    got = actual[name]
    if dtype_name(got) != dtype or _kind(got) != _kind(expected):
        return DTYPE, f"has dtype {dtype_name(got)}, expected {dtype} (the model's: {dtype_name(expected)})"
    if got.shape != expected.shape:
        return SHAPE, f"has shape {list(got.shape)}, expected {list(expected.shape)}"
    if not expected.size:
        return NOTHING, f"has no elements: its shape is {list(expected.shape)}"
    return "", ""


def _compare_values(
    name: str, sample_set: str, expected: np.ndarray, got: np.ndarray, allowed: Tolerance | None
) -> TensorDiff:
    allowed = allowed if _kind(expected) == "real" else None
    measure = _measure(expected, got, allowed)
    index = tuple(int(i) for i in np.unravel_index(measure.worst, expected.shape))
    worst = Worst(index=index, reference=_text(expected[index]), actual=_text(got[index]))
    problem, what = _judge(measure, expected, got, allowed)
    return TensorDiff(
        name=name,
        sample_set=sample_set,
        problem=problem,
        message=f"output `{name}`: {what}; {_sentence(worst, allowed)}" if problem else "",
        elements=expected.size,
        failing=measure.failing,
        max_abs=measure.max_abs,
        max_rel=measure.max_rel,
        nonfinite_mismatches=measure.nonfinite,
        worst=worst,
        tolerance=allowed,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measure:
    """How far two tensors of one shape lie apart: fields as in `TensorDiff`, and `worst` as a flat index.

    `severity` orders worst elements: first the kind of fault (2 NaN or infinity, 1 beyond the tolerance, 0 none), then
    how far it goes.
    """

    failing: int
    nonfinite: int
    max_abs: float | None
    max_rel: float | None
    severity: tuple[int, float]
    worst: int


def _judge(measure: _Measure, expected: np.ndarray, got: np.ndarray, allowed: Tolerance | None) -> tuple[str, str]:
    """The named problem and what happened; two empty strings when there is none.

    The more telling name wins: an output that became NaN or constant exceeds its tolerance as well.
    """
    size = expected.size
    if measure.nonfinite:
        return NONFINITE, f"{measure.nonfinite} of {size} elements differ in NaN or infinity"
    if _is_constant(got) and _varies(expected, allowed):
        return CONSTANT, "the same value for every sample, while the reference varies"
    if measure.failing:
        limit = "beyond the tolerance" if allowed else "not equal"
        return EXCEEDED, f"{measure.failing} of {size} elements are {limit}"
    return "", ""


def _sentence(worst: Worst, allowed: Tolerance | None) -> str:
    limit = f" (allowed: {allowed.atol:.3g} + {allowed.rtol:.3g} * |reference|)" if allowed else ""
    return f"worst at {list(worst.index)}: expected {worst.reference}, got {worst.actual}{limit}"


def _kind(array: np.ndarray) -> str:
    """The family of types in which values compare; the rest (bfloat16 and its like are `V`) counts as real."""
    name = dtype_name(array)
    return name if name == "string" else {"i": "integer", "u": "integer", "b": "bool"}.get(array.dtype.kind, "real")


def _measure(expected: np.ndarray, got: np.ndarray, allowed: Tolerance | None) -> _Measure:
    """Measures two tensors of the same kind and shape.

    Flat, so that scalars need no case of their own, and in blocks, so that the float64 copies and masks of a tensor
    of gigabytes (64 segmentation maps) stay small.
    """
    expected, got = expected.reshape(-1), got.reshape(-1)
    kind = _kind(expected)
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
    return _Measure(
        failing=sum(block.failing for block in blocks),
        nonfinite=sum(block.nonfinite for block in blocks),
        max_abs=max((block.max_abs for block in blocks if block.max_abs is not None), default=None),
        max_rel=max((block.max_rel for block in blocks if block.max_rel is not None), default=None),
        severity=max(block.severity for block in blocks),
        worst=max(blocks, key=lambda block: block.severity).worst,
    )


def _measure_text(expected: np.ndarray, got: np.ndarray) -> _Measure:
    """Text is equal or not; TensorFlow hands out bytes, others str: both are compared as UTF-8."""
    failing = np.array([_utf8(a) != _utf8(b) for a, b in zip(expected.tolist(), got.tolist(), strict=True)])
    count = int(np.count_nonzero(failing))
    worst = int(np.argmax(failing))
    return _Measure(failing=count, nonfinite=0, max_abs=None, max_rel=None, severity=(min(count, 1), 0.0), worst=worst)


def _measure_integers(expected: np.ndarray, got: np.ndarray) -> _Measure:
    """Integers and booleans are equal or not.

    The distance is taken modulo 2^64, the larger minus the smaller: neither unsigned nor signed subtraction can
    overflow into a small number, and ids beyond 2^53 keep their last bit.
    """
    a, b = expected.astype(np.uint64), got.astype(np.uint64)
    distance = np.where(expected > got, a - b, b - a).astype(np.float64)
    count = int(np.count_nonzero(expected != got))
    everywhere = np.ones(expected.shape, dtype=bool)
    worst = int(np.argmax(distance))
    return _Measure(
        failing=count,
        nonfinite=0,
        max_abs=_largest(distance, everywhere),
        max_rel=_largest_relative(distance, np.abs(expected.astype(np.float64)), everywhere),
        severity=(min(count, 1), float(distance[worst])),
        worst=worst,
    )


def _measure_real(expected: np.ndarray, got: np.ndarray, allowed: Tolerance) -> _Measure:
    """Floating numbers, measured in float64 (complex128): float16 cannot overflow and denormals survive.

    NaN agrees with NaN and an infinity with the same infinity. Thresholds are asked as `distance <= limit`, which is
    False for NaN, so NaN can only fail.
    """
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    a, b = expected.astype(wide, copy=False), got.astype(wide, copy=False)
    finite = np.isfinite(a) & np.isfinite(b)
    nonfinite = ~(finite | (a == b) | (np.isnan(a) & np.isnan(b)))
    with np.errstate(invalid="ignore", over="ignore"):  # Inf - Inf is masked; an overflow is Inf, which fails
        distance = np.where(finite, np.abs(a - b), 0.0)
        magnitude = np.abs(a)
        limit = np.where(finite, allowed.atol + allowed.rtol * magnitude, 0.0)
    failing = nonfinite | ~(distance <= limit)
    if nonfinite.any():
        rank, score = 2, nonfinite
    elif failing.any():
        rank, score = 1, np.where(failing, distance - limit, -np.inf)
    else:
        rank, score = 0, distance
    worst = int(np.argmax(score))
    return _Measure(
        failing=int(np.count_nonzero(failing)),
        nonfinite=int(np.count_nonzero(nonfinite)),
        max_abs=_largest(distance, finite),
        max_rel=_largest_relative(distance, magnitude, finite),
        severity=(rank, float(score[worst])),
        worst=worst,
    )


def _largest(values: np.ndarray, where: np.ndarray) -> float | None:
    """The largest value where the mask holds, held below infinity, for which JSON has no number."""
    return min(float(np.max(values, where=where, initial=0.0)), sys.float_info.max) if where.any() else None


def _largest_relative(distance: np.ndarray, magnitude: np.ndarray, where: np.ndarray) -> float | None:
    measurable = where & (magnitude > 0)
    with np.errstate(over="ignore"):  # a denormal reference makes the ratio infinite
        ratio = np.divide(distance, magnitude, out=np.zeros_like(distance), where=measurable)
    return _largest(ratio, measurable)


def _rows(array: np.ndarray) -> np.ndarray:
    """What must not all be the same: the rows of the sample set, or the elements where there is one row only."""
    return array if array.ndim and len(array) > 1 else array.reshape(-1)


def _is_constant(array: np.ndarray) -> bool:
    rows = _rows(array)
    return bool(np.all(rows == rows[:1]))


def _varies(array: np.ndarray, allowed: Tolerance | None) -> bool:
    """True when some row lies beyond the tolerance from the first row."""
    rows = _rows(array)
    return _measure(np.broadcast_to(rows[:1], rows.shape), rows, allowed).failing > 0


def _utf8(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="surrogateescape")


def _text(value: object) -> str:
    """The shortest text that reads back as the same value of the same type; text itself is quoted."""
    return repr(value) if isinstance(value, str | bytes) else str(value)
