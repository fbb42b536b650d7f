"""What the gate asks beside parity: whether the samples exercise the model, and whether copies do its task as well.

In: the grounds of a release, and its cells. Out: reasons. Pure.
"""

from collections.abc import Iterator

from validators.contract import Cell, Reason, Task
from validators.manifest import Grounds

WEAK = "weak evidence"
WORSE = "worse at the task"


def weak(grounds: Grounds) -> Iterator[Reason]:
    """The outputs that the samples hardly exercise."""
    for name, coverage in sorted(grounds.coverage.items()):
        if coverage.weak:
            yield Reason(code=WEAK, subject=f"output {name}", message=coverage.why)


def unmeasured(task: Task | None) -> Iterator[Reason]:
    """A margin over a task that nobody measured stands against the release."""
    if task is None:
        message = "the policy sets a task_margin, and the samples have no labels that a metric fits"
        yield Reason(code=WORSE, subject="policy", message=message)


def worse_at_task(cell: Cell, task: Task | None, margin: float) -> Reason | None:
    """Why a cell does the user's task worse than the margin allows; `>=` is False for NaN, so NaN is worse."""
    if task is None or cell.task is None or cell.task >= task.original - margin:
        return None
    message = (
        f"{task.metric} over {task.rows} labelled rows is {cell.task:.6g}, the original's {task.original:.6g}; "
        f"allowed is {margin:g} less"
    )
    return Reason(code=WORSE, subject=cell.key, message=message)
