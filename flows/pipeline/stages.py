"""Describes the stages of a release and runs them on plain threads; Prefect runs the same stages as tasks.

In: functions, as `StagePlan`s. Out: `Stage`s, and `run_on_threads`, the engine without Prefect. `flows.prefect.tasks`
has the other engine.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from exporters.errors import BadInput, Broken, Cancelled
from flows.progress.events import Event, Listener, StageWork, perform
from validators.contract import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Describes one step of a release, ready to run.

    Attributes:
        name: shown to people: `admission`, `export onnx/default`, `cell onnx/default onnxruntime cpu`.
        needs: names of the stages that must have succeeded before.
        run: does the work; the run that made the stage keeps its result.
        device: where a cell is asked to run; None for every other stage.
        waits: called with what the stage waits for before its work starts.
    """

    name: str
    needs: tuple[str, ...]
    run: Callable[[], None]
    device: Device | None = None
    waits: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """Describes a stage before it has a listener; `stages_of` turns it into a `Stage`.

    Attributes:
        name: as in `Stage`.
        needs: names of the stages that must have succeeded before.
        work: does the stage's work.
        device: where a cell is asked to run; None for every other stage.
    """

    name: str
    needs: tuple[str, ...] = ()
    work: StageWork
    device: Device | None = None


class Engine(Protocol):
    """Runs stages: `run_on_threads`, or `flows.prefect.tasks.run_as_tasks` with its argument `ended` bound."""

    def __call__(self, stages: Sequence[Stage], *, cancel: Callable[[], None]) -> None:
        """Runs every stage as soon as what it needs is done; see `run_on_threads`."""


def stages_of(plans: Sequence[StagePlan], listen: Listener, *, total: int | None = None) -> tuple[Stage, ...]:
    """Builds stages that report when they start and end.

    Args:
        plans: one for each stage, in an order in which needs come first.
        listen: called for every event, from any thread; for a wait, from the thread of the stage that waits.
        total: number of stages of the whole run; None when `plans` are all of them.
    """
    total = len(plans) if total is None else total
    return tuple(
        Stage(
            name=plan.name,
            needs=plan.needs,
            run=partial(perform, plan.name, plan.work, total=total, listen=listen),
            device=plan.device,
            waits=partial(_report_wait, plan.name, total, listen),
        )
        for plan in plans
    )


def _report_wait(name: str, total: int, listen: Listener, message: str) -> None:
    listen(Event(stage=name, state="waiting", message=message, total=total))


def run_on_threads(stages: Sequence[Stage], *, cancel: Callable[[], None]) -> None:
    """Runs every stage on its own thread as soon as the stages it needs are done.

    A thread has a copy of the caller's context variables: inside of a Prefect task a listener logs to that task.

    Args:
        stages: in an order in which needs come first.
        cancel: ends the work of running stages; called when a stage raised or the run is interrupted.

    Raises:
        ParitygateError: what a stage raised; bad input before anything else, since it explains the rest.
    """
    with ThreadPoolExecutor(max_workers=max(1, len(stages)), thread_name_prefix="stage") as pool:
        futures: dict[str, Future[None]] = {}
        try:
            for stage in stages:
                needed = [futures[name] for name in stage.needs]
                futures[stage.name] = pool.submit(copy_context().run, _after, needed, stage.run)
            wait(futures.values(), return_when=FIRST_EXCEPTION)
            if any(future.done() and future.exception() for future in futures.values()):
                cancel()
        except BaseException:
            cancel()  # the pool waits for its threads, and they for their jobs
            raise
    raise_first([error for future in futures.values() if (error := future.exception())])


def _after(needed: Sequence[Future[None]], run: Callable[[], None]) -> None:
    for future in needed:
        future.result()
    run()


def raise_first(errors: Sequence[BaseException]) -> None:
    """Raises the error that helps the user most, if there is any: bad input, then broken stages, then the rest."""
    ranked = sorted(errors, key=_rank)
    if ranked:
        raise ranked[0]


def _rank(error: BaseException) -> int:
    if isinstance(error, BadInput):
        return 0
    if isinstance(error, Cancelled):
        return 3  # a consequence of something else
    return 1 if isinstance(error, Broken) else 2
