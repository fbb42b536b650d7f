"""The Prefect flow `release`: a task for every stage, the verdict as its final state.

In: `Settings`, from a deployment's form or from the command line. Out: the release directory, and in Prefect one run
named `release-MODEL-DIGEST` with the matrix as a Markdown artifact. States: Released (completed), Refused, Broken and
Bad input (failed). The stages and what they wait for are those of `flows.run`; nothing is retried and no result cached.
"""

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.runtime import flow_run
from prefect.states import Cancelled as CancelledState
from prefect.states import Completed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

from exporters.errors import BadInput, Broken, Cancelled, ParitygateError
from exporters.registry import EXPORTERS
from flows.run import ReleaseRun
from flows.settings import Settings
from flows.stages import raise_first
from validators.registry import RUNTIMES
from validators.report import markdown

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State
    from prefect.futures import PrefectFuture

_OTHER_STAGES = 4  # admission, lowering, reference, verdict
_MOST_STAGES = len(EXPORTERS) + sum(e.format == r.format for e in EXPORTERS for r in RUNTIMES) + _OTHER_STAGES
_RECORD_SECONDS = 5.0
_THREADS: Any = ThreadPoolTaskRunner(max_workers=_MOST_STAGES)  # Any: its future's type is not what `flow` declares

_warm: ContextVar[ReleaseRun | None] = ContextVar("warm", default=None)


def release_in_prefect(run: ReleaseRun) -> None:
    """Runs the flow in this process over a run that is already open, so that its warm-up overlaps with Prefect's start.

    Args:
        run: opened; `run.manifest` is set when this returns.

    Raises:
        ParitygateError: what a stage raised; bad input before anything else.
        Broken: the Prefect server failed.
    """
    from httpx import HTTPError
    from prefect.exceptions import PrefectException

    before = _warm.set(run)
    try:
        state: State[Any] = release(run.settings, return_state=True)
        _await_records(state.state_details.flow_run_id, len(run.ended))
    except (HTTPError, PrefectException, RuntimeError) as error:  # a stage's own errors are in the state, not raised
        raise Broken(
            f"the Prefect server failed: {type(error).__name__}: {error}",
            next_step="Check PREFECT_API_URL and the server's log; --no-prefect does without a server.",
        ) from error
    finally:
        _warm.reset(before)
    if run.manifest is None:
        state.result(raise_on_failure=True)


def _run_name() -> str:
    """`release-digits-1a2b3c4d`: the model and its digest, so that runs of one file are found together."""
    settings = Settings.model_validate(flow_run.parameters["settings"])
    try:
        with settings.model.open("rb") as stream:
            mark = hashlib.file_digest(stream, "sha256").hexdigest()[:8]
    except OSError:  # admission says so in its own words
        mark = "unreadable"
    return f"release-{settings.model.stem}-{mark}"


@flow(name="release", flow_run_name=_run_name, task_runner=_THREADS)
def release(settings: Settings) -> "State[Any]":
    """Exports one trained Keras model to four formats and releases it only when every copy computes the same thing."""
    try:
        with _opened(settings) as run:
            _run_stages(run)
            return _conclusion(run)
    except (ParitygateError, OSError) as error:
        return _failed(error)


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[ReleaseRun]:
    """The run that the command line has warmed up, else one of our own."""
    if warm := _warm.get():
        yield warm
        return
    with ReleaseRun(settings, lambda _: None) as run:
        run.warm_up()
        yield run


def _run_stages(run: ReleaseRun) -> None:
    stages = {stage.name: stage for stage in run.stages()}
    errors: list[BaseException] = []

    @task(name="stage", task_run_name="{name}")
    def perform(name: str) -> "State[Any]":
        try:
            stages[name].run()
        except BaseException as error:
            errors.append(error)
            run.cancel()  # the other stages cannot help any more
            if isinstance(error, ParitygateError | OSError):
                return _failed(error)
            raise
        ended = run.ended[name]
        return Completed(name=ended.state.capitalize(), message=ended.message)

    futures: dict[str, PrefectFuture[Any]] = {}
    try:
        for stage in stages.values():
            needed = [futures[name] for name in stage.needs]
            futures[stage.name] = perform.submit(stage.name, return_state=False, wait_for=needed)
        for future in futures.values():
            future.wait()
    except BaseException:
        run.cancel()  # the task runner waits for its threads, and they for their jobs
        raise
    raise_first(errors)


def _failed(error: Exception) -> "State[Any]":
    """The final state of a stage or a run that raised; returned and not raised, or Prefect would pickle the error."""
    if isinstance(error, Cancelled):
        return CancelledState(message=str(error), data=error)
    return Failed(name="Bad input" if isinstance(error, BadInput) else "Broken", message=str(error), data=error)


def _conclusion(run: ReleaseRun) -> "State[Any]":
    """Publishes the matrix to Prefect and turns the verdict into a state."""
    manifest = run.manifest
    if manifest is None:
        raise Broken("the stages ended without a verdict")
    name = re.sub(r"[^a-z0-9]+", "-", run.settings.model.stem.lower()).strip("-") or "model"
    create_markdown_artifact(
        markdown.render(manifest), key=f"release-{name}", description=f"{run.settings.release_dir} {run.digest}"
    )
    verdict = manifest.verdict
    if verdict.passed:
        return Completed(name="Released", message=f"{run.settings.release_dir.absolute()} {run.digest}")
    reasons = "\n".join(f"{reason.code}: {reason.subject}: {reason.message}" for reason in verdict.reasons)
    return Failed(name="Refused" if verdict.exit_code == 1 else "Broken", message=reasons)


def _await_records(run_id: UUID | None, count: int) -> None:
    """Waits until the server has recorded how the stages ended: task states travel as events, behind our back."""
    if run_id is None:
        return
    mine = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    deadline = time.monotonic() + _RECORD_SECONDS
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            runs = client.read_task_runs(flow_run_filter=mine)
            if sum(run.state is not None and run.state.is_final() for run in runs) >= count:
                return
            time.sleep(0.05)
