"""Decides how far an output may lie from the reference: one tolerance for each output, with its reason.

In: the reference outputs of one sample set, the original's own rounding (`validators.reference.noise_floor`), and what
the user set by hand. Out: a `Tolerance` for each floating output, None where only equality will do. Pure: no I/O, no
clock; `compare` takes the result as plain data, so another rule can replace this one without touching it.

The rule, whose every number docs/tolerance.md derives and holds against measurements:

    atol = the largest of  MULTIPLE x noise floor
                           LAST_BITS x epsilon x the output's largest magnitude
                           half an epsilon of one, two where the output runs from 0 to 1, but no more than a hundredth
                           of that magnitude
                           on a GPU, GPU_SHARE x that magnitude
    rtol = LAST_BITS x epsilon

Where there is no noise floor (a layer cannot run in float64), or the runtime computes in another type than the
original, a stated default takes its place, coarser since nothing was measured: `_DEFAULTS`.
"""

import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from exporters.contract import Precision
from exporters.errors import BadInput
from validators.contract import PARTS, Device, Noise, Tensors, Tolerance, ToleranceOverride

MULTIPLE = 6.0
"""Times the noise floor. Original and copy both round, which makes two; other kernels and polynomials round up to twice
as much as Keras' own; and over ten thousand rows the largest error is half as large again as over the 256 that were
measured (extremes of a normal variable grow with the square root of 2 ln n: 3.3 to 4.3)."""

LAST_BITS = 2.0
"""Epsilons that any operation may cost, also where float32 happened to be exact: the copy may round where Keras did
not, once when a constant is folded into a weight, and once more when it is applied."""

GPU_SHARE = 1e-5
"""What WGSL lets tanh err absolutely (W3C WGSL, 15.7.4 "Floating Point Accuracy"): 84 epsilon where a processor errs by
one. exp may err by 3 + 2|x| units in the last place, so that a softmax over scores of ten lies within it too, and GLSL
ES 3.00 promises nothing for either."""

_OF_ONE, _OF_A_SHARE = 0.5, 2.0
"""Epsilons of one: for any output, and for one whose every answer lies between 0 and 1 as those of sigmoid and softmax
do. ONNX Runtime computes a sigmoid as 0.5 + p/q, a rational function of some operations near one half: answers of 1e-7
came up to 1.4 epsilon of one off, over a segmentation net whose largest answer is 2e-3."""
_MOST_OF_SCALE = 1e-2
SMALLEST_SCALE = 1e-12
"""An output that is zero everywhere still gets an absolute part above zero: rounding noise is not a failure."""

_ORDER = "runtimes sum in other orders, and small elements inherit the error of the large ones"
_ROUNDS = "every layer rounds to this type; 4 epsilon cover 64 layers of random rounding"
_EPSILON: Mapping[str, float] = {
    "float32": 2.0**-23,
    "complex64": 2.0**-23,
    "float64": 2.0**-52,
    "complex128": 2.0**-52,
    "float16": 2.0**-10,
    "bfloat16": 2.0**-7,
    "tf32": 2.0**-10,
}

# dtype -> (relative part, absolute part as a share of the output's scale, why); docs/tolerance.md, "Without a floor".
_DEFAULTS: Mapping[str, tuple[float, float, str]] = {
    "float32": (1e-4, 1e-5, _ORDER),
    "complex64": (1e-4, 1e-5, _ORDER),
    # The same multiples of the unit roundoff, which is 2^-53 here.
    "float64": (1e-4 * 2.0**-29, 1e-5 * 2.0**-29, _ORDER),
    "complex128": (1e-4 * 2.0**-29, 1e-5 * 2.0**-29, _ORDER),
    "float16": (4 * 2.0**-10, 4 * 2.0**-10, _ROUNDS),
    "bfloat16": (4 * 2.0**-7, 4 * 2.0**-7, _ROUNDS),
    # NVIDIA's TF32 rounds the factors of a product to 10 bits of mantissa and adds in float32.
    "tf32": (4 * 2.0**-10, 4 * 2.0**-10, _ROUNDS),
}


_COMPUTES: Mapping[Precision, str] = {"float16 weights": "float16", "float16": "float16"}
"""Floating type whose default holds for an artifact of reduced precision. Weights that are rounded to half precision
err as much as if every layer rounded to it."""


