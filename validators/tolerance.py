"""How far an output may lie from the reference: one tolerance for each output, with its reason.

In: the reference outputs of one sample set, and what the user set by hand. Out: a `Tolerance` for each floating
output, None where only equality will do. Pure: no I/O, no clock; `compare` takes the result as plain data, so another
rule can replace this one without touching it.

Where the numbers come from. Every runtime computes the same sums in another order, with other instructions (FMA,
SIMD lanes, blocked matrix products) and other polynomials for `exp` or `tanh`. One operation errs by at most the unit
roundoff u (2^-24 for float32); a sum of n terms taken in another order by about sqrt(n) * u of the *terms*, at worst
n * u (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., chapter 4); layers add up. So

* the relative part, 1e-4 for float32, is 1,678 u: room for sums of thousands of terms through dozens of layers;
* a small element is often the difference of large ones, and its error follows *them*: the absolute part is therefore
  a share of the output's scale (its largest finite magnitude over the sample set), 1e-5 or 168 u for float32;
* sigmoid, softmax and their like work with numbers of magnitude one inside (1 / (1 + e)), so that even an output that
  is small everywhere carries the rounding of one: the absolute part is at least 2 epsilon of one (2.4e-7 for
  float32), but never more than a hundredth of the output's scale, so that an output of tiny numbers is still held to
  two digits and an artifact that answers zero fails.

This agrees with what others demand of a conversion in float32: Keras' own tests 1e-6 (ONNX) and 1e-4 (LiteRT),
Polygraphy 1e-5 absolute or relative, LiteRT's GPU check 1e-4 at most, TF.js end-to-end 1e-3, tf2onnx 1e-5 absolute.
"""

import math
import sys
from collections.abc import Mapping

import numpy as np

from exporters.errors import BadInput
from validators.contract import Tensors, Tolerance

SMALLEST_SCALE = 1e-12
"""An output that is zero everywhere still gets an absolute part above zero: rounding noise is not a failure."""

_ORDER = "runtimes sum in other orders, and small elements inherit the error of the large ones"
_ROUNDS = "every layer rounds to this type; {k} epsilon cover 64 layers of random rounding"
_HALF_EPSILONS = 4

_EPSILONS_OF_ONE = 2
_MOST_OF_SCALE = 1e-2
_EPSILON: Mapping[str, float] = {
    "float32": 2.0**-23,
    "complex64": 2.0**-23,
    "float64": 2.0**-52,
    "complex128": 2.0**-52,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "tf32": 2.0**-10,
}

# dtype -> (relative part, absolute part as a share of the output's scale, why)
_DEFAULTS: Mapping[str, tuple[float, float, str]] = {
    "float32": (1e-4, 1e-5, _ORDER),
    "complex64": (1e-4, 1e-5, _ORDER),
    # The same multiples of the unit roundoff, which is 2^-53 here.
    "float64": (1e-4 * 2.0**-29, 1e-5 * 2.0**-29, _ORDER),
    "complex128": (1e-4 * 2.0**-29, 1e-5 * 2.0**-29, _ORDER),
    # Runtimes accumulate in float32 and round each layer's result: 64 roundings in random directions move a value
    # by sqrt(64) = 8 unit roundoffs, which is 4 epsilon (2^-10 for float16, 2^-7 for bfloat16).
    "float16": (_HALF_EPSILONS * 2.0**-10, _HALF_EPSILONS * 2.0**-10, _ROUNDS.format(k=_HALF_EPSILONS)),
    "bfloat16": (_HALF_EPSILONS * 2.0**-7, _HALF_EPSILONS * 2.0**-7, _ROUNDS.format(k=_HALF_EPSILONS)),
    # NVIDIA's TF32 rounds the factors of a product to 10 bits of mantissa and adds in float32.
    "tf32": (_HALF_EPSILONS * 2.0**-10, _HALF_EPSILONS * 2.0**-10, _ROUNDS.format(k=_HALF_EPSILONS)),
}


