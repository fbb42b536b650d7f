"""Holds the state of one comparison of an artifact's constants with the source's weights."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from exporters.contract import WeightDifference
from exporters.weights.source_weights import Normalization, SourceWeight, SourceWeights
from exporters.weights.weight_layout import WeightLayout


@dataclass(slots=True)
class Piece:
    """Holds a weight or a part of one, and the name of the constant that equals it."""

    weight: SourceWeight
    array: np.ndarray
    constant: str = ""


@dataclass
class Constant:
    """Holds a constant or a part of one; `known` once a weight explains it."""

    tensor: str
    array: np.ndarray
    known: bool = False

    @cached_property
    def values(self) -> tuple[int, int]:
        """Returns `values_of` its array."""
        return values_of(self.array)


def values_of(array: np.ndarray) -> tuple[int, int]:
    """Returns the size and the sum of all bits: the same for equal values, in any order and type."""
    if array.dtype.kind == "c":
        return array.size, values_of(np.real(array))[1] ^ values_of(np.imag(array))[1]
    bits = np.ascontiguousarray(array.astype("float64") + 0.0).view("uint64")  # minus zero equals zero
    return array.size, int(bits.sum(dtype="uint64"))


@dataclass(slots=True)
class Matching:
    """Holds the state of one comparison: which constants and weights are explained."""

    layout: WeightLayout
    source: SourceWeights
    pieces: list[Piece]
    constants: list[Constant]
    folded: set[str] = field(default_factory=set)
    ulps: float = 0.0
    differences: list[WeightDifference] = field(default_factory=list)
    _by_values: dict[tuple[int, int], list[Constant]] = field(default_factory=dict)
    _indexed: int = 0

    def unexplained(self, size: int | None = None) -> list[Constant]:
        """Returns the constants that nothing explains yet."""
        return [c for c in self.constants if not c.known and size in {None, c.array.size}]

    def of_equal_values(self, array: np.ndarray) -> list[Constant]:
        """Returns the constants that may hold exactly the values of an array."""
        if self._indexed != len(self.constants):
            self._by_values.clear()
            for constant in self.constants:
                self._by_values.setdefault(constant.values, []).append(constant)
            self._indexed = len(self.constants)
        return self._by_values.get(values_of(array), [])

    def unmatched(self) -> list[Piece]:
        """Returns the pieces of weights that were not found yet."""
        return [piece for piece in self.pieces if not piece.constant and piece.weight.name not in self.folded]

    def record_folding(self, normalization: Normalization, uses: Sequence[str], ulps: float) -> None:
        """Records that a constant contains the weights that it was computed from.

        Args:
            normalization: that the constant was computed from.
            uses: `inverse`, `shift`, or the name of a bias.
            ulps: units in the last place between the constant and the value computed from these weights.
        """
        of = {"inverse": ("gamma", "moving_variance"), "shift": ("beta", "moving_mean", "gamma", "moving_variance")}
        names = {name for use in uses for name in of.get(use, ())}
        self.folded |= {weight.name for weight in self._of(normalization, names)}
        self.folded |= {use for use in uses if use not in of}
        self.ulps = max(self.ulps, ulps)

    def record_difference(
        self, normalization: Normalization, what: Sequence[str], tensor: str, error: np.ndarray
    ) -> None:
        """Records that the constant `tensor` was computed from other values than these weights of a normalization."""
        if weights := self._of(normalization, what):
            self.folded |= {weight.name for weight in weights}
            which = "|".join(weight.name.rpartition("/")[2] for weight in weights)
            self.differences.append(changed(weights[0], tensor, error, which))

    def _of(self, normalization: Normalization, names: Collection[str]) -> list[SourceWeight]:
        weights = [weight for weight in self.source.weights if weight.layer == normalization.layer]
        return [weight for weight in weights if weight.name.rpartition("/")[2] in names]


def changed(weight: SourceWeight, tensor: str, error: np.ndarray, which: str = "") -> WeightDifference:
    """Builds the record of a weight that is stored with other values, which differ by `error`.

    `which` names several weights of one layer, as in `gamma|beta`.
    """
    name = f"{weight.name.rpartition('/')[0]}/{which}" if which else weight.name
    return WeightDifference(
        kind="changed",
        weight=name,
        layer=weight.layer,
        tensor=tensor,
        elements=int(error.size),
        ulps=None,
        max_abs=float(error.max()),
    )