def dtype_name(array: np.ndarray) -> str:
    """NumPy's name of the element type; `string` for text, be it fixed-width (`U`, `S`) or Python objects."""
    return "string" if array.dtype.kind in "USOT" else array.dtype.name


def scale_of(array: np.ndarray) -> float:
    """The largest finite magnitude in an array of numbers; 0.0 when there is none."""
    largest = float(np.max(np.abs(array), where=np.isfinite(array), initial=0.0))
    return min(largest, sys.float_info.max)


def most_noise(dtype: str) -> float:
    """The share of an output's scale beyond which its distance from float64 is more than rounding.

    That is half of the digits of float32, and four bits of those of half precision.

    Args:
        dtype: the coarsest type in which the original computes.
    """
    return 16 * _EPSILON[dtype] if dtype in {"float16", "bfloat16"} else 2.0**-10


def tolerance(  # noqa: PLR0913 - each part of the rule by its name
    dtype: str,
    scale: float,
    *,
    noise: Noise | None = None,
    share: bool = False,
    device: Device = "cpu",
    atol: float | None = None,
    rtol: float | None = None,
    multiple: float | None = None,
) -> Tolerance | None:
    """The tolerance of one output.

    Args:
        dtype: NumPy's name of the element type of what the runtime delivers, or `string`.
        scale: the largest finite |reference| of this output over the sample set, in the output's unit.
        noise: the original's own rounding; None, or without a floor, for the default of the type.
        share: whether every reference lies between 0 and 1, as probabilities do.
        device: where the cell runs.
        atol: absolute part set by hand, in the output's unit; None keeps the rule's.
        rtol: relative part set by hand; None keeps the rule's.
        multiple: how many times the noise floor, set by hand; None keeps the rule's.

    Returns:
        None for integers, booleans and text: they must be equal, whatever was set by hand (a class id that is off
        by one is another class). For floating types what the module's docstring says, overridden part by part.

    Raises:
        BadInput: a part set by hand is negative, NaN or infinite.
        ValueError: the scale is not a finite number >= 0.
    """
    _check_by_hand("atol", atol)
    _check_by_hand("rtol", rtol)
    _check_by_hand("multiple", multiple)
    if not (math.isfinite(scale) and scale >= 0):
        message = f"the scale of an output is a finite number >= 0, got {scale!r}"
        raise ValueError(message)
    if dtype not in _EPSILON:
        return None
    if noise is None or noise.floor is None:
        absolute, relative, why = _default(dtype, max(scale, SMALLEST_SCALE), noise)
    else:
        absolute, relative, why = _measured(
            dtype,
            max(scale, noise.scale, SMALLEST_SCALE),
            noise,
            of_one=_OF_A_SHARE if share else _OF_ONE,
            device=device,
            multiple=multiple,
        )
    by_hand = [part for part, value in (("atol", atol), ("rtol", rtol)) if value is not None]
    reasons = [f"{' and '.join(by_hand)} set in release.toml"] if by_hand else []
    if None in (atol, rtol):
        reasons.append(why)
    return Tolerance(
        atol=absolute if atol is None else float(atol),
        rtol=relative if rtol is None else float(rtol),
        reason="; ".join(reasons),
    )


def _measured(  # noqa: PLR0913 - each part of the rule by its name
    dtype: str, scale: float, noise: Noise, *, of_one: float, device: Device, multiple: float | None
) -> tuple[float, float, str]:
    """Absolute part, relative part and the reason, from a noise floor."""
    assert noise.floor is not None  # noqa: S101 - the caller asked
    epsilon = _EPSILON[dtype]
    times, whose = (MULTIPLE, "") if multiple is None else (multiple, " (set in release.toml)")
    own = f"{times:g}{whose} times the original's own rounding, {noise.floor:.3g} at most over {noise.rows} rows"
    candidates = {
        own: times * noise.floor,
        f"{LAST_BITS:g} epsilon of {dtype} of the output's largest magnitude, {scale:.4g}": LAST_BITS * epsilon * scale,
        f"{of_one:g} epsilon of {dtype} of one, which sigmoid and softmax add up with": min(
            of_one * epsilon, _MOST_OF_SCALE * scale
        ),
    }
    if device == "gpu":
        candidates[f"what GPUs may err in tanh and exp, {GPU_SHARE:g} of the largest magnitude, {scale:.4g}"] = (
            GPU_SHARE * scale
        )
    why = max(candidates, key=lambda name: candidates[name])
    return candidates[why], LAST_BITS * epsilon, f"{why}; and {LAST_BITS:g} epsilon of each value"


