"""Releases or verifies a folder of models on a schedule: the Prefect flow `nightly`.

In: a folder, a pattern or a bucket with models, the folder of their releases, and the terms for all of them. Out: a
release for every model that is new or was refused before, a verification of every other one; in Prefect one run
with a `release` run or a `verify` task for each model, and the table as a Markdown artifact. States: All proven
(completed), Refused, Broken and Bad input (failed). One model's failure stops no other.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.states import Completed, Failed

from exporters.errors import ParitygateError
from flows.batch.loop_in_prefect import final_state, find_models, release_each
from flows.config.settings import Settings, Terms
from flows.pipeline.verify import verify
from flows.prefect.approval import awaited
from flows.prefect.release import release, standing_there, unchanged
from flows.prefect.server import failures_named
from flows.prefect.tasks import THREADS, TaskLog, failure
from flows.review.gate import gate
from validators.release.integrity import ATTESTATIONS
from validators.report import approval_lines

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State


@flow(name="nightly", flow_run_name="nightly {models}", task_runner=THREADS)
def nightly(models: str, releases: Path, terms: Terms = Terms()) -> "State[Any]":  # noqa: B008 - frozen
    """Releases what is new in a folder of models and verifies the rest again.

    Args:
        models: a folder, for the `.keras` files below it; a pattern (`models/**/best*.h5`); or the same in a bucket
            (`s3://bucket/models`).
        releases: folder of the release directories, each named by its model and the model's digest.
        terms: the demands on every release.
    """
    try:
        with failures_named():
            storage, paths = find_models(models)
            outcomes = release_each(storage, paths, releases, terms, begin=_release_or_verify)
            return final_state("nightly", models, outcomes)
    except (ParitygateError, OSError) as error:
        return failure(error)


def _release_or_verify(settings: Settings) -> "State[Any]":
    """Releases a model, or verifies its release again when nothing has changed."""
    # Private samples are not kept, so there is nothing to verify with: such a model is released again, unless its
    # release has attestations, which would be lost.
    same, private = unchanged(settings), settings.policy.evidence == "digests"
    if same and not private:
        return verify_again(settings.release_dir, return_state=True)
    if same and (settings.release_dir / ATTESTATIONS).is_dir():
        return standing_there(settings, "not run again, since its samples are private")
    return release(settings, return_state=True)


@task(name="verify", task_run_name="verify {target.name}")
def verify_again(target: Path) -> "State[Any]":
    """Verifies a release again, from its evidence."""
    try:
        report = verify(target, listen=TaskLog())
    except (ParitygateError, OSError) as error:
        return failure(error)
    verdict = report.verdict
    if verdict.passed and report.manifest.policy.approval:
        verdict = gate(target).verdict
        if awaited(verdict):
            return Failed(name="Awaiting", message=f"{verdict.reasons[0].message}: {target}")
    if verdict.passed:
        lines = approval_lines.lines(report.approvals, report.overridden, report.verdict.waived)
        notes = [f"{label} {text}" for label, text in lines]
        return Completed(name="Verified", message="\n".join([f"{target} {report.digest}", *notes]))
    reasons = [f"{reason.code}: {reason.subject}: {reason.message}" for reason in verdict.reasons]
    return Failed(name="Refuted" if verdict.exit_code == 1 else "Broken", message="\n".join(reasons))
