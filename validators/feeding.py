"""Feeding a runtime: a whole sample set through however many calls, and how long to go on with it.

In: one call of a runtime, and arrays by rows. Out: its outputs over all rows, whatever batch it takes; and
`Patience`, which says when a slow runtime has seen enough.
"""

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from exporters.errors import BadInput
from validators.contract import TOO_SLOW, Tensors
from validators.tolerance import dtype_name


class UnsteadyOutput(BadInput):
    """An output without rows changes from call to call, so nothing lines up with it.

    Bad input when the original model does so; when an artifact does, that is a difference (`validators.cell`).

    Args:
        output: its name.
        message: what it was from call to call.
    """

    def __init__(self, output: str, message: str) -> None:
        super().__init__(message)
        self.output = output


class Patience:
    """Decides whether a further sample set is worth the wait.

    A backend in plain JavaScript or on a software GPU may take a minute for one image. The first set always runs;
    another one runs only when the calls over all of them together are expected to stay within the time. What a row
    takes is measured call by call and the fastest call counts, since the first one also compiles: the first set
    should therefore be one of several calls.

    Args:
        seconds: for the calls over all sets together.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._spent = 0.0
        self._per_row: float | None = None

    def refuses(self, rows: int) -> str:
        """Why a set of so many rows is not begun; empty when it is."""
        expected = rows * self._per_row if self._per_row is not None else 0.0
        if self._per_row is None or self._spent + expected <= self._seconds:
            return ""
        return (
            f"{TOO_SLOW}: {self._spent:.1f} s were spent and {rows} more rows take about {expected:.1f} s, "
            f"limits.sample_seconds is {self._seconds:g}"
        )

    def watch(self, infer: Callable[[Tensors], Tensors]) -> Callable[[Tensors], Tensors]:
        """The same call of the runtime, whose rows and seconds are noted every time."""

        def watched(inputs: Tensors) -> Tensors:
            started = time.monotonic()
            outputs = infer(inputs)
            self.spend(_rows(inputs), time.monotonic() - started)
            return outputs

        return watched

    def spend(self, rows: int, seconds: float) -> None:
        """Notes what one call took."""
        self._spent += seconds
        per_row = seconds / rows
        self._per_row = per_row if self._per_row is None else min(self._per_row, per_row)


def feed(infer: Callable[[Tensors], Tensors], arrays: Tensors, batch: int) -> dict[str, np.ndarray]:
    """Runs a whole sample set through a runtime, `batch` rows a call, and joins the outputs.

    A batch-1 artifact is fed row by row this way.

    Args:
        infer: one call of the runtime.
        arrays: inputs with the same number of rows.
        batch: rows a call; the last call takes what is left.

    Raises:
        UnsteadyOutput: see `joined`.
    """
    sizes, outputs = [], []
    for part in batches(arrays, batch):
        sizes.append(_rows(part))
        outputs.append(infer(part))
    return joined(outputs, sizes)


def batches(arrays: Tensors, batch: int) -> Iterator[dict[str, np.ndarray]]:
    """Splits rows into parts of `batch`; the last part holds what is left."""
    for start in range(0, _rows(arrays), batch):
        yield {name: array[start : start + batch] for name, array in arrays.items()}


def joined(outputs: Sequence[Tensors], sizes: Sequence[int]) -> dict[str, np.ndarray]:
    """Joins the outputs of several calls; one call's stay as they are.

    An output whose first axis is the batch in every call is concatenated. Any other (a scalar, a matrix of the model's
    own) has no rows to line up: the calls are stacked along a new first axis, so it is compared call by call, and only
    with runs of the same batches. An output that only some calls gave has fewer rows, which `compare` calls a shape
    mismatch.

    Args:
        outputs: by call.
        sizes: rows fed in each call.

    Raises:
        UnsteadyOutput: an output that is not by rows changes its shape or type from call to call.
    """
    names = dict.fromkeys(name for part in outputs for name in part)
    return {
        name: _join_one(name, [(p[name], n) for p, n in zip(outputs, sizes, strict=True) if name in p])
        for name in names
    }


def _rows(arrays: Tensors) -> int:
    return len(next(iter(arrays.values())))


def _join_one(name: str, parts: Sequence[tuple[np.ndarray, int]]) -> np.ndarray:
    arrays = [array for array, _ in parts]
    if len(arrays) == 1:
        return arrays[0]
    one_type = len({dtype_name(array) for array in arrays}) == 1
    if (
        one_type
        and all(array.shape[:1] == (rows,) for array, rows in parts)
        and len({a.shape[1:] for a in arrays}) == 1
    ):
        return np.concatenate(arrays)
    if one_type and len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    kinds = ", ".join(dict.fromkeys(f"{dtype_name(array)}{list(array.shape)}" for array in arrays))
    message = f"output `{name}` changes from call to call: got {kinds}; valid is the batch as its first axis"
    raise UnsteadyOutput(name, message)
