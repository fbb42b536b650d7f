"""Separates the layers that an artifact computes in one operator. Pure.

In: layers in their order, inputs and outputs of each, and the one wrong tensor that represents all of them. Out: the
same layers, the most likely first, and why. The abilities of a layer decide: an activation can only change its input
element by element, a normalization only channel by channel. Where the wrong tensor is such a function of the layer's
input, this one layer explains the fault; where it is not, a layer before it is at fault.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from validators.diagnosis.contract import Arrays, Call

_ELEMENTWISE = {"Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "Softplus", "Sigmoid", "Swish", "Gelu", "Tanh"}
_CHANNELWISE = {"BatchNormalization", "Normalization", "Rescaling"}
_PADDINGS = {"ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"}
_UNEXPLAINED = 0.1
"""Share of the deviation that may remain unexplained for a layer to count as the cause."""
_BENDS = 2
"""Most values at which an activation may saturate while its other elements still show its input: ReLU 1, ReLU6 2."""
_ON_A_LINE = 2
"""Points that a line always fits exactly."""


def most_likely(
    group: Sequence[Call], *, inputs: Mapping[int, Arrays], outputs: Mapping[int, np.ndarray], tensor: np.ndarray
) -> tuple[list[Call], str]:
    """Orders layers by how likely each is the one at fault.

    Args:
        group: in the order in which they run; the wrong tensor represents the output of the last.
        inputs: of each, by number, as the original computes them from right inputs.
        outputs: the same.
        tensor: the artifact's, in the layout of the last one's output.
    """
    if len(group) == 1:
        return list(group), ""
    explained: dict[Call, tuple[float, str]] = {}
    passed = np.ones(tensor.shape, dtype=bool)  # where the layers behind pass on their input unchanged
    for call in reversed(group):
        got, gave = inputs[call.number], outputs[call.number]
        if len(got) != 1 or got[0].shape != tensor.shape:
            break
        if call.kind in _CHANNELWISE:
            what = f"what `{call.layer}` gets, scaled and shifted by channel"
            explained[call] = _beside_lines(got[0], tensor, gave, passed), what
            break  # its output does not show what the layers before it computed
        if call.kind not in _ELEMENTWISE:
            break
        if passed.all():
            what = f"a function of what `{call.layer}` gets, element by element"
            explained[call] = _between_neighbours(got[0], gave, tensor), what
        saturated = np.unique(gave[gave != got[0]])
        if len(saturated) > _BENDS:
            break
        passed &= ~np.isin(tensor, saturated)
    best = min(explained, key=lambda call: explained[call][0], default=None)
    if best and explained[best][0] <= _UNEXPLAINED:
        return [best, *(other for other in group if other != best)], f"the artifact holds {explained[best][1]}"
    # The fault is in a layer before them. A layer with weights can be wrong in more ways than one without.
    simple = _ELEMENTWISE | _CHANNELWISE | _PADDINGS
    return sorted(
        group, key=lambda call: call.kind in simple
    ), "what differs is nothing that the layers behind it could do"


def _between_neighbours(got: np.ndarray, gave: np.ndarray, tensor: np.ndarray) -> float:
    """Returns the share of the deviation that is not a function of the input.

    Sorted by their inputs, neighbours of a function deviate alike: half the mean square of their differences over the
    variance (von Neumann's ratio) is near 0, of unrelated values it is 1.
    """
    deviation = (tensor - gave).astype(np.float64).ravel()[np.argsort(got, axis=None, kind="stable")]
    variance = float(np.var(deviation))
    return float(np.mean(np.diff(deviation) ** 2)) / 2 / variance if variance else 0.0


def _beside_lines(got: np.ndarray, tensor: np.ndarray, gave: np.ndarray, passed: np.ndarray) -> float:
    """Returns the share of the deviation that remains when a line is fitted to each channel over its input."""
    channels = got.shape[-1]
    x, y = got.reshape(-1, channels).astype(np.float64), tensor.reshape(-1, channels).astype(np.float64)
    right, seen = gave.reshape(-1, channels), passed.reshape(-1, channels)
    left = deviated = 0.0
    for c in range(channels):
        a, b, r = x[seen[:, c], c], y[seen[:, c], c], right[seen[:, c], c]
        if len(a) > 2 * _ON_A_LINE and np.ptp(a) > 0:
            residual = np.sum((b - np.polynomial.Polynomial.fit(a, b, 1)(a)) ** 2)
            left += float(residual) * len(a) / (len(a) - _ON_A_LINE)  # a line fits two degrees of freedom of any values
            deviated += float(np.sum((b - r) ** 2))
    return left / deviated if deviated else 1.0
