"""Makes everything that the deployments need on a server, and deploys them; what is there already is kept.

In: a Prefect server (PREFECT_API_URL). Out, on the server: the work pool `paritygate` with the queues `cpu` and `gpu`,
the global concurrency limit of GPU cells, an automation for runs whose worker was killed, and the deployments of
`prefect.yaml`. May be run any number of times: what a person has set on a pool, a queue or a limit meanwhile stays.
`paritygate server deploy` calls it.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import ObjectAlreadyExists

from exporters.errors import BadInput, Broken
from exporters.installation import checkout
from flows.deployment import POOL
from flows.prefect.gpu_concurrency import LIMIT
from flows.prefect.server import connected
from validators.hardware.graphics_cards import cards

_PREFECT_YAML = Path(__file__).with_name("prefect.yaml")
_PACKAGES = Path(__file__).resolve().parents[2]
_DEMO = "examples/digits"
QUEUES = ("cpu", "gpu")
SILENT = "paritygate: runs that fell silent"
SILENCE = timedelta(seconds=90)
"""Three heartbeats, as often as `prefect.yaml` asks for them."""


def root() -> Path:
    """Returns the folder that the runs' relative paths start from: PARITYGATE_ROOT, a checkout, the current directory.

    Raises:
        BadInput: it holds a package of one of our names. Prefect imports a flow with this folder first on `sys.path`.
    """
    folder = Path(os.environ.get("PARITYGATE_ROOT") or checkout() or Path.cwd())
    for name in ("exporters", "validators", "flows"):
        if (folder / name / "__init__.py").is_file() and (folder / name).resolve() != _PACKAGES / name:
            raise BadInput(
                f"{folder} has a package `{name}` of its own, which would hide paritygate's in every run",
                next_step="Deploy from another folder, or name one in PARITYGATE_ROOT; relative paths start from it.",
            )
    return folder


def _models() -> str:
    """Returns the folder of models that the nightly deployments watch, as their parameters name it."""
    return _DEMO if checkout() else "models"


def prepare(client: SyncPrefectClient) -> list[str]:
    """Makes the pool, its queues and the limit; returns a line about each."""
    limit = GlobalConcurrencyLimitCreate(name=LIMIT, limit=max(1, len(cards())))
    wanted: dict[str, Callable[[], object]] = {
        f"work pool {POOL}": partial(client.create_work_pool, WorkPoolCreate(name=POOL, type="process")),
        **{
            f"work queue {POOL}/{name}": partial(client.create_work_queue, name, work_pool_name=POOL) for name in QUEUES
        },
        f"concurrency limit {LIMIT}": partial(client.create_global_concurrency_limit, limit),
        f"automation {SILENT}": partial(_make_automation, client),
    }
    return [f"{name}: {_made(make)}" for name, make in wanted.items()]


def _make_automation(client: SyncPrefectClient) -> None:
    """Makes the automation that crashes runs without heartbeats: a killed worker cannot report the end of its run.

    The names of our final states differ, so any event of the run after a heartbeat counts as a sign of life.

    Raises:
        ObjectAlreadyExists: there is one of this name.
    """
    if client.read_automations_by_name(SILENT):
        raise ObjectAlreadyExists(ValueError(SILENT))
    trigger = EventTrigger(
        match=ResourceSpecification({"prefect.resource.id": "prefect.flow-run.*"}),
        match_related=ResourceSpecification(
            {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.paritygate"}
        ),
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        within=SILENCE,
    )
    crashed = ChangeFlowRunState(
        name=None,
        force=False,
        state=StateType.CRASHED,
        message="Its worker was killed or cut off: no sign of life any more. A retry goes on where it was.",
    )
    client.create_automation(AutomationCore(name=SILENT, trigger=trigger, actions=[crashed]))


def deploy() -> None:
    """Deploys `prefect.yaml`.

    Raises:
        BadInput: see `root`.
        Broken: the command failed; its own words are kept.
    """
    command = [str(Path(sys.executable).with_name("prefect")), "--no-prompt", "deploy", "--all"]
    command += ["--prefect-file", str(_PREFECT_YAML)]
    environment = {"PARITYGATE_MODELS": _models(), **os.environ, "PARITYGATE_ROOT": str(root())}
    # Prefect looks for modules in the current directory first, where a user may have a folder `flows` too.
    done = subprocess.run(command, cwd=sys.prefix, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(
            f"`prefect deploy` failed with exit code {done.returncode}: {(done.stderr or done.stdout).strip()}",
            next_step=f"{_PREFECT_YAML} is deployed to the server that PREFECT_API_URL names.",
        )


def bootstrap() -> list[str]:
    """Makes everything on the server that PREFECT_API_URL names; returns a line about each thing.

    Raises:
        BadInput: see `root`.
        Broken: the server failed or the deployment did.
    """
    with connected() as client:
        lines = prepare(client)
        deploy()
        lines += [f"deployment {d.name}: deployed" for d in client.read_deployments() if "paritygate" in d.tags]
    return lines


def _made(make: Callable[[], object]) -> str:
    try:
        make()
    except ObjectAlreadyExists:
        return "was there"
    return "made"
