"""Applies the default criteria of other tools to the same tensors that paritygate compares.

* Optimum (huggingface/optimum): `numpy.allclose(reference, actual, atol=1e-5)`, so 1e-5 relative as well, for every
  output (`optimum/exporters/onnx/convert.py`, `ValidationProcess`; `ATOL_FOR_VALIDATION = 1e-5` in its `base.py`);
  its command line turns a failure into a warning (`AtolError` in `__main__.py`).
* Polygraphy (NVIDIA/TensorRT): an element is a mismatch beyond 1e-5 absolute and beyond 1e-5 relative, or NaN
  (`tools/Polygraphy/polygraphy/comparator/compare.py`, `CompareFunc.simple`: `default_rtol`, `default_atol`, and
  `elemwise` as `default_error_stat`).
* onnx2tf (PINTO0309/onnx2tf): 1e-4 absolute and no relative part (`onnx2tf/onnx2tf.py`, `convert`:
  `check_onnx_tf_outputs_elementwise_close_atol` and `_rtol`), compared here with `numpy.allclose`.
* LiteRT's GPU check (google-ai-edge/LiteRT): no distance above 1e-4, their mean no more than 1e-6, and no more than a
  millionth of the elements beyond 1e-4 (`litert/tools/gpu_numerics_threshold.h`, `DiffThresholdConfig`; flag `epsilon`
  of `gpu_numerics_check.cc`), which for outputs as small as here says nothing that the first does not.

Comparisons with NaN are false: the first three see one that the reference does not have, and for the last a maximum or
mean that is NaN exceeds no threshold. Outputs that are no numbers are not looked at.
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
    return not (distance.max(initial=0.0) > 1e-4 or distance.mean() > 1e-6)  # noqa: PLR2004 - the tool's own thresholds


CRITERIA: Mapping[str, Callable[[np.ndarray, np.ndarray], bool]] = {
    "Optimum": _optimum,
    "Polygraphy": _polygraphy,
    "onnx2tf": _onnx2tf,
    "LiteRT check": _litert,
}


def caught(pairs: Sequence[Pair]) -> dict[str, bool]:
    """Tells which of them would have reported a difference in any of the outputs."""
    numbers = [(a.astype("float64"), b.astype("float64")) for a, b in pairs if a.dtype.kind in "iuf"]
    return {
        name: any(a.shape != b.shape or not accepts(a, b) for a, b in numbers) for name, accepts in CRITERIA.items()
    }
