"""Submits a model to a running Prefect installation, and follows it to the verdict on request (`paritygate submit`).

In: settings as for a release. Out: a run of `release/manual` on the server. However often the same files are submitted
under the same terms, it is the same run, until that ends without a verdict. Files are referenced by their absolute
paths, or uploaded to storage that the workers reach (`flows.prefect.bundle`).
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowFilterName
from prefect.deployments import run_deployment
from prefect.exceptions import PrefectException

from exporters.errors import BadInput
from flows.config.input_files import digests, model_digest, with_paths_replaced
from flows.config.settings import Settings
from flows.prefect.bundle import pack
from flows.prefect.server import connected

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

_FLOW = "release"
DEPLOYMENT = f"{_FLOW}/manual"
_POLL_SECONDS = 1.0
_AWAY_SECONDS = 120.0
_VERDICTS = {"Released", "Refused", "Awaiting"}
_EXIT_CODES = {"Released": 0, "Refused": 1, "Awaiting": 1, "Bad input": 2}
"""Exit codes of the final states of `flows.prefect.release`; every other end (Broken, Crashed, Cancelled) is 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """Describes a run on the server.

    Attributes:
        run: its id.
        name: its name.
        url: its page in the server's UI.
        state: name of its state when it was last read.
        message: message of that state.
        final: whether the state is the last one.
    """

    run: UUID
    name: str
    url: str
    state: str
    message: str
    final: bool

    @property
    def exit_code(self) -> int:
        """Returns the code of `paritygate release` for the same end; 0 for a run that has not ended."""
        return _EXIT_CODES.get(self.state, 3) if self.final else 0


def submit(settings: Settings, *, storage: str | None = None, deployment: str = DEPLOYMENT) -> Submitted:
    """Hands a release to the server that PREFECT_API_URL names.

    Args:
        settings: the release; paths as this machine sees them.
        storage: URL of a folder that this machine and the workers reach; None when they see the same paths.
        deployment: `FLOW/NAME` of a deployment of `flows.prefect.release`.

    Raises:
        BadInput: a file is missing, the storage cannot be used, or the server has no such deployment.
        Broken: the server failed.
    """
    input_digests = digests(settings)
    sent, bundle = pack(settings, storage) if storage else (_absolute(settings), None)
    terms = sent.model_dump_json()
    mark = hashlib.sha256("\n".join([deployment, str(bundle), terms, *input_digests]).encode()).hexdigest()
    with connected() as client:
        require_deployment(client, deployment)
        parameters = {"settings": sent.model_dump(mode="json", exclude_unset=True), "bundle": bundle}
        name = f"release-{settings.model.stem}-{model_digest(settings)[:8]}"
        while True:
            run = run_deployment(
                deployment, parameters=parameters, flow_run_name=name, idempotency_key=f"release-{mark}", timeout=0
            )
            found = look(client, cast("FlowRun", run).id)  # a coroutine only where a loop runs
            if not found.final or found.state in _VERDICTS:
                return found
            mark = str(found.run)  # that run ended without a verdict: the key of the next one is derived from it


def follow(submitted: Submitted, say: Callable[[Submitted], None]) -> Submitted:
    """Waits for the verdict.

    Args:
        submitted: the run.
        say: called whenever its state changes.

    Raises:
        Broken: the server failed for two minutes.
    """
    with connected() as client:
        heard = time.monotonic()
        while True:
            try:
                now = look(client, submitted.run)
            except (HTTPError, PrefectException):  # it, or its database, is being restarted; the run goes on
                if time.monotonic() - heard > _AWAY_SECONDS:
                    raise
            else:
                heard = time.monotonic()
                if now.state != submitted.state:
                    say(now)
                if now.final:
                    return now
                submitted = now
            time.sleep(_POLL_SECONDS)


def look(client: SyncPrefectClient, run: UUID) -> Submitted:
    """Reads the run's current state."""
    found = client.read_flow_run(run)
    state: Any = found.state
    ui = str(client.api_url).rstrip("/").removesuffix("/api")
    return Submitted(
        run=run,
        name=found.name,
        url=f"{ui}/runs/flow-run/{run}",
        state=state.name if state else "Pending",
        message=(state.message or "") if state else "",
        final=bool(state and state.is_final()),
    )


def require_deployment(client: SyncPrefectClient, deployment: str) -> None:
    """Raises BadInput where the server lacks the deployment of flow `release`, naming those it has, or no pool."""
    where, again = str(client.api_url).rstrip("/"), "`paritygate server deploy` makes those of paritygate."
    ours = client.read_deployments(flow_filter=FlowFilter(name=FlowFilterName(any_=[_FLOW])))
    known = {f"{_FLOW}/{found.name}": found.work_pool_name for found in ours}
    if deployment not in known:
        what = f"no deployment {deployment!r} of the flow `{_FLOW}`"
        raise BadInput(
            f"the Prefect server at {where} has {what}; it has {', '.join(sorted(known)) or 'none'}", next_step=again
        )
    if known[deployment] is None:
        raise BadInput(
            f"the deployment {deployment!r} at {where} has lost its work pool, so that no worker would take its runs",
            next_step=again,
        )


def _absolute(settings: Settings) -> Settings:
    """Returns the settings with absolute paths, for workers that see the same paths as this machine."""
    output = settings.output and settings.output.absolute()
    return with_paths_replaced(settings, lambda _, path: path.absolute()).model_copy(update={"output": output})