def dtype_name(array: np.ndarray) -> str:
    """NumPy's name of the element type; `string` for text, be it fixed-width (`U`, `S`) or Python objects."""
    return "string" if array.dtype.kind in "USOT" else array.dtype.name


def scale_of(array: np.ndarray) -> float:
    """The largest finite magnitude in an array of numbers; 0.0 when there is none."""
    largest = float(np.max(np.abs(array), where=np.isfinite(array), initial=0.0))
    return min(largest, sys.float_info.max)


def tolerance(dtype: str, scale: float, *, atol: float | None = None, rtol: float | None = None) -> Tolerance | None:
    """The tolerance of one output.

    Args:
        dtype: NumPy's name of the element type of what the runtime delivers, or `string`.
        scale: the largest finite |reference| of this output over the sample set, in the output's unit.
        atol: absolute part set by hand, in the output's unit; None keeps the default.
        rtol: relative part set by hand; None keeps the default.

    Returns:
        None for integers, booleans and text: they must be equal, whatever was set by hand (a class id that is off
        by one is another class). For floating types the default of the module's docstring, overridden part by part.

    Raises:
        BadInput: a part set by hand is negative, NaN or infinite.
        ValueError: the scale is not a finite number >= 0.
    """
    _check_by_hand("atol", atol)
    _check_by_hand("rtol", rtol)
    if not (math.isfinite(scale) and scale >= 0):
        message = f"the scale of an output is a finite number >= 0, got {scale!r}"
        raise ValueError(message)
    if dtype not in _DEFAULTS:
        return None
    relative, share, why = _DEFAULTS[dtype]
    scale = max(scale, SMALLEST_SCALE)
    absolute = max(share * scale, min(_EPSILONS_OF_ONE * _EPSILON[dtype], _MOST_OF_SCALE * scale))
    return Tolerance(
        atol=absolute if atol is None else float(atol),
        rtol=relative if rtol is None else float(rtol),
        reason="; ".join(_reasons(dtype, scale, atol=atol, rtol=rtol, why=why)),
    )


def tolerances(
    reference: Tensors,
    *,
    atol: float | None = None,
    rtol: float | None = None,
    dtypes: Mapping[str, str] | None = None,
) -> dict[str, Tolerance | None]:
    """The tolerance of every output of one sample set, by canonical name, as `compare` takes it.

    Args:
        reference: the reference outputs of the whole sample set.
        atol: see `tolerance`.
        rtol: see `tolerance`.
        dtypes: outputs that the target is known to deliver in another type than the reference's (TF.js narrows
            float64 to float32): the tolerance is the delivered type's.
    """
    found: dict[str, Tolerance | None] = {}
    for name, array in reference.items():
        dtype = (dtypes or {}).get(name, dtype_name(array))
        found[name] = tolerance(dtype, scale_of(array) if dtype in _DEFAULTS else 0.0, atol=atol, rtol=rtol)
    return found


def _check_by_hand(part: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise BadInput(
            f"tolerance `{part}`: got {value!r}, valid is a finite number >= 0",
            next_step=f"Set `{part}` in release.toml to a number such as 1e-4, or leave it out for the default.",
        )


def _reasons(dtype: str, scale: float, *, atol: float | None, rtol: float | None, why: str) -> list[str]:
    """The reason in words: first what was set by hand, then the default of what was not."""
    by_hand = [part for part, value in (("atol", atol), ("rtol", rtol)) if value is not None]
    reasons = [f"{' and '.join(by_hand)} set in release.toml"] if by_hand else []
    relative, share, _ = _DEFAULTS[dtype]
    defaults = []
    if rtol is None:
        defaults.append(f"{relative:.2g} of each value")
    if atol is None:
        defaults.append(f"{share:.2g} of the output's largest magnitude ({scale:.4g}) or 2 epsilon of one")
    if defaults:
        reasons.append(f"{dtype} default: {' plus '.join(defaults)}: {why}")
    return reasons
