"""Checks the quality of the evidence: do the samples exercise the model, and do copies reach its task metric?

In: the comparison basis of a release, and its cells. Out: reasons for the gate, in addition to those of parity. Pure.
"""

from collections.abc import Iterator, Sequence

from validators.contract import Cell, ComparisonBasis, Reason, Task

WEAK = "weak evidence"
WORSE = "worse at the task"
_USER = "user"
"""The sample set whose rows have labels."""


def weak(grounds: ComparisonBasis) -> Iterator[Reason]:
    """Yields a reason for each output that the samples hardly exercise."""
    for name, coverage in sorted(grounds.coverage.items()):
        if coverage.weak:
            yield Reason(code=WEAK, subject=f"output {name}", message=coverage.why)


def unmeasured(task: Task | None, cells: Sequence[Cell]) -> Iterator[Reason]:
    """Yields a reason where the policy sets a margin for a task that was not measured, for the original or an artifact.

    An artifact whose shape does not fit the user's rows cannot be measured, and gives no reason. One whose runtimes had
    no time for all rows gives one.

    Args:
        task: of the original.
        cells: those of the release, not of attestations.
    """
    if task is None:
        message = "the policy sets a task_margin, and the samples have no labels that a metric fits"
        yield Reason(code=WORSE, subject="policy", message=message)
        return
    passed = [cell for cell in cells if cell.status == "passed"]
    for key in dict.fromkeys(f"{cell.format}/{cell.variant}" for cell in passed):
        of_artifact = [cell for cell in passed if f"{cell.format}/{cell.variant}" == key]
        if all(cell.task is None and _could_be_fed(cell) for cell in of_artifact):
            message = f"no cell measured {task.metric} over all {task.rows} labelled rows; raise limits.sample_seconds"
            yield Reason(code=WORSE, subject=key, message=message)


def _could_be_fed(cell: Cell) -> bool:
    return _USER not in cell.skipped or cell.skipped[_USER].kind == "too slow"


def worse_at_task(cell: Cell, task: Task | None, margin: float) -> Reason | None:
    """Returns a reason where the task metric of a cell is below the original's by more than the margin."""
    if task is None or cell.task is None or cell.task >= task.original - margin:  # False for NaN, so NaN is worse
        return None
    message = (
        f"{task.metric} over {task.rows} labelled rows is {cell.task:.6g}, the original's {task.original:.6g}; "
        f"allowed is {margin:g} less"
    )
    return Reason(code=WORSE, subject=cell.key, message=message)
