"""Feeds a whole sample set to a runtime, in as many calls as it takes, and decides when a slow runtime stops early.

In: one call of a runtime, and arrays by rows. Out: its outputs over all rows, whatever batch it takes, or over as many
as `Patience` allows a slow runtime.
"""

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from exporters.errors import BadInput
from validators.compare.tolerance import dtype_name
from validators.contract import SampleSet, Tensors


class UnsteadyOutput(BadInput):
    """An output without rows changes from call to call, so it cannot be compared.

    It is bad input when the original model's output does; an artifact's is a difference (`validators.cells.job`).

    Args:
        output: its name.
        message: its types and shapes from call to call.
    """

    def __init__(self, output: str, message: str) -> None:
        super().__init__(message)
        self.output = output


class Patience:
    """Decides whether a further call is worth the wait.

    A backend in plain JavaScript or on a software GPU may take a minute for one image. The first call always runs;
    another one runs only when all of them together are expected to stay within the time. The time of a row is measured
    call by call and the fastest call counts; the first call also compiles, so it does not predict the second.

    Args:
        bound: returns the seconds for all calls of a cell together and the name of the setting that limits them. It is
            called once, after the first call: only then a runtime knows where it runs.
    """

    def __init__(self, bound: Callable[[], tuple[float, str]]) -> None:
        self._bound = functools.cache(bound)
        self._spent = 0.0
        self._per_row: list[float] = []

    def refuses(self, rows: int) -> str:
        """Returns the reason why a call with so many rows is not made; empty when it is made."""
        if not self._per_row:
            return ""
        seconds, setting = self._bound()
        if len(self._per_row) == 1:  # the first call compiled too, so nothing is known about the second
            expected, forecast = 0.0, ""
        else:
            expected = rows * min(self._per_row)
            forecast = f" and {rows} more row{'s' * (rows > 1)} take about {expected:.1f} s"
        if self._spent + expected <= seconds:
            return ""
        return f"{self._spent:.1f} s were spent{forecast}, {setting} is {seconds:g}"

    def spend(self, rows: int, seconds: float) -> None:
        """Records the seconds of one call."""
        self._spent += seconds
        self._per_row.append(seconds / rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedResult:
    """The result of feeding a sample set.

    Attributes:
        outputs: over all rows that were fed; see `joined`.
        rows: number of rows that were fed.
        stopped: why that is not all of them; empty when it is.
    """

    outputs: Tensors
    rows: int
    stopped: str = ""


def feed(
    infer: Callable[[Tensors], Tensors], arrays: Tensors, batch: int, patience: Patience | None = None
) -> FeedResult:
    """Runs a sample set through a runtime, `batch` rows a call, until patience ends, and joins the outputs.

    A batch-1 artifact is fed row by row this way.

    Args:
        infer: one call of the runtime.
        arrays: inputs with the same number of rows.
        batch: rows a call; the last call takes what is left.
        patience: of the cell; None to feed all, however long it takes.

    Raises:
        UnsteadyOutput: see `joined`.
    """
    sizes: list[int] = []
    outputs: list[Tensors] = []
    whole = _rows(arrays) <= batch
    for part in batches(arrays, batch):
        if patience and (why := patience.refuses(_rows(part))):
            begun = f"{sum(sizes)} of {_rows(arrays)} rows were compared: " if sizes else ""
            return FeedResult(outputs=joined(outputs, sizes), rows=sum(sizes), stopped=f"{begun}{why}")
        started = time.monotonic()
        outputs.append(infer(part))
        sizes.append(_rows(part))
        if patience:
            patience.spend(sizes[-1], time.monotonic() - started)
    return FeedResult(outputs=joined(outputs, sizes, whole=whole), rows=sum(sizes))


def first_rows(reference: Tensors, sample_set: SampleSet, rows: int) -> dict[str, np.ndarray]:
    """Returns the part of a set's reference outputs that belongs to its first rows.

    Args:
        reference: over the whole set, as `joined` made it.
        sample_set: whose outputs these are.
        rows: number of rows that were fed: all, or a multiple of the set's batch.
    """
    calls = -(-rows // sample_set.batch)
    if rows == sample_set.rows:
        return dict(reference)
    # Outputs without a batch axis were stacked call by call. With one row a call both cuts are the same.
    return {
        name: array[:rows] if array.shape[:1] == (sample_set.rows,) else array[:calls]
        for name, array in reference.items()
    }


def batches(arrays: Tensors, batch: int) -> Iterator[dict[str, np.ndarray]]:
    """Splits rows into parts of `batch`; the last part holds what is left."""
    for start in range(0, _rows(arrays), batch):
        yield {name: array[start : start + batch] for name, array in arrays.items()}


def joined(outputs: Sequence[Tensors], sizes: Sequence[int], *, whole: bool = False) -> dict[str, np.ndarray]:
    """Joins the outputs of the calls that a sample set takes.

    An output whose first axis is the batch in every call is concatenated. Any other (a scalar, a matrix without a batch
    axis) has no rows: its calls are stacked along a new first axis, so it is compared call by call, and only with runs
    of the same batches. An output that only some calls gave has fewer rows: `compare` reports a shape mismatch.

    Args:
        outputs: by call.
        sizes: rows fed in each call.
        whole: whether one call takes the whole set; its outputs are returned unchanged. Of a set of several calls that
            was stopped after the first one, outputs without a batch axis are stacked all the same.

    Raises:
        UnsteadyOutput: an output without a batch axis changes its shape or type from call to call.
    """
    if whole:
        (only,) = outputs
        return dict(only)
    names = dict.fromkeys(name for part in outputs for name in part)
    return {
        name: _join_one(name, [(p[name], n) for p, n in zip(outputs, sizes, strict=True) if name in p])
        for name in names
    }


def _rows(arrays: Tensors) -> int:
    return len(next(iter(arrays.values())))


def _join_one(name: str, parts: Sequence[tuple[np.ndarray, int]]) -> np.ndarray:
    arrays = [array for array, _ in parts]
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
