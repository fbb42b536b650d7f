"""What the gate asks beside parity: whether the samples exercise the model, and whether copies do its task as well.

In: the grounds of a release, and its cells. Out: reasons. Pure.
"""

from collections.abc import Iterator, Sequence

from validators.contract import Cell, Grounds, Reason, Task

WEAK = "weak evidence"
WORSE = "worse at the task"
_USER = "user"
"""The sample set whose rows have labels."""


def weak(grounds: Grounds) -> Iterator[Reason]:
    """The outputs that the samples hardly exercise."""
    for name, coverage in sorted(grounds.coverage.items()):
        if coverage.weak:
            yield Reason(code=WEAK, subject=f"output {name}", message=coverage.why)


def unmeasured(task: Task | None, cells: Sequence[Cell]) -> Iterator[Reason]:
    """A margin over a task that nobody measured stands against the release: of the original, or of some artifact.

    An artifact whose shape keeps it from the user's rows cannot be measured; one whose runtimes had no time for them
    all could.

    Args:
        task: of the original.
        cells: the release's own.
    """
    if task is None:
        message = "the policy sets a task_margin, and the samples have no labels that a metric fits"
        yield Reason(code=WORSE, subject="policy", message=message)
        return
    passed = [cell for cell in cells if cell.status == "passed"]
    for key in dict.fromkeys(f"{cell.format}/{cell.variant}" for cell in passed):
        mine = [cell for cell in passed if f"{cell.format}/{cell.variant}" == key]
        if all(cell.task is None and _could_be_fed(cell) for cell in mine):
            message = f"no cell measured {task.metric} over all {task.rows} labelled rows; raise limits.sample_seconds"
            yield Reason(code=WORSE, subject=key, message=message)


def _could_be_fed(cell: Cell) -> bool:
    return _USER not in cell.skipped or cell.skipped[_USER].kind == "too slow"


def worse_at_task(cell: Cell, task: Task | None, margin: float) -> Reason | None:
    """Why a cell does the user's task worse than the margin allows; `>=` is False for NaN, so NaN is worse."""
    if task is None or cell.task is None or cell.task >= task.original - margin:
        return None
    message = (
        f"{task.metric} over {task.rows} labelled rows is {cell.task:.6g}, the original's {task.original:.6g}; "
        f"allowed is {margin:g} less"
    )
    return Reason(code=WORSE, subject=cell.key, message=message)