def _default(dtype: str, scale: float, noise: Noise | None) -> tuple[float, float, str]:
    """The same where nothing was measured."""
    relative, share, why = _DEFAULTS[dtype]
    epsilon = _EPSILON[dtype]
    absolute = max(share * scale, min(2 * epsilon, _MOST_OF_SCALE * scale))
    lacking = noise.why if noise and noise.why else "no float64 answer to measure the original's rounding by"
    told = (
        f"{dtype} default, {relative:.2g} of each value plus {share:.2g} of the output's largest magnitude "
        f"({scale:.4g}) or 2 epsilon of one: {why} ({lacking})"
    )
    return absolute, relative, told


def tolerances(  # noqa: PLR0913 - each part of the rule by its name
    reference: Tensors,
    *,
    noise: Mapping[str, Noise] | None = None,
    device: Device = "cpu",
    by_hand: Sequence[ToleranceOverride] = (),
    dtypes: Mapping[str, str] | None = None,
    precision: Precision = "float32",
) -> dict[str, Tolerance | None]:
    """The tolerance of every output of one sample set, by canonical name, as `compare` takes it.

    Args:
        reference: the reference outputs of the whole sample set.
        noise: of each output over such samples; without it the type's default holds.
        device: where the cell runs.
        by_hand: what a policy sets for this cell; of each part the first entry counts that fits an output and has it.
        dtypes: outputs that the target is known to compute in another type than the original (TF.js narrows float64 to
            float32): the tolerance is that type's default, since the original's rounding says nothing of it.
        precision: what the artifact declares. In half precision the tolerance is that type's default; where weights or
            activations are integers, no rule is derived, and a policy has to set both parts.

    Raises:
        BadInput: the artifact's precision has no rule, and a policy leaves out a part of the tolerance of some output.
    """
    found: dict[str, Tolerance | None] = {}
    dtypes = dict(dtypes or {}) | _reduced(reference, precision)
    for name, array in reference.items():
        dtype = dtypes.get(name, dtype_name(array))
        own = None if name in dtypes else (noise or {}).get(name)
        scale = scale_of(array) if dtype in _EPSILON else 0.0
        share = dtype in _EPSILON and _is_share(array)
        parts = _parts([each for each in by_hand if each.output in {"*", name}])
        if dtype in _EPSILON and _is_quantized(precision) and None in (parts["atol"], parts["rtol"]):
            raise BadInput(
                f"no tolerance is derived for an artifact of precision {precision!r}, output {name!r}",
                next_step="Set `atol` and `rtol` in [[policy.tolerances]] for this artifact.",
            )
        found[name] = tolerance(dtype, scale, noise=own, share=share, device=device, **parts)
    return found


def _reduced(reference: Tensors, precision: Precision) -> dict[str, str]:
    """Returns the outputs that an artifact of this precision computes in a coarser type than the original."""
    coarser = _COMPUTES.get(precision)
    if coarser is None:
        return {}
    types = {name: dtype_name(array) for name, array in reference.items()}
    return {name: coarser for name, dtype in types.items() if _EPSILON.get(dtype, math.inf) < _EPSILON[coarser]}


def _is_quantized(precision: Precision) -> bool:
    return precision != "float32" and precision not in _COMPUTES


def _parts(entries: Sequence[ToleranceOverride]) -> dict[str, float | None]:
    """Each part that is set by hand, by the first entry that has it."""
    return {
        part: next((value for entry in entries if (value := getattr(entry, part)) is not None), None) for part in PARTS
    }


def _is_share(array: np.ndarray) -> bool:
    """Tells whether every element is a number from 0 to 1."""
    return array.dtype.kind != "c" and bool(np.all((array >= 0) & (array <= 1)))


def _check_by_hand(part: str, value: float | None) -> None:
    if value is not None and not (math.isfinite(value) and value >= 0):
        raise BadInput(
            f"tolerance `{part}`: got {value!r}, valid is a finite number >= 0",
            next_step=f"Set `{part}` in release.toml to a number such as 1e-4, or leave it out for the default.",
        )
