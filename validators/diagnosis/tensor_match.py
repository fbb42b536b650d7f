"""Finds the output of a layer among an artifact's inner tensors: by value, in any layout.

In: an array in Keras' layout and the artifact's tensors. Out: the tensors nearest to it. Pure. Names inside artifacts
cannot be used: converters fuse, rename and drop them. Values survive every converter, as far as the artifact is right.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

NONFINITE = 1e9
_TINY = 1e-30  # a tensor below it counts as zero: its distances are absolute
_FEW = 512  # elements of the quick comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Records the comparison of one tensor of an artifact with one value of the original.

    Attributes:
        tensor: the artifact's name for it.
        distance: largest |tensor - value| as a share of the largest |value|; see `distance`.
        axes: the order of the value's axes in the artifact, e.g. (0, 3, 1, 2) for channels first.
    """

    tensor: str
    distance: float
    axes: tuple[int, ...]


class Tensors:
    """Indexes the tensors of an artifact for searches.

    Args:
        arrays: by the artifact's names, in the order in which they are computed.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self._arrays = {name: _wide(array) for name, array in arrays.items() if array.dtype.kind in "biufV"}
        self._by_size: defaultdict[int, list[str]] = defaultdict(list)
        for name, array in self._arrays.items():
            self._by_size[array.size].append(name)

    def nearest(self, value: np.ndarray, limit: float = np.inf) -> list[Match]:
        """Returns the tensors within a distance, nearest first; of equal ones the first computed, in its best layout.

        Args:
            value: in Keras' layout.
            limit: as `Match.distance`.
        """
        if value.dtype.kind not in "biufV" or not value.size:
            return []
        layouts = [(axes, np.ascontiguousarray(_wide(value).transpose(axes)).ravel()) for axes in layouts_of(value)]
        found = []
        few = slice(None, None, max(1, value.size // _FEW))
        for name in self._by_size[value.size]:
            tensor = self._arrays[name].ravel()
            # Comparing a few elements first is cheap, and rules out most tensors.
            near = [(axes, flat) for axes, flat in layouts if np.isinf(limit) or _near(flat, tensor, few, limit)]
            distances = [(distance(flat, tensor), axes) for axes, flat in near]
            if distances and (best := min(distances, key=lambda pair: pair[0]))[0] <= limit:
                found.append(Match(tensor=name, distance=best[0], axes=best[1]))
        return sorted(found, key=lambda match: match.distance)

    def like(self, value: np.ndarray, match: Match) -> np.ndarray:
        """Returns the matched tensor in the layout, shape and type of the value."""
        shape = tuple(value.shape[axis] for axis in match.axes)
        array = self._arrays[match.tensor].reshape(shape).transpose(np.argsort(match.axes))
        return array.astype(value.dtype)


def distance(value: np.ndarray, tensor: np.ndarray) -> float:
    """Returns the distance of two flat arrays of one length, as a share of the first one's largest magnitude.

    Elements of which one is NaN or infinite and the other is not the same count `NONFINITE` times their share, so that
    the tensor with the fewest of them is still the nearest.
    """
    finite = np.isfinite(value) & np.isfinite(tensor)
    same = finite | (value == tensor) | (np.isnan(value) & np.isnan(tensor))
    scale = float(np.max(np.abs(value), where=finite, initial=0.0))
    differences = np.abs(np.subtract(value, tensor, where=finite, out=np.zeros(value.shape)))
    largest = float(np.max(differences, initial=0.0)) / (scale if scale > _TINY else 1.0)
    return largest + NONFINITE * float(np.mean(~same))


def _near(flat: np.ndarray, tensor: np.ndarray, few: slice, limit: float) -> bool:
    """Returns False when a few elements show that the tensors are further apart; the scale may only be larger."""
    scale = float(np.max(np.abs(flat), where=np.isfinite(flat), initial=0.0))
    differences = np.abs(flat[few] - tensor[few])
    return not bool(np.any(differences > limit * (scale if scale > _TINY else 1.0)))


def layouts_of(value: np.ndarray) -> Iterator[tuple[int, ...]]:
    """Yields orders of axes in which an artifact may hold a value: Keras' own, channels first, time first."""
    rank = value.ndim
    keras_order = tuple(range(rank))
    yield keras_order
    if rank > 2:  # noqa: PLR2004 - with fewer axes the others are the same, or a transposed matrix
        yield (0, rank - 1, *range(1, rank - 1))
        yield (1, 0, *range(2, rank))


def _wide(array: np.ndarray) -> np.ndarray:
    return array if array.dtype == np.float64 else array.astype(np.float64)
