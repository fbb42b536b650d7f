"""Measures how far the original's outputs vary over the samples: an output that hardly varies shows few faults.

In: the reference outputs of every sample set. Out: `OutputVariation` for each output. Pure.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from validators.compare.distances import kind_of
from validators.compare.tolerance import scale_of
from validators.contract import OutputVariation, SampleSet, Tensors

LEAST_SPREAD = 2.0**-10
"""A share of the output's largest magnitude: a classifier that is sure of the same class over all samples varies less,
and so does a dead output. Its numbers may then agree to a thousandth although nothing that varies was compared."""


def output_variation(sets: Sequence[SampleSet], outputs: Mapping[str, Tensors]) -> dict[str, OutputVariation]:
    """Returns the variation of every output; sets beyond the domain do not count.

    Args:
        sets: the sample sets.
        outputs: the reference outputs, by the name of the set.
    """
    counted = [outputs[each.name] for each in sets if each.origin != "beyond"]
    names = dict.fromkeys(name for tensors in counted for name in tensors)
    return {name: _of_one(name, [tensors[name] for tensors in counted if name in tensors]) for name in names}


def _of_one(name: str, arrays: Sequence[np.ndarray]) -> OutputVariation:
    if kind_of(arrays[0]) != "real":
        different = _different(arrays)
        why = f"output `{name}` is the same for all samples" if different < 2 else ""  # noqa: PLR2004 - it varies
        return OutputVariation(spread=float(different), scale=0.0, weak=bool(why), why=why)
    scale = max(map(scale_of, arrays))
    reached = max(map(_range, arrays))
    if reached > LEAST_SPREAD * scale:
        return OutputVariation(spread=reached, scale=scale, weak=False)
    why = f"output `{name}` varies by {reached:.2g} over all samples and is up to {scale:.2g} large"
    return OutputVariation(spread=reached, scale=scale, weak=True, why=why)


def _different(arrays: Iterable[np.ndarray]) -> int:
    """Counts different rows of one length, up to two; elements, where there is one row."""
    rows: dict[int, set[object]] = {}
    for array in arrays:
        count = len(array) if array.ndim and len(array) > 1 else max(array.size, 1)
        flat = array.reshape(count, array.size // count)
        # Bounded: a large row would become a tuple of millions, and its first elements show a difference as well.
        rows.setdefault(flat.shape[1], set()).update(map(tuple, flat[:, : 1 << 16].tolist()))
        if max(map(len, rows.values())) > 1:
            return 2
    return 1


def _range(array: np.ndarray) -> float:
    """Returns the largest range of an element over the rows, or over the elements where there is one row."""
    rows = array if array.ndim and len(array) > 1 else array.reshape(-1)
    rows = rows.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
    finite = np.isfinite(rows)
    parts = (rows.real, rows.imag) if array.dtype.kind == "c" else (rows,)
    largest = 0.0
    for part in parts:
        high = np.max(part, axis=0, where=finite, initial=-np.inf)
        low = np.min(part, axis=0, where=finite, initial=np.inf)
        with np.errstate(invalid="ignore"):  # an element that is never finite: -inf - inf
            spans = np.where(high >= low, high - low, 0.0)
        largest = max(largest, float(np.max(spans, initial=0.0)))
    return min(largest, float(np.finfo(np.float64).max))
