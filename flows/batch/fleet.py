"""The Prefect flow `fleet`: a list of models, released by all workers of a pool.

In: a folder, a pattern or a bucket with models, the folder of their releases, and the terms that hold for all. Out: a
run of a deployment of `flows.prefect.release` for every model, never more than so many at once, the same run for the
same files and terms however often the fleet is started; in Prefect one run with those below it, and the table as a
Markdown artifact. States are those of `flows.batch.nightly`. One model's failure stops no other.

The flow only hands over and looks: one call of the server a second, whatever the number of models. It runs where it is
called, so that it takes no worker's place. Cancelled, it hands over no more; what was handed over goes on.
"""

import time
from collections import deque
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

from exporters.errors import BadInput, ParitygateError
from flows.batch.nightly import Outcome, concluded, found
from flows.config.settings import Settings, Terms
from flows.prefect.release import release_dir, standing_there, unchanged
from flows.prefect.server import failures_named, patiently
from flows.prefect.storage import fetched
from flows.prefect.submit import Submitted, require_deployment, submit
from flows.prefect.tasks import failure

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

DEPLOYMENT = "release/fleet"
_POLL_SECONDS = 1.0
_PAGE = 200
"""Runs that one call of the server tells about, its own limit."""
_EXIT_CODES = {"All proven": 0, "Refused": 1, "Bad input": 2}
"""Of the final states; every other end is 3."""

_told: ContextVar[Sequence[Outcome]] = ContextVar("told", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """What came of a fleet: the final state's name, what came of each model, and the exit code."""

    state: str
    models: tuple[Outcome, ...]
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """How models get to the workers.

    Attributes:
        releases: folder of the release directories, as this machine and the workers see it.
        terms: what every release is held to.
        at_once: how many runs are under way or wait for a worker; twice the number of workers keeps them busy.
        storage: URL of a folder that this machine and the workers reach; None when they see the same paths.
        deployment: `FLOW/NAME` of a deployment of `flows.prefect.release`, one without a concurrency limit of its own.
    """

    releases: Path
    terms: Terms
    at_once: int = 8
    storage: str | None = None
    deployment: str = DEPLOYMENT


def fleet_in_prefect(models: str, how: HandOver) -> Fleet:
    """Runs the flow in this process.

    Args:
        models: as for `flows.batch.nightly`.
        how: they get to the workers.

    Raises:
        ParitygateError: it could not begin, or the server failed.
    """
    state: State[Any] = fleet(models, how, return_state=True)
    outcomes = tuple(_told.get())
    if not outcomes:
        state.result()  # raises what ended it
    name = state.name or state.type.value
    return Fleet(state=name, models=outcomes, exit_code=_EXIT_CODES.get(name, 3))


@flow(name="fleet", flow_run_name="fleet {models}")
def fleet(models: str, how: HandOver) -> "State[Any]":
    """Releases a shelf of models on the workers of a pool.

    Args:
        models: a folder, a pattern or the same in a bucket, as for `nightly`.
        how: they get to the workers.
    """
    try:
        with failures_named(), get_client(sync_client=True) as client:
            require_deployment(client, how.deployment)
            shelf, paths = found(models)
            if "file" not in shelf.protocol and not how.storage:
                raise BadInput(
                    f"{models}: is not a folder that workers see under the same path",
                    next_step="Name a folder or bucket that they reach: --storage URL.",
                )
            outcomes = _through(client, shelf, paths, how)
            _told.set(outcomes)
            return concluded("fleet", models, outcomes)
    except (ParitygateError, OSError) as error:
        return failure(error)


def _through(client: SyncPrefectClient, shelf: Any, paths: Sequence[str], how: HandOver) -> list[Outcome]:
    """Hands over every model, and waits for all; what came of each, in the shelf's order."""
    waiting, ends = deque(paths), dict[str, Outcome]()
    under_way: dict[UUID, list[str]] = {}
    while waiting or under_way:
        while waiting and len(under_way) < how.at_once:
            path = waiting.popleft()
            handed = _handed_over(shelf, path, how)
            if isinstance(handed, Outcome):
                ends[path] = handed
            else:
                under_way.setdefault(handed.run, []).append(path)  # two files of one content may be one run
        for run, state, message in patiently(lambda: _ended(client, tuple(under_way))):
            for path in under_way.pop(run):
                ends[path] = Outcome(model=PurePosixPath(path).name, state=state, message=message)
        if under_way:
            time.sleep(_POLL_SECONDS)
    return [ends[path] for path in paths]


def _handed_over(shelf: Any, path: str, how: HandOver) -> Submitted | Outcome:
    """Gives one model to the server; an outcome where that cannot be, or where its release is there already."""
    name = PurePosixPath(path).name
    try:
        with fetched(shelf, path) as model:
            settings = Settings.model_validate({**how.terms.model_dump(), "model": model})
            settings = settings.model_copy(update={"output": release_dir(settings, how.releases.absolute())})
            if unchanged(settings):
                there = standing_there(settings, "was there")
                return Outcome(model=name, state=there.name or there.type.value, message=there.message or "")
            return submit(settings, storage=how.storage, deployment=how.deployment)
    except BadInput as error:
        return Outcome(model=name, state="Bad input", message=str(error))
    except (ParitygateError, OSError) as error:
        return Outcome(model=name, state="Broken", message=str(error))


def _ended(client: SyncPrefectClient, runs: Sequence[UUID]) -> list[tuple[UUID, str, str]]:
    """Of these runs, those that ended: each with its final state's name and message. One that is gone has ended too."""
    states: dict[UUID, State[Any] | None] = {}
    for begin in range(0, len(runs), _PAGE):
        mine = FlowRunFilter(id=FlowRunFilterId(any_=list(runs[begin : begin + _PAGE])))
        states |= {run.id: run.state for run in client.read_flow_runs(flow_run_filter=mine, limit=_PAGE)}
    gone = [(run, "Broken", f"the run {run} was deleted on the server") for run in runs if run not in states]
    return gone + [
        (run, state.name or state.type.value, state.message or "")
        for run, state in states.items()
        if state is not None and state.is_final()
    ]
