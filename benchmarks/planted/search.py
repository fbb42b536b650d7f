"""The witness of a fault: rows of a model's domain over which its effect is largest, found by search.

Random rows first, the ends of the domain among them; then the best of them are changed a little, again and again, and
what is better stays. Gradients would need the fault to have one; this needs nothing but answers.
"""

from collections.abc import Callable, Mapping

import numpy as np

from benchmarks.planted.models import LENGTHS, Span

Tensors = Mapping[str, np.ndarray]
Infer = Callable[[Tensors], Mapping[str, np.ndarray]]

ROWS = 7
"""Rows of a witness: enough for a batch that no kernel is tuned for."""
_FIRST, _KEPT, _ROUNDS = 140, 7, 12
_MOVED = 0.5
"""Share of the changed rows that are moved as a whole."""


def draw(domain: Mapping[str, Span], rows: int, rng: np.random.Generator, length: int) -> dict[str, np.ndarray]:
    """Rows of a domain.

    Args:
        domain: of the model, by input.
        rows: how many.
        rng: where chance comes from.
        length: of dynamic axes.
    """
    return {name: _drawn(span, rows, rng, length) for name, span in domain.items()}


def _drawn(span: Span, rows: int, rng: np.random.Generator, length: int) -> np.ndarray:
    shape = (rows, *(length if axis is None else axis for axis in span.shape))
    if span.words:
        return np.array(span.words, dtype=object)[rng.integers(0, len(span.words), shape)]
    if np.dtype(span.dtype).kind == "i":
        return rng.integers(int(span.low), int(span.high), shape, endpoint=True).astype(span.dtype)
    return rng.uniform(span.low, span.high, shape).astype(span.dtype)


def witness(domain: Mapping[str, Span], good: Infer, faulty: Infer, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Seven rows over which the two differ most; see the module."""
    dynamic = any(None in span.shape for span in domain.values())
    found = [_climb(domain, good, faulty, rng, length) for length in (LENGTHS if dynamic else LENGTHS[:1])]
    return max(found, key=lambda pair: pair[0])[1]


def _climb(
    domain: Mapping[str, Span], good: Infer, faulty: Infer, rng: np.random.Generator, length: int
) -> tuple[float, dict[str, np.ndarray]]:
    rows = draw(domain, _FIRST, rng, length)
    for name, span in domain.items():
        if not span.words:
            rows[name][0], rows[name][1] = span.low, span.high
    scores = _scores(good, faulty, rows)
    for turn in range(_ROUNDS):
        best = np.argsort(-scores, kind="stable")[:_KEPT]
        kept = {name: array[best] for name, array in rows.items()}
        changed = _mutated(domain, kept, rng, length, strength=0.5 ** (turn / 3))
        rows = {name: np.concatenate([kept[name], changed[name]]) for name in kept}
        scores = np.concatenate([scores[best], _scores(good, faulty, changed)])
    best = np.argsort(-scores, kind="stable")[:ROWS]
    return float(scores[best[0]]), {name: array[best] for name, array in rows.items()}


def _mutated(
    domain: Mapping[str, Span], kept: Tensors, rng: np.random.Generator, length: int, *, strength: float
) -> dict[str, np.ndarray]:
    """Ten changed copies of every row: some elements drawn again, or all of them moved towards something else."""
    copies = 10
    fresh = draw(domain, _KEPT * copies, rng, length)
    changed = {}
    for name, span in domain.items():
        old = np.repeat(kept[name], copies, axis=0)
        mask = rng.random(old.shape) < rng.choice([0.02, 0.1, 0.4], (len(old), *[1] * (old.ndim - 1)))
        made = np.where(mask, fresh[name], old)
        if not span.words and np.dtype(span.dtype).kind == "f":
            step = strength * 0.2 * (span.high - span.low) * rng.normal(size=old.shape)
            moved = np.clip(old + step, span.low, span.high).astype(old.dtype)
            made = np.where(rng.random((len(old), *[1] * (old.ndim - 1))) < _MOVED, moved, made)
        changed[name] = made
    return changed


def _scores(good: Infer, faulty: Infer, rows: Tensors) -> np.ndarray:
    """Returns the distance of both in each row, as shares of each output's largest value; NaN and choices weigh most.

    Fed seven at a time, so that what is wrong in batches of seven shows.
    """
    count = len(next(iter(rows.values())))
    found = []
    for start in range(0, count, ROWS):
        part = {name: array[start : start + ROWS] for name, array in rows.items()}
        expected, got = good(part), faulty(part)
        found.append(
            np.max([_apart(expected[name], got[name], len(next(iter(part.values())))) for name in expected], axis=0)
        )
    return np.concatenate(found)


def _apart(expected: np.ndarray, got: np.ndarray, rows: int) -> np.ndarray:
    a, b = (each.reshape(rows, -1).astype("float64") for each in (expected, got))
    if a.shape != b.shape:
        return np.full(rows, np.inf)
    if expected.dtype.kind != "f":
        different: np.ndarray = (a != b).sum(axis=1)
        return 1e3 * different
    scale = max(float(np.abs(a, where=np.isfinite(a), out=np.zeros_like(a)).max()), 1e-12)
    with np.errstate(all="ignore"):
        distance = np.abs(a - b) / scale
    distance[np.isfinite(a) != np.isfinite(b)] = 1e6
    worst: np.ndarray = np.nan_to_num(distance, nan=0.0, posinf=1e6).max(axis=1)
    return worst
