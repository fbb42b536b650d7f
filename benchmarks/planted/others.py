"""What others demand of a conversion by default, applied to the very tensors that paritygate compares.

* Optimum: `numpy.allclose(reference, actual, atol=1e-5)` for every output, of which a failure is a warning
  (`optimum/exporters/onnx/convert.py`, `validate_model_outputs`; `ATOL_FOR_VALIDATION` of the ONNX configurations).
* Polygraphy: every element within 1e-5 absolute or within 1e-5 relative (`polygraphy/comparator/compare.py`,
  `CompareFunc.simple`, error statistic `elemwise`).
* onnx2tf: `numpy.allclose` with 1e-4 absolute and no relative part (`onnx2tf/onnx2tf.py`,
  `check_onnx_tf_outputs_elementwise_close_atol` and `_rtol`).
* LiteRT's `gpu_numerics_check`: no element beyond 1e-4, the mean within 1e-5 (`litert/tools`).

None of them says what NaN on one side means; numpy's comparisons with NaN are false, so the first three see one that
the reference does not have, and a maximum or mean that is NaN exceeds no threshold. Outputs that are no numbers are not
looked at.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

Pair = tuple[np.ndarray, np.ndarray]
"""Reference and actual of one output."""


_POLYGRAPHY = 1e-5


def _optimum(reference: np.ndarray, actual: np.ndarray) -> bool:
    return bool(np.allclose(reference, actual, atol=1e-5))


def _polygraphy(reference: np.ndarray, actual: np.ndarray) -> bool:
    distance = np.abs(actual - reference)
    with np.errstate(all="ignore"):
        relative = distance / np.abs(reference)
    return bool(((distance <= _POLYGRAPHY) | (relative <= _POLYGRAPHY)).all())


def _onnx2tf(reference: np.ndarray, actual: np.ndarray) -> bool:
    return bool(np.allclose(reference, actual, rtol=0.0, atol=1e-4))


def _litert(reference: np.ndarray, actual: np.ndarray) -> bool:
    distance = np.abs(actual - reference)
    return not (distance.max(initial=0.0) > 1e-4 or distance.mean() > 1e-5)  # noqa: PLR2004 - the tool's own thresholds


CRITERIA: Mapping[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "Optimum": _optimum,
    "Polygraphy": _polygraphy,
    "onnx2tf": _onnx2tf,
    "LiteRT check": _litert,
}


def caught(pairs: Sequence[Pair]) -> dict[str, bool]:
    """Which of them would have noticed something in any of the outputs."""
    numbers = [(a.astype("float64"), b.astype("float64")) for a, b in pairs if a.dtype.kind in "iuf"]
    return {
        name: any(a.shape != b.shape or not accepts(a, b) for a, b in numbers) for name, accepts in CRITERIA.items()
    }
