"""Defines the Prefect flow `release`: a task for every stage, the verdict as its final state.

In: `Settings`, from a deployment's form or from the command line. Out: the release directory, and in Prefect one run
named `release-MODEL-DIGEST` with the matrix as a Markdown artifact. States: Released (completed), Refused, Awaiting,
Broken and Bad input (failed). The stages and their order are those of `flows.pipeline.run`. Where the policy names a
work pool, the run continues until its workers have proven the cells of `policy.elsewhere`, and the gate decides with
their attestations too. Where it demands an approval, the run then pauses (`flows.prefect.approval`).
"""

import contextlib
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed, Failed

from exporters.errors import BadInput, Broken, ParitygateError
from flows.config.input_files import model_digest, settings_digest
from flows.config.model_folder import release_name
from flows.config.settings import Settings
from flows.pipeline.run import ReleaseRun
from flows.pipeline.workspace import ReleaseInUse
from flows.prefect import approval
from flows.prefect.artifacts import publish
from flows.prefect.bundle import unpack
from flows.prefect.model_concurrency import turn
from flows.prefect.remote_cells import prove_elsewhere, require_pool
from flows.prefect.run_monitor import RunMonitor
from flows.prefect.server import failures_named, patiently, server_failed
from flows.prefect.tasks import THREADS, TaskLog, failure, run_as_tasks
from flows.progress.events import StageOutcome, waiting
from flows.review.gate import GateReport, approvals, gate
from validators.contract import Verdict
from validators.gate.consistency import lasting_reasons
from validators.release.manifest import load
from validators.report import approval_lines
from validators.report.view.matrix import headline

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_RECORD_SECONDS = 5.0
_POLL_SECONDS = 1.0

_warm: ContextVar[ReleaseRun | None] = ContextVar("warm", default=None)


def release_in_prefect(run: ReleaseRun) -> None:
    """Runs the flow in this process over a run that is already open, so that its warm-up overlaps with Prefect's start.

    Args:
        run: opened; `run.manifest` is set when this returns.

    Raises:
        ParitygateError: what a stage raised; bad input before anything else.
        Broken: the Prefect server failed.
    """
    before = _warm.set(run)
    try:
        with failures_named():
            state: State[Any] = release(run.settings, return_state=True)
            _await_records(state.state_details.flow_run_id, len(run.ended))
    except RuntimeError as error:  # Prefect's own, for no answer at all; a stage's errors are in the state, not raised
        raise server_failed(error) from error
    finally:
        _warm.reset(before)
    raised = state.result(raise_on_failure=False)
    if isinstance(raised, Exception) and (run.manifest is None or isinstance(raised, ParitygateError)):
        raise raised


def _run_name() -> str:
    """Returns `release-digits-1a2b3c4d`: the model and its digest, so that runs of one file are found together."""
    settings = Settings.model_validate(flow_run.parameters["settings"])
    if flow_run.parameters.get("bundle"):  # its files are not here yet; `flows.prefect.submit` has named the run
        return str(flow_run.name)
    try:
        mark = model_digest(settings)[:8]
    except BadInput:  # admission says so in its own words
        mark = "unreadable"
    return f"release-{settings.model.stem}-{mark}"


@flow(name="release", flow_run_name=_run_name, task_runner=THREADS)
def release(settings: Settings, releases: Path | None = None, bundle: str | None = None) -> "State[Any]":
    """Exports one trained Keras model and releases it only when every copy computes the same thing.

    Args:
        settings: the release.
        releases: folder for a release directory named by the model and its digest; for settings without `output`.
        bundle: URL of what `paritygate submit` uploaded; paths in `settings` are relative to it.
    """
    try:
        with failures_named(), tempfile.TemporaryDirectory(prefix="paritygate-bundle-") as fetched:
            if settings.policy.gpu_pool:
                require_pool(settings.policy.gpu_pool)
            if bundle:
                settings = unpack(settings, bundle, Path(fetched))
            if releases and settings.output is None:
                settings = settings.model_copy(update={"output": release_dir(settings, releases)})
            if settings.policy.approval and (digest := approval.paused_over(settings.release_dir)):
                return _approved(settings, digest)
            with _opened(settings) as run:
                if run is None:
                    return standing_there(settings, "by another run, meanwhile")
                run.add_listener(TaskLog())
                with RunMonitor(_key(run), run.cancel) as monitor, turn(model_digest(settings), run):
                    run.add_listener(monitor)
                    run.carry_out(monitor.watching(partial(run_as_tasks, ended=run.ended)))
                return _conclusion(run)
    except (ParitygateError, OSError) as error:
        return failure(error)


@contextlib.contextmanager
def _opened(settings: Settings) -> Iterator[ReleaseRun | None]:
    """Yields the run that the command line opened, else a new one; None when another run did the work meanwhile.

    Two runs of one release directory never work at once. The second waits for the first.
    """
    if warm := _warm.get():
        yield warm
        return
    waited = False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                run = ReleaseRun(settings, lambda _: None)
                if waited and unchanged(settings):
                    yield None
                    return
                stack.enter_context(run)
                break
            except ReleaseInUse as error:
                if not waited:
                    get_run_logger().warning("waits: %s", error)
                waited = True
                time.sleep(_POLL_SECONDS)
        run.warm_up()
        yield run


