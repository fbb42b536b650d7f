"""Faults of runtimes: functions between a sound artifact's runtime and who asks it.

Each takes the inputs of one call, the outputs that the runtime gave, and gives others.
"""

from collections.abc import Callable, Mapping

import numpy as np

Tensors = Mapping[str, np.ndarray]
Answer = Callable[[Tensors, Tensors], dict[str, np.ndarray]]

RARE = 1.97
"""Of inputs between -2 and 2: a value that one element in 130 exceeds."""
_SEVEN, _LONG = 7, 20


def untouched(_inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """Returns what the runtime gave."""
    return dict(outputs)


_COUNTER = np.random.default_rng(0)


def unsteady(_inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """A thousandth of noise, another one in every call."""
    return {name: (a + 1e-3 * _COUNTER.normal(size=a.shape)).astype(a.dtype) for name, a in outputs.items()}


def nan_where_rare(inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """NaN in the rows whose first element is near the end of its range."""
    first = next(iter(inputs.values()))
    rare = first.reshape(len(first), -1)[:, 0] > RARE
    return {name: _where(rare, a, np.nan) for name, a in outputs.items()}


def wrong_at_seven(inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """Right but for the last row of seven."""
    if len(next(iter(inputs.values()))) != _SEVEN:
        return dict(outputs)
    return {name: np.concatenate([a[:-1], a[:1]]) for name, a in outputs.items()}


def mixes_rows(_inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """A hundredth of the batch's mean is taken from every row; alone, a row is right."""
    return {
        name: a - np.float32(0.01) * (a.mean(axis=0, keepdims=True) if len(a) > 1 else 0) for name, a in outputs.items()
    }


def turns_rows(_inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """The rows of a batch come back in the opposite order."""
    return {name: a[::-1].copy() for name, a in outputs.items()}


def wrong_when_long(inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """A percent off where a sequence is longer than twenty."""
    long = next(iter(inputs.values())).shape[1] > _LONG
    return {name: a * np.float32(1.01 if long else 1.0) for name, a in outputs.items()}


class Late:
    """Gives back what it gave to the call before, where that had the same shape."""

    def __init__(self) -> None:
        self._before: dict[str, np.ndarray] = {}

    def __call__(self, _inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
        before, self._before = self._before, dict(outputs)
        return {
            name: before[name] if name in before and before[name].shape == a.shape else a for name, a in outputs.items()
        }


def saturates(_inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """Values end at two."""
    return {name: np.minimum(a, a.dtype.type(2)) for name, a in outputs.items()}


def last_zero(_inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """The last element of every row is zero."""
    copies = {name: np.array(a) for name, a in outputs.items()}
    for a in copies.values():
        a.reshape(len(a), -1)[:, -1] = 0
    return copies


def in_halves(_inputs: Tensors, outputs: Tensors) -> dict[str, np.ndarray]:
    """As if the last layer had been computed in float16."""
    with np.errstate(over="ignore"):
        return {name: a.astype("float16").astype(a.dtype) if a.dtype.kind == "f" else a for name, a in outputs.items()}


def _where(rows: np.ndarray, array: np.ndarray, value: float) -> np.ndarray:
    if array.dtype.kind != "f":
        return array
    copy = np.array(array)
    copy[rows] = value
    return copy
