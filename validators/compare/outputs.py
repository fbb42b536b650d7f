"""Compares a runtime's outputs with the reference: names first, then each tensor.

In: two sets of tensors under canonical names and a tolerance for each output. Out: one `TensorDiff` for every output
that either side has. Pure: no I/O, no logging, no clock. Nothing is matched by order or by shape, nothing is
broadcast, nothing is skipped; a difference is data, never an exception.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from validators.compare.distances import Measure, kind_of, measure
from validators.compare.error_histogram import histogram
from validators.compare.tolerance import dtype_name
from validators.compare.top_k import decisions
from validators.contract import Noise, TensorDiff, Tensors, Tolerance, Worst

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


def compare(  # noqa: PLR0913 - two sides and what is known of them, named at every call
    reference: Tensors,
    actual: Tensors,
    *,
    sample_set: str,
    tolerances: Mapping[str, Tolerance | None],
    noise: Mapping[str, Noise] | None = None,
    exact: Tensors | None = None,
) -> tuple[TensorDiff, ...]:
    """Compares all outputs over one sample set.

    Args:
        reference: what the original computed.
        actual: what the artifact computed, also outputs that the model does not have; another type is a mismatch.
        sample_set: its name, for the records.
        tolerances: an entry for every reference output (`validators.compare.tolerance.tolerances`); None demands
            equality. Integers, booleans and text are always compared exactly.
        noise: the original's own, by output; recorded with the distance, where there is any.
        exact: integer and boolean outputs as the original computes them in float64. Where they differ from the
            reference, only rounding decides between the two: it is a tie, and both answers agree.

    Returns:
        One record for each output: the reference's in its order, then the unexpected ones by name. Never empty:
        where there was nothing to compare, that is a record whose problem is `nothing compared`.

    Raises:
        KeyError: a reference output has no entry in `tolerances`.
    """
    diffs = []
    noise, exact = noise or {}, exact or {}
    if not reference:
        diffs.append(unmeasured("", sample_set, NOTHING, f"the reference has no outputs, got {_names(actual)}"))
    for name, expected in reference.items():
        allowed = tolerances[name]
        problem, what = _incomparable(name, expected, actual)
        if problem:
            diffs.append(unmeasured(name, sample_set, problem, f"output `{name}` {what}"))
        else:
            settled = _settled(expected, actual[name], exact.get(name))
            diff = _compare_values(name, sample_set, settled, actual[name], allowed)
            diffs.append(replace(diff, noise=noise[name].floor) if name in noise else diff)
    for name in sorted(set(actual) - set(reference)):
        message = f"output `{name}` is not one of the model's: {_names(reference)}"
        diffs.append(unmeasured(name, sample_set, EXTRA, message))
    return tuple(diffs)


def _settled(expected: np.ndarray, got: np.ndarray, exact: np.ndarray | None) -> np.ndarray:
    """Returns the expected values of a discrete output; a tie is settled as the artifact settled it."""
    if exact is None or exact.shape != expected.shape or kind_of(expected) not in {"integer", "bool"}:
        return expected
    return np.where(got == exact, got, expected)


def _names(tensors: Tensors) -> str:
    return ", ".join(f"`{name}`" for name in sorted(tensors)) or "none"


def unmeasured(name: str, sample_set: str, problem: str, message: str) -> TensorDiff:
    """Builds the record of an output whose elements could not be compared at all."""
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


def _incomparable(name: str, expected: np.ndarray, actual: Tensors) -> tuple[str, str]:
    """Returns the problem that forbids comparing values, and the predicate of its sentence; else two empty strings."""
    if name not in actual:
        return MISSING, f"is missing, got {_names(actual)}"
    got = actual[name]
    if dtype_name(got) != dtype_name(expected):
        return DTYPE, f"has dtype {dtype_name(got)}, expected {dtype_name(expected)}"
    if got.shape != expected.shape:
        return SHAPE, f"has shape {list(got.shape)}, expected {list(expected.shape)}"
    if not expected.size:
        return NOTHING, f"has no elements: its shape is {list(expected.shape)}"
    return "", ""


def _compare_values(
    name: str, sample_set: str, expected: np.ndarray, got: np.ndarray, allowed: Tolerance | None
) -> TensorDiff:
    allowed = allowed if kind_of(expected) == "real" else None
    measured = measure(expected, got, allowed)
    index = tuple(int(i) for i in np.unravel_index(measured.worst, expected.shape))
    worst = Worst(index=index, reference=_text(expected[index]), actual=_text(got[index]))
    problem, what = _judge(measured, expected, got, allowed)
    return TensorDiff(
        name=name,
        sample_set=sample_set,
        problem=problem,
        message=f"output `{name}`: {what}; {_sentence(worst, allowed)}" if problem else "",
        elements=expected.size,
        failing=measured.failing,
        max_abs=measured.max_abs,
        max_rel=measured.max_rel,
        nonfinite_mismatches=measured.nonfinite,
        worst=worst,
        tolerance=allowed,
        needed=measured.needed if allowed else None,
        sqnr_db=measured.sqnr_db,
        cosine=measured.cosine,
        decisions=decisions(expected, got, allowed) if allowed else None,
        errors=histogram(expected, got),
    )


def _judge(measured: Measure, expected: np.ndarray, got: np.ndarray, allowed: Tolerance | None) -> tuple[str, str]:
    """Returns the named problem and what happened; two empty strings when there is none.

    The more specific problem wins: an output that became NaN or constant exceeds its tolerance as well.
    """
    size = expected.size
    if measured.nonfinite:
        return NONFINITE, f"{measured.nonfinite} of {size} elements differ in NaN or infinity"
    if _is_constant(got) and _varies(expected, allowed):
        return CONSTANT, "the same value for every sample, while the reference varies"
    if measured.failing:
        limit = "beyond the tolerance" if allowed else "not equal"
        return EXCEEDED, f"{measured.failing} of {size} elements are {limit}"
    return "", ""


def _sentence(worst: Worst, allowed: Tolerance | None) -> str:
    limit = f" (allowed: {allowed.atol:.3g} + {allowed.rtol:.3g} * |reference|)" if allowed else ""
    return f"worst at {list(worst.index)}: expected {worst.reference}, got {worst.actual}{limit}"


def _rows(array: np.ndarray) -> np.ndarray:
    """Returns the values that must not all be equal: rows of the sample set, or the elements of a single row."""
    return array if array.ndim and len(array) > 1 else array.reshape(-1)


def _is_constant(array: np.ndarray) -> bool:
    rows = _rows(array)
    return bool(np.all(rows == rows[:1]))


def _varies(array: np.ndarray, allowed: Tolerance | None) -> bool:
    """Tells whether some row differs from the first one by more than the tolerance."""
    rows = _rows(array)
    return measure(np.broadcast_to(rows[:1], rows.shape), rows, allowed).failing > 0


def _text(value: object) -> str:
    """Returns the shortest text that reads back as the same value of the same type; text itself is quoted."""
    return repr(value) if isinstance(value, str | bytes) else str(value)
