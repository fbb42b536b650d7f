"""Runs the stages under Prefect: a task run for every stage of the flow that calls it, a state for every outcome.

In: `Stage`s, the same that `flows.pipeline.stages.run_on_threads` takes. Out: task runs named like the stages, and the
final states of `flows.prefect.release` and `flows.prefect.validate`. Prefect retries no task and caches no result: a
parity failure is data, and jobs that infrastructure ended were repeated below, by `exporters.jobs`, up to
`limits.retries` times.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.logging import get_run_logger
from prefect.states import Cancelled as CancelledState
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from exporters.errors import BadInput, Cancelled, ParitygateError
from exporters.formats.registry import EXPORTERS, STATIC_EXPORTERS
from flows.pipeline.stages import Stage, raise_first
from flows.prefect.gpu_concurrency import gpu_slot
from flows.progress.events import Event
from flows.progress.log_levels import PLAIN, Level, level_of
from validators.runtimes.registry import ORIGINAL, RUNTIMES

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from prefect.futures import PrefectFuture

_EXPORTS = (*EXPORTERS, *STATIC_EXPORTERS)
_CELLS = sum(e.format == r.format for e in _EXPORTS for r in RUNTIMES) + sum(r.format == ORIGINAL for r in RUNTIMES)
_OTHER_STAGES = 5  # admission, lowering, reference, noise, verdict
_MOST_STAGES = len(_EXPORTS) + _CELLS + _OTHER_STAGES
THREADS: Any = ThreadPoolTaskRunner(max_workers=_MOST_STAGES)
"""The task runner of our flows: a thread for every stage. `Any`: its future's type is not what `flow` declares."""


def run_as_tasks(stages: Sequence[Stage], *, cancel: Callable[[], None], ended: Mapping[str, Event]) -> None:
    """Runs every stage as a task of the current flow, as soon as the stages it needs have ended.

    Args:
        stages: in an order in which needs come first.
        cancel: ends the work of running stages; called when a stage raised or the run is interrupted.
        ended: the last event of each stage, by name; a listener of the stages fills it.

    Raises:
        ParitygateError: what a stage raised; bad input before anything else, since it explains the rest.
    """
    by_name = {stage.name: stage for stage in stages}
    errors: list[BaseException] = []
    stopping = threading.Event()

    def stop() -> None:
        stopping.set()
        cancel()

    @task(name="stage", task_run_name="{name}")
    def perform(name: str) -> "State[Any]":
        try:
            with gpu_slot(by_name[name], stopping):
                by_name[name].run()
        except BaseException as error:
            errors.append(error)
            stop()  # the other stages cannot help any more
            if isinstance(error, ParitygateError | OSError):
                return failure(error)
            raise
        event = ended[name]
        return Completed(name=event.state.capitalize(), message=event.message)

    futures: dict[str, PrefectFuture[Any]] = {}
    try:
        for stage in stages:
            needed = [futures[name] for name in stage.needs]
            futures[stage.name] = perform.submit(stage.name, return_state=False, wait_for=needed)
        for future in futures.values():
            future.wait()
    except BaseException:
        stop()  # the task runner waits for its threads, and they for their jobs
        raise
    raise_first(errors)


class TaskLog:
    """Writes a stage's waits and its job's lines into the log of its task; a `Listener`.

    It is called from the task's own thread. A line has the level that its program gave it (see
    `flows.progress.log_levels`).
    """

    def __init__(self) -> None:
        self._before: dict[str, Level] = {}

    def __call__(self, event: Event) -> None:
        """Writes the event into the log."""
        if event.state == "waiting" and event.message:
            get_run_logger().warning("waits: %s", event.message)
        elif event.state == "output":
            level = self._before[event.stage] = level_of(event.message, self._before.get(event.stage, PLAIN))
            get_run_logger().log(level.number, "%s", event.message)


def failure(error: Exception) -> "State[Any]":
    """Builds the final state of a stage or a run that raised; raised itself, Prefect would pickle the error."""
    if isinstance(error, Cancelled):
        return CancelledState(message=str(error), data=error)
    return Failed(name="Bad input" if isinstance(error, BadInput) else "Broken", message=str(error), data=error)
