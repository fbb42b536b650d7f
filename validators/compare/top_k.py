"""Compares the decisions of a classifier: which entry of an output's last axis is the largest.

In: reference and actual of one floating output, and its tolerance. Out: `Decisions`, or None where there is nothing to
choose from. Pure. Where the reference's best entry leads by no more than twice the tolerance, it is a tie: each of the
two entries may move by the tolerance, so that either may win.
"""

import numpy as np

from validators.contract import Decisions, Flip, Tolerance

TOP = 5
MOST_FLIPS = 5
_LEAST_RANK = 2  # rows, and an axis of entries
_MOST_ELEMENTS = 1 << 22  # beyond it sorting takes longer than comparing; such outputs are maps, not decisions


def decisions(reference: np.ndarray, actual: np.ndarray, allowed: Tolerance) -> Decisions | None:
    """Compares the decisions of one output.

    A row in which either side is not finite decides nothing and is left out.

    Args:
        reference: real numbers, rows first, entries last.
        actual: of the same shape.
        allowed: the output's tolerance.

    Returns:
        None where the output has fewer than two entries to choose from, no row that decides, or over four million
        elements.
    """
    if reference.ndim < _LEAST_RANK or reference.shape[-1] < _LEAST_RANK or reference.dtype.kind == "c":
        return None
    if reference.size > _MOST_ELEMENTS:
        return None
    entries = reference.shape[-1]
    a, b = (side.reshape(-1, entries).astype(np.float64) for side in (reference, actual))
    (deciding,) = np.nonzero(np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1))
    if not deciding.size:
        return None
    a, b = a[deciding], b[deciding]
    k = min(TOP, entries)
    ranked = np.argsort(-a, axis=1, kind="stable")[:, :k], np.argsort(-b, axis=1, kind="stable")[:, :k]
    chosen, other = ranked[0][:, 0], ranked[1][:, 0]
    rows = np.arange(len(a))
    best, second = a[rows, chosen], a[rows, ranked[0][:, 1]]
    room = 2 * (allowed.atol + allowed.rtol * np.abs(best))
    same = chosen == other
    margins = best - a[rows, other]
    flipped = sorted(np.flatnonzero(~same).tolist(), key=lambda row: (-margins[row], row))[:MOST_FLIPS]
    return Decisions(
        compared=len(a),
        ties=int(np.count_nonzero(~(best - second > room))),
        top1=int(np.count_nonzero(same)),
        topk=int(np.count_nonzero((np.sort(ranked[0], axis=1) == np.sort(ranked[1], axis=1)).all(axis=1))),
        k=k,
        flips=tuple(
            Flip(
                index=tuple(int(i) for i in np.unravel_index(deciding[row], reference.shape[:-1])),
                reference=int(chosen[row]),
                actual=int(other[row]),
                margin=float(margins[row]),
            )
            for row in flipped
        ),
    )
