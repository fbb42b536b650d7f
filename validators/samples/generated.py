"""Generates the arrays of a sample set: rows of the user's samples, or values drawn from each input's range.

In: a set of `validators.samples.sample_sets`, and the ranges. Out: arrays by input name. Each input draws from its own
stream (seeded by SHA-256 of seed and name), so two inputs of the same shape never hold the same values, and swapping
them shows. Draws are uniform: unlike a normal draw they need no libm, so a seed gives the same bytes on every machine.
A longer set of one seed begins with the rows of a shorter one.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from exporters.contract import TensorSpec
from validators.contract import SampleSet
from validators.samples.sample_sets import EDGES, spread
from validators.samples.tensor_files import numpy_dtype
from validators.samples.user_samples import UserSamples
from validators.samples.value_ranges import Range, unknown_range

WORDS = ("", "alpha", "beta gamma", "Delta, epsilon!", "Zürich", "unseen 42")
FAR = 64
"""Factor of values beyond the domain: six bits, less than would overflow."""

_TINY = 2.0**-100
"""Its square is zero in float32, so that a division by a norm without an epsilon shows; its products with weights are
normal numbers. Denormal numbers would be useless: TensorFlow's own threads read them as zero, so that a mask over zeros
hides them there but not in other runtimes; and convolutions over them take up to fifty times as long."""


def generate(
    sample_set: SampleSet,
    inputs: Sequence[TensorSpec],
    *,
    user: UserSamples | None = None,
    drawn: Mapping[str, Sequence[str | int]] | None = None,
    ranges: Mapping[str, Range] | None = None,
) -> dict[str, np.ndarray]:
    """Generates the arrays of one set.

    Args:
        sample_set: one of `plan`.
        inputs: the source model's inputs.
        user: the user's samples; needed for the sets with their rows.
        drawn: input -> the pool that its elements are drawn from, whatever its range; other text comes from `WORDS`.
        ranges: input -> its range; that of its type for others.

    Raises:
        ValueError: a set of the user's samples without them.
    """
    if sample_set.origin == "user":
        if user is None:
            message = f"sample set `{sample_set.name}` consists of the user's samples, and none were given"
            raise ValueError(message)
        chosen = spread(user.rows, sample_set.rows)
        return {name: array[chosen] for name, array in user.inputs.items()}
    arrays = {}
    for spec in inputs:
        known = (ranges or {}).get(spec.name) or unknown_range(spec)
        choices = (drawn or {}).get(spec.name, ()) or (WORDS if spec.dtype == "string" else ())
        arrays[spec.name] = _of_one(sample_set, spec, choices, known)
    return arrays


def _of_one(sample_set: SampleSet, spec: TensorSpec, choices: Sequence[str | int], known: Range) -> np.ndarray:
    digest = hashlib.sha256(f"{sample_set.seed}:{spec.name}".encode()).digest()
    stream = np.random.default_rng(int.from_bytes(digest, "big"))
    lengths = sample_set.dynamic or {}
    axes = enumerate(spec.shape[1:], start=1)
    shape = (sample_set.rows, *(lengths[f"{spec.name}[{i}]"] if n is None else n for i, n in axes))
    if choices:
        return _chosen(sample_set, spec, choices, stream, shape)
    dtype = numpy_dtype(spec.dtype)
    if sample_set.origin == "edges":
        return _edges(shape, dtype, known)
    if known.whole:
        low, high = (end.astype(np.int64) for end in (known.low, known.high))
        values = stream.integers(low, high, shape, endpoint=True)
    else:
        values = known.low + stream.uniform(0.0, 1.0, shape) * (known.high - known.low)
    return np.asarray(values * FAR if sample_set.origin == "beyond" and not known.whole else values, dtype)


def _chosen(
    sample_set: SampleSet,
    spec: TensorSpec,
    choices: Sequence[str | int],
    stream: np.random.Generator,
    shape: tuple[int, ...],
) -> np.ndarray:
    """Draws values from a list; for edges takes its entries in turn, one for a whole row."""
    among = np.array(choices, dtype=object if spec.dtype == "string" else None)
    if sample_set.origin == "edges":
        picked = np.arange(shape[0]) % len(choices)
        values = np.broadcast_to(among[picked].reshape(-1, *[1] * (len(shape) - 1)), shape).copy()
    else:
        values = among[stream.integers(0, len(choices), shape)]
    return np.asarray(values, None if spec.dtype == "string" else numpy_dtype(spec.dtype))


def _edges(shape: tuple[int, ...], dtype: np.dtype, known: Range) -> np.ndarray:
    """Builds the rows that `EDGES` names, repeated until there are enough."""
    row = shape[1:]
    low, high = np.broadcast_to(known.low, row), np.broadcast_to(known.high, row)
    alternating = np.where(np.arange(low.size).reshape(row) % 2, high, low)
    zeros, ones = (
        np.clip(np.full(row, value), low, high) if known.whole else np.full(row, value) for value in (0.0, 1.0)
    )
    tiny = zeros if known.whole else np.full(row, _TINY)
    rows = {"zeros": zeros, "ones": ones, "low": low, "high": high, "alternating": alternating, "tiny": tiny}
    return np.stack([rows[EDGES[index % len(EDGES)]] for index in range(shape[0])]).astype(dtype)
