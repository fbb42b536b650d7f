"""Finds two weights of one shape that were swapped: every value is there, but under the other's name.

Constants are named after the layer that uses them (`dense_1/MatMul`), where a format keeps names at all; tracing may
append a number to each. A constant is attributed to a layer only where that reading holds for nearly all of them, and
only two that each hold the other's values are a fault.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from exporters.contract import WeightDifference
from exporters.weights.source_weights import SourceWeight

_SURE = 0.8
_NUMBER = "0123456789"


def swapped(weights: Sequence[SourceWeight], found: Mapping[str, SourceWeight]) -> list[WeightDifference]:
    """Returns the weights that were swapped.

    Args:
        weights: all of the source.
        found: constant -> the weight that it holds bit by bit.
    """
    layers = {weight.layer for weight in weights}
    readings = [{tensor: _layer(tensor, layers, numbered) for tensor in found} for numbered in (True, False)]
    agreed = [sum(weight.layer == reading[tensor] for tensor, weight in found.items()) for reading in readings]
    reading, agree = readings[int(np.argmax(agreed))], max(agreed)
    named = {tensor: layer for tensor, layer in reading.items() if layer}
    if not named or agree < _SURE * len(named) - 2:
        return []
    strange = {t: layer for t, layer in named.items() if layer != found[t].layer and _differs(weights, found[t], layer)}
    differences = []
    for tensor, layer in strange.items():
        there = found[tensor]
        back = [t for t, other in strange.items() if other == there.layer and found[t].layer == layer]
        if back and (own := next((w for w in weights if w.layer == layer and _alike(w, there)), None)):
            differences.append(
                WeightDifference(
                    kind="swapped",
                    weight=own.name,
                    layer=own.layer,
                    tensor=tensor,
                    elements=int((own.array != there.array).sum()),
                    ulps=None,
                    max_abs=float(np.abs(own.array.astype("float64") - there.array.astype("float64")).max()),
                    into=there.name,
                )
            )
    return differences


def _alike(weight: SourceWeight, other: SourceWeight) -> bool:
    """Tells whether two weights have the same role, shape and type in their layers, so that they could be swapped."""
    same = weight.name.rpartition("/")[2] == other.name.rpartition("/")[2]
    return same and weight.array.shape == other.array.shape and weight.array.dtype == other.array.dtype


def _differs(weights: Sequence[SourceWeight], there: SourceWeight, layer: str) -> bool:
    """Tells whether the layer has one weight of that role and shape, with other values."""
    own = [weight for weight in weights if weight.layer == layer and _alike(weight, there)]
    return len(own) == 1 and bool((own[0].array != there.array).any())


def _layer(tensor: str, layers: set[str], numbered: bool) -> str:
    """Returns the one layer that a constant is named after; empty where it is none or several."""
    steps = tensor.replace(";", "/").split("/")
    names = [step.rstrip(_NUMBER).removesuffix("_") if numbered else step for step in steps]
    found = {name for name in names if name in layers}
    return found.pop() if len(found) == 1 else ""
