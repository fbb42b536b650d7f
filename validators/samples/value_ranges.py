"""Defines the ranges that the values of inputs are drawn from.

In: an input's spec, and what the model implies (`validators.samples.input_domains`). Out: `Range`. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from exporters.contract import TensorSpec
from validators.contract import Domain

_BYTES: Mapping[str, tuple[int, int]] = {"bool": (0, 1), "uint8": (0, 255), "int8": (-128, 127)}
"""Integers whose type is their domain; wider ones are indices or counts, whose domain is smaller than their type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The range of the values of one input.

    Attributes:
        low, high: both included for whole numbers; float64 scalars, or arrays that broadcast against an input's row.
        whole: whether the values are whole numbers.
        why: the reason, in words.
        guessed: whether nothing in the model implies it, so that another range may be better.
    """

    low: np.ndarray
    high: np.ndarray
    whole: bool
    why: str
    guessed: bool = False

    @property
    def domain(self) -> Domain:
        """Returns the range as the manifest records it."""
        return Domain(low=float(np.min(self.low)), high=float(np.max(self.high)), whole=self.whole, why=self.why)


def between(low: object, high: object, *, whole: bool = False, why: str, guessed: bool = False) -> Range:
    """Builds a range from two scalars or arrays in the input's unit."""
    return Range(
        low=np.asarray(low, np.float64), high=np.asarray(high, np.float64), whole=whole, why=why, guessed=guessed
    )


def unknown_range(spec: TensorSpec) -> Range:
    """Returns the range of an input of which only the type is known."""
    if spec.dtype in _BYTES:
        low, high = _BYTES[spec.dtype]
        return between(low, high, whole=True, why=f"every value of {spec.dtype}")
    if spec.dtype.startswith(("int", "uint")):
        return between(0, 1, whole=True, why="nothing in the model says more, and every table has rows 0 and 1")
    if spec.dtype == "string":
        return between(0, 0, why="words, see `validators.samples.generated`")
    return between(-1, 1, why="nothing in the model says more", guessed=True)


OTHER_RANGES: Sequence[tuple[float, float]] = ((0.0, 1.0), (0.0, 255.0), (-8.0, 8.0))
"""Ranges tried in turn where [-1, 1) was guessed and leaves an output nearly constant: shares, bytes, large values."""


def guessing_otherwise(ranges: Mapping[str, Range], ends: tuple[float, float]) -> dict[str, Range]:
    """Returns the same ranges with other ends wherever they were guessed."""
    low, high = ends
    why = "nothing in the model says more, and over [-1, 1) an output hardly varies"
    return {
        name: between(low, high, why=why, guessed=True) if known.guessed else known for name, known in ranges.items()
    }
