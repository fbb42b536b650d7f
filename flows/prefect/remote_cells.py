"""Hands cells over: those of `policy.elsewhere` run as the flow `validate` on a work pool, and the release waits.

In: a published release and the settings that name the pool. Out: attestations in the release, if all goes well; and a
sentence about every run of `validate`, however it ended. `flows.review.gate` judges the attestations.

A run that the release no longer waits for (cancelled, interrupted, too late) is cancelled, so that it holds no card.
"""

import contextlib
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import WorkPoolStatus
from prefect.deployments import run_deployment
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Cancelling
from prefect.types.entrypoint import EntrypointType

from exporters.errors import BadInput, Cancelled
from exporters.toolchain import versions
from flows.config.settings import Settings
from flows.prefect.validate import run_name, validate
from flows.progress.events import StageOutcome
from validators.contract import Device

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_POLL_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Handed:
    """Names a run of `validate` that the release waits for, and the device of its cells."""

    id: UUID
    device: Device


def require_pool(pool: str) -> None:
    """Makes sure, before anything runs, that there is such a work pool.

    Raises:
        BadInput: there is none.
    """
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(pool)
        except ObjectNotFound as error:
            raise BadInput(
                f"policy.gpu_pool names the work pool {pool!r}, which the Prefect server at "
                f"{str(client.api_url).rstrip('/')} does not have",
                next_step=f"prefect work-pool create {shlex.quote(pool)} --type process; then on each machine with a "
                f"card: {_worker(pool)}",
            ) from error


def prove_elsewhere(settings: Settings, digest: str) -> StageOutcome:
    """Has the pool's workers run the cells of `policy.elsewhere`, and waits for them.

    Args:
        settings: of the release, which is published.
        digest: SHA-256 of its manifest.

    Returns:
        `passed` when every run proved its cells, and a sentence about each run.

    Raises:
        Cancelled: the release was cancelled on the server.
        httpx.HTTPError: the server did not start a run, or does not answer when the time is over.
    """
    pool = settings.policy.gpu_pool or ""
    handed: list[_Handed] = []
    with get_client(sync_client=True) as client:
        _ensure_deployment(client, pool)
        with contextlib.ExitStack() as leaving:
            devices: set[Device] = {requirement.device for requirement in settings.elsewhere}
            for device in sorted(devices):
                one = _started(settings, digest, device)
                leaving.callback(_cancel_unfinished, client, one)
                handed.append(one)
            runs = _awaited(client, handed, settings)
        idle = ""
        with contextlib.suppress(httpx.HTTPError):  # it only explains
            idle = _idle(client, pool)
    sentences = [_sentence(run, one.device, settings, idle) for run, one in zip(runs, handed, strict=True)]
    passed = all(run.state is not None and run.state.is_completed() for run in runs)
    return StageOutcome(passed, "; ".join(sentences))


_ENVIRONMENT = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30", "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500"}
"""Environment of a run on the pool; `flows/deployment/prefect.yaml` sets the same for all others."""


def _ensure_deployment(client: SyncPrefectClient, pool: str) -> None:
    """Deploys `validate` to the pool, unless this version has done so: settings made there by hand are kept."""
    our_version = versions(["paritygate"])["paritygate"]
    # By its module's name, so that every machine with paritygate installed can load it and no code is stored.
    deployment = RunnerDeployment.from_flow(
        validate,
        pool,
        work_pool_name=pool,
        version=our_version,
        entrypoint_type=EntrypointType.MODULE_PATH,
        tags=["paritygate"],  # by which the automation of `flows.deployment` knows runs that may fall silent
        job_variables={"env": dict(_ENVIRONMENT)},
    )
    with contextlib.suppress(ObjectNotFound):
        there = client.read_deployment_by_name(f"{validate.name}/{pool}")
        # The module may have moved without a new version: such a deployment could not be loaded any more.
        if (there.version, there.entrypoint) == (our_version, deployment.entrypoint):
            return
    deployment.apply()


def _started(settings: Settings, digest: str, device: Device) -> _Handed:
    release = settings.release_dir.absolute()
    asked = {
        "release_dir": str(release),
        "digest": digest,
        "runtimes": [requirement.runtime for requirement in settings.elsewhere if requirement.device == device],
        "device": device,
    }
    name = f"{validate.name}/{settings.policy.gpu_pool}"
    run = run_deployment(name, parameters=asked, flow_run_name=run_name(release, digest), timeout=0)
    return _Handed(id=cast("FlowRun", run).id, device=device)  # a coroutine only where a loop runs


def _awaited(client: SyncPrefectClient, handed: Sequence[_Handed], settings: Settings) -> "list[FlowRun]":
    """Waits until all runs have ended or the time is over, and returns them; a server that is away is waited for."""
    deadline = time.monotonic() + settings.limits.pool_seconds
    logged = ""
    while True:
        try:
            runs = [client.read_flow_run(one.id) for one in handed]
            open_runs = [run for run in runs if run.state is None or not run.state.is_final()]
            if not open_runs or time.monotonic() > deadline:
                return runs
            if _is_cancelled(client):
                raise Cancelled("the release was cancelled while it waited for the cells from elsewhere")
            idle = _idle(client, settings.policy.gpu_pool or "") if any(map(_is_waiting, open_runs)) else ""
            why = f"{open_runs[0].name} waits: {idle}" if idle else ""
        except httpx.HTTPError as error:
            if time.monotonic() > deadline:
                raise
            why = f"the Prefect server gives no answer: {error or type(error).__name__}"
        if why and why != logged:
            get_run_logger().warning("%s", why)
        logged = why
        time.sleep(_POLL_SECONDS)


def _is_waiting(run: "FlowRun") -> bool:
    return run.state is None or run.state.is_scheduled() or run.state.is_pending()


def _is_cancelled(client: SyncPrefectClient) -> bool:
    """Tells whether this release was cancelled on the server; without a worker, no signal reports it."""
    state = client.read_flow_run(UUID(flow_run.id)).state
    return state is not None and (state.is_cancelling() or state.is_cancelled())


def _idle(client: SyncPrefectClient, pool: str) -> str:
    """Returns the reason why no worker takes a run from the pool; empty when one can."""
    status = client.read_work_pool(pool).status
    if status == WorkPoolStatus.PAUSED:
        return f"the work pool {pool!r} is paused; `prefect work-pool resume {shlex.quote(pool)}`"
    if status == WorkPoolStatus.NOT_READY:
        return f"no worker of the work pool {pool!r} is online; `{_worker(pool)}` on its machines"
    return ""


def _worker(pool: str) -> str:
    return f"prefect worker start --pool {shlex.quote(pool)}"


def _cancel_unfinished(client: SyncPrefectClient, one: _Handed) -> None:
    try:
        state = client.read_flow_run(one.id).state
        if state is None or not state.is_final():
            client.set_flow_run_state(one.id, Cancelling(message="the release no longer waits for it"))
    except httpx.HTTPError as error:  # the error that ended the wait must still be raised, and the other runs cancelled
        get_run_logger().warning("the run %s of %s could not be cancelled: %s", one.id, validate.name, error)


def _sentence(run: "FlowRun", device: Device, settings: Settings, idle: str) -> str:
    name = f"{run.name} ({device})"
    if run.state is None or not run.state.is_final():
        state = run.state.name if run.state else "not started"
        bound = f"{settings.limits.pool_seconds:g} s (limits.pool_seconds)"
        why = f": {idle}" if idle and _is_waiting(run) else ""
        return f"{name}: still {state} after {bound}, so it was cancelled{why}"
    message = run.state.message
    return f"{name}: {run.state.name}" + (f": {message}" if message else "")
