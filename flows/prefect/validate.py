"""Defines the Prefect flow `validate`: runs cells of a release from its evidence, on the machine of the worker.

In: a release directory in storage that this machine sees under the same path, and the digest of its manifest. Out: an
attestation in that directory, and in Prefect one run named `validate-RELEASE-DIGEST` with a task for every cell and
the cells as a Markdown artifact. States: Proven (completed), Refuted, Broken and Bad input (failed). Needs the base,
Prefect and the runtimes in question; no TensorFlow unless a cell runs in it.

`flows.prefect.remote_cells` deploys it as `validate/POOL`. By hand: `prefect deployment run validate/POOL -p
release_dir=...`.
"""

import platform
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from exporters.errors import BadInput, ParitygateError
from flows.pipeline.verify import VerifyReport, verify
from flows.prefect.server import failures_named
from flows.prefect.tasks import THREADS, TaskLog, failure, run_as_tasks
from flows.progress.events import Event
from validators.contract import Device
from validators.release.manifest import MANIFEST
from validators.report.markdown import code, prose
from validators.report.view.matrix import mark
from validators.text import number

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


def run_name(release_dir: Path, digest: str) -> str:
    """Returns `validate-digits-1a2b3c4d`: release and digest, so that runs of one release are found together."""
    return f"validate-{release_dir.name.removesuffix('.release')}-{digest[:8]}"


def _run_name() -> str:
    return run_name(Path(flow_run.parameters["release_dir"]), flow_run.parameters["digest"])


@flow(name="validate", flow_run_name=_run_name, task_runner=THREADS)
def validate(release_dir: Path, digest: str, runtimes: list[str] | None = None, device: Device = "gpu") -> "State[Any]":
    """Runs cells of a release from its evidence only and attests the results.

    Args:
        release_dir: the release directory, under the path at which this machine sees it.
        digest: SHA-256 of its release.json; another release under that path is refused.
        runtimes: names of runtimes, as `paritygate doctor` lists them; by default all that the device has.
        device: cpu or gpu.
    """
    ended: dict[str, Event] = {}

    log = TaskLog()

    def note(event: Event) -> None:
        log(event)
        if event.ended:
            ended[event.stage] = event

    try:
        _refuse_unseen(release_dir)
        with failures_named():
            report = verify(
                release_dir,
                digest=digest,
                device=device,
                runtimes=runtimes,
                attest=True,
                listen=note,
                engine=partial(run_as_tasks, ended=ended),
            )
            return _conclusion(report)
    except (ParitygateError, OSError) as error:
        return failure(error)


def _refuse_unseen(release_dir: Path) -> None:
    if not (release_dir / MANIFEST).is_file():
        raise BadInput(
            f"{release_dir} is not a release directory on {platform.node()}: it holds no {MANIFEST} there",
            next_step="A pool's workers need the release under the same path: put it into storage that they share.",
        )


def _conclusion(report: VerifyReport) -> "State[Any]":
    """Publishes the cells to Prefect and turns the verdict into a state."""
    key = re.sub(r"[^a-z0-9]+", "-", report.release.name.removesuffix(".release").lower()).strip("-") or "release"
    create_markdown_artifact(_table(report), key=f"validate-{key}", description=f"{report.release} {report.digest}")
    verdict = report.verdict
    attested = f"attested in {report.attestation}" if report.attestation else "nothing was attested"
    if verdict.passed:
        return Completed(name="Proven", message=f"{report.release} {report.digest}: {attested}")
    reasons = [f"{reason.code}: {reason.subject}: {reason.message}" for reason in verdict.reasons]
    return Failed(name="Refuted" if verdict.exit_code == 1 else "Broken", message="\n".join([*reasons, attested]))


def _table(report: VerifyReport) -> str:
    """Returns a Markdown table of the cells that ran here, and the reasons against them."""
    rows = [
        f"| {code(cell.key)} | {mark(cell.status)} {cell.status} | {number(cell.max_abs)} | "
        f"{prose(cell.placement.adapter if cell.placement else cell.message)} |"
        for cell in report.cells
    ]
    verdict = report.verdict
    reasons = [f"- **{prose(each.code)}** {code(each.subject)}: {prose(each.message)}" for each in verdict.reasons]
    head = [f"On {prose(platform.node())}:", "", "| cell | result | max abs | where |", "| --- | --- | --- | --- |"]
    return "\n".join([*head, *rows, "", *reasons]) + "\n"
