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


def find_swapped(weights: Sequence[SourceWeight], matches: Mapping[str, SourceWeight]) -> list[WeightDifference]:
    """Returns the weights that were swapped.

    Args:
        weights: all of the source.
        matches: constant -> the weight that it holds bit by bit.
    """
    layers = {weight.layer for weight in weights}
    readings = [{tensor: _layer(tensor, layers, numbered) for tensor in matches} for numbered in (True, False)]
    agreed = [sum(weight.layer == reading[tensor] for tensor, weight in matches.items()) for reading in readings]
    reading, agree = readings[int(np.argmax(agreed))], max(agreed)
    named = {tensor: layer for tensor, layer in reading.items() if layer}
    if not named or agree < _SURE * len(named) - 2:
        return []
    strange = {
        t: layer for t, layer in named.items() if layer != matches[t].layer and _differs(weights, matches[t], layer)
    }
    differences = []
    for tensor, layer in strange.items():
        stored = matches[tensor]
        mutual = [t for t, other in strange.items() if other == stored.layer and matches[t].layer == layer]
        if mutual and (counterpart := next((w for w in weights if w.layer == layer and _alike(w, stored)), None)):
            differences.append(
                WeightDifference(
                    kind="swapped",
                    weight=counterpart.name,
                    layer=counterpart.layer,
                    tensor=tensor,
                    elements=int((counterpart.array != stored.array).sum()),
                    ulps=None,
                    max_abs=float(np.abs(counterpart.array.astype("float64") - stored.array.astype("float64")).max()),
                    into=stored.name,
                )
            )
    return differences


def _alike(weight: SourceWeight, other: SourceWeight) -> bool:
    """Tells whether two weights have the same role, shape and type in their layers, so that they could be swapped."""
    same = weight.name.rpartition("/")[2] == other.name.rpartition("/")[2]
    return same and weight.array.shape == other.array.shape and weight.array.dtype == other.array.dtype


def _differs(weights: Sequence[SourceWeight], stored: SourceWeight, layer: str) -> bool:
    """Tells whether the layer has one weight of that role and shape, with other values."""
    same_role = [weight for weight in weights if weight.layer == layer and _alike(weight, stored)]
    return len(same_role) == 1 and bool((same_role[0].array != stored.array).any())


def _layer(tensor: str, layers: set[str], numbered: bool) -> str:
    """Returns the one layer that a constant is named after; empty where it is none or several."""
    steps = tensor.replace(";", "/").split("/")
    names = [step.rstrip(_NUMBER).removesuffix("_") if numbered else step for step in steps]
    owners = {name for name in names if name in layers}
    return owners.pop() if len(owners) == 1 else ""