def release_dir(settings: Settings, releases: Path) -> Path:
    """Returns `RELEASES/NAME-DIGEST8.release`, the one place of a model's release in a folder.

    Raises:
        BadInput: the model cannot be read.
    """
    return releases / release_name(settings.model.name, model_digest(settings))


def unchanged(settings: Settings) -> bool:
    """Tells whether the release directory holds a release of exactly these files under these terms.

    The gate must pass it, or only a person's approval may be missing.
    """
    try:
        manifest = load(settings.release_dir)
    except BadInput:
        return False
    mark = settings_digest(settings, model=model_digest(settings), samples=settings.samples.path)
    if not mark or mark != manifest.asked:
        return False
    if manifest.verdict.passed:
        return True
    verdict = gate(settings.release_dir).verdict  # machines and people may have attested since
    return verdict.passed or approval.awaited(verdict)


def standing_there(settings: Settings, note: str) -> "State[Any]":
    """Judges a release that exists already, and returns the verdict and `note` as a run's final state."""
    target = settings.release_dir.absolute()
    report = gate(target)
    lines = approval_lines.lines(approvals(report.attestations), report.overridden, report.verdict.waived)
    notes = [note, *(f"{label} {text}" for label, text in lines)]
    return _state(target, report.digest, report.verdict, notes)


def _approved(settings: Settings, digest: str) -> "State[Any]":
    """Continues where this run was suspended: a person has decided."""
    target = settings.release_dir.absolute()
    verdict = approval.ask(target, digest, seconds=settings.limits.approval_seconds).verdict
    _tell(settings, digest, verdict)
    return _state(target, digest, verdict, [])


def _conclusion(run: ReleaseRun) -> "State[Any]":
    """Publishes the matrix, waits for what the policy demands of a pool, and turns the verdict into a state."""
    manifest = run.manifest
    if manifest is None:
        raise Broken("the stages ended without a verdict")
    release, digest = run.settings.release_dir.absolute(), run.digest
    described = f"{run.settings.release_dir} {digest}"
    patiently(lambda: publish(manifest, key=_key(run), description=described))
    verdict, notes = manifest.verdict, []
    if (pool := run.settings.policy.gpu_pool) and not lasting_reasons(manifest):
        notes = [run.follow(f"elsewhere on {pool}", partial(prove_elsewhere, run.settings, digest))]
        run.judged = gate(release, digest=digest)
        verdict = run.judged.verdict
    if approval.awaited(verdict):
        verdict = _asked(run, release, digest).verdict
    _tell(run.settings, digest, verdict)
    return _state(release, digest, verdict, notes)


def _asked(run: ReleaseRun, release: Path, digest: str) -> GateReport:
    """Returns the gate's report once a person has decided, or the time is over."""
    ask = partial(approval.ask, release, digest, seconds=run.settings.limits.approval_seconds)

    def wait() -> StageOutcome:
        waiting(f"for a person to resume it: {flow_run.ui_url}")
        run.judged = ask()
        return StageOutcome(run.judged.verdict.passed or None, run.judged.headline.lower())

    if approval.pauses_here():  # then the user at the terminal sees the wait
        run.follow("approval", wait)
    else:
        run.judged = ask()
    assert run.judged is not None  # noqa: S101 - one of the two has set it
    return run.judged


def _state(release: Path, digest: str, verdict: Verdict, notes: Sequence[str]) -> "State[Any]":
    """Returns the verdict as the run's final state."""
    if verdict.passed:
        return Completed(name="Released", message="\n".join([f"{release} {digest}", *notes]))
    reasons = [f"{reason.code}: {reason.subject}: {reason.message}" for reason in verdict.reasons]
    return Failed(name=headline(verdict).capitalize(), message="\n".join([*reasons, *notes]))


def _key(run: ReleaseRun) -> str:
    """Names the artifacts of a model in the UI: their versions are its releases."""
    name = re.sub(r"[^a-z0-9]+", "-", run.settings.model.stem.lower()).strip("-") or "model"
    return f"release-{name}"


def _tell(settings: Settings, digest: str, verdict: Verdict) -> None:
    """Emits the result of the release as an event on the server, for a team's automations."""
    outcome = "published" if verdict.passed else "refused" if verdict.exit_code == 1 else "broken"
    target = settings.release_dir.absolute()
    emit_event(
        f"paritygate.release.{outcome}",
        resource={"prefect.resource.id": f"paritygate.release.{digest}", "prefect.resource.name": target.name},
        payload={
            "release_dir": str(target),
            "digest": digest,
            "model": str(settings.model),
            "reasons": [f"{reason.code}: {reason.subject}: {reason.message}" for reason in verdict.reasons],
        },
    )


def _await_records(run_id: UUID | None, count: int) -> None:
    """Waits until the server has recorded the end of each stage: Prefect sends task states in the background."""
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
