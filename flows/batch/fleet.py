"""Releases a list of models on all workers of a pool: the Prefect flow `fleet`.

In: a folder, a pattern or a bucket with models, the folder of their releases, and the terms for all of them. Out: a run
of a deployment of `flows.prefect.release` for every model, with a limit on runs at one time, and a Markdown table as an
artifact. A second fleet over the same files and terms finds the same runs. States are those of
`flows.batch.loop_in_prefect`. One model's failure stops no other.

The flow only submits runs and polls: one call of the server a second, whatever the number of models. It runs where it
is called, so that it takes no worker. After a cancel it submits no more; submitted runs go on.
"""

import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.states import Failed

from exporters.errors import BadInput, ParitygateError
from flows.batch.loop_in_prefect import ModelOutcome, final_state, find_models, release_each
from flows.config.settings import Settings, Terms
from flows.prefect.release import standing_there, unchanged
from flows.prefect.server import failures_named, patiently
from flows.prefect.submit import require_deployment, submit
from flows.prefect.tasks import failure

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

DEPLOYMENT = "release/fleet"
_POLL_SECONDS = 1.0
_PAGE = 200
"""The most runs that one call of the server returns, a limit of the server."""
_EXIT_CODES = {"All proven": 0, "Refused": 1, "Bad input": 2}
"""Exit codes by final state; 3 for every other one."""

_outcomes: ContextVar[Sequence[ModelOutcome]] = ContextVar("outcomes", default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Reports the end of a fleet: the final state's name, the outcome of each model, and the exit code."""

    state: str
    models: tuple[ModelOutcome, ...]
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """Sets how models get to the workers and what is demanded of them.

    Attributes:
        releases: folder of the release directories, as this machine and the workers see it.
        terms: the demands on every release.
        at_once: how many runs are under way or wait for a worker; twice the number of workers keeps them busy.
        storage: URL of a folder that this machine and the workers reach; None when they see the same paths.
        deployment: `FLOW/NAME` of a deployment of `flows.prefect.release`, one without a concurrency limit of its own.
    """

    releases: Path
    terms: Terms
    at_once: int = 8
    storage: str | None = None
    deployment: str = DEPLOYMENT


def fleet_in_prefect(models: str, how: FleetOptions) -> Fleet:
    """Runs the flow in this process.

    Args:
        models: as for `flows.batch.nightly`.
        how: how the models get to the workers.

    Raises:
        ParitygateError: it could not start, or the server failed.
    """
    state: State[Any] = fleet(models, how, return_state=True)
    outcomes = tuple(_outcomes.get())
    if not outcomes:
        state.result()  # raises the error that ended the flow
    name = state.name or state.type.value
    return Fleet(state=name, models=outcomes, exit_code=_EXIT_CODES.get(name, 3))


@flow(name="fleet", flow_run_name="fleet {models}")
def fleet(models: str, how: FleetOptions) -> "State[Any]":
    """Releases a folder of models on the workers of a pool.

    Args:
        models: a folder, a pattern or the same in a bucket, as for `nightly`.
        how: how the models get to the workers.
    """
    try:
        with failures_named(), get_client(sync_client=True) as client:
            require_deployment(client, how.deployment)
            storage, paths = find_models(models)
            if "file" not in storage.protocol and not how.storage:
                raise BadInput(
                    f"{models}: is not a folder that workers see under the same path",
                    next_step="Name a folder or bucket that they reach: --storage URL.",
                )
            outcomes = release_each(
                storage,
                paths,
                how.releases.absolute(),
                how.terms,
                begin=partial(_submit_model, how=how),
                ended=lambda runs: patiently(lambda: _ended(client, runs)),
                at_once=how.at_once,
            )
            _outcomes.set(outcomes)
            return final_state("fleet", models, outcomes)
    except (ParitygateError, OSError) as error:
        return failure(error)


def _submit_model(settings: Settings, *, how: FleetOptions) -> "State[Any] | UUID":
    """Submits one model; returns its run, or today's state of a release that exists already."""
    if unchanged(settings):
        return standing_there(settings, "was there")
    return submit(settings, storage=how.storage, deployment=how.deployment).run


def _ended(client: SyncPrefectClient, runs: Sequence[UUID]) -> "Mapping[UUID, State[Any]]":
    """Returns the runs that have ended, and waits before the next poll; a deleted run has ended too."""
    gone = "the run {} was deleted on the server"
    states: dict[UUID, State[Any] | None] = {run: Failed(name="Broken", message=gone.format(run)) for run in runs}
    for begin in range(0, len(runs), _PAGE):
        of_page = FlowRunFilter(id=FlowRunFilterId(any_=list(runs[begin : begin + _PAGE])))
        states |= {run.id: run.state for run in client.read_flow_runs(flow_run_filter=of_page, limit=_PAGE)}
    ends = {run: state for run, state in states.items() if state is not None and state.is_final()}
    if len(ends) < len(runs):
        time.sleep(_POLL_SECONDS)
    return ends
