"""The Prefect flow `nightly`: a whole shelf of models, every night or whenever its schedule says.

In: a folder, a pattern or a bucket with models, the folder of their releases, and the terms that hold for all. Out: a
release for every model that is new or was not let out before, a verification of every other one; in Prefect one run
with a `release` run or a `verify` task for each model, and the table as a Markdown artifact. States: All proven
(completed), Refused, Broken and Bad input (failed). One model's failure stops no other.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import fsspec
from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed, Failed

from exporters.errors import BadInput, ParitygateError
from flows.config.settings import Settings, Terms
from flows.pipeline.verify import verify
from flows.prefect.approval import awaited
from flows.prefect.release import release, release_dir, standing_there, unchanged
from flows.prefect.server import failures_named, patiently
from flows.prefect.storage import fetched, opened, told
from flows.prefect.tasks import THREADS, TaskLog, failure
from flows.review.gate import gate
from validators.release.integrity import ATTESTATIONS
from validators.report import approval_lines as people
from validators.report.markdown import code, prose

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_PATTERN = "*.keras"
_MOST_ROWS = 1000
_GOOD = {"Released", "Verified"}
_REFUSED = {"Refused", "Refuted", "Awaiting"}
_UNUSABLE = "Bad input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one model: its name, the final state's name (`Released`, `Verified`, ...) and its message."""

    model: str
    state: str
    message: str


@flow(name="nightly", flow_run_name="nightly {models}", task_runner=THREADS)
def nightly(models: str, releases: Path, terms: Terms = Terms()) -> "State[Any]":  # noqa: B008 - frozen
    """Releases what is new on a shelf of models and verifies the rest again.

    Args:
        models: a folder, for the `.keras` files below it; a pattern (`models/**/best*.h5`); or the same in a bucket
            (`s3://bucket/models`).
        releases: folder of the release directories, each named by its model and the model's digest.
        terms: what every release is held to.
    """
    try:
        with failures_named():
            storage, paths = found(models)
            return concluded("nightly", models, [_settled(storage, path, releases, terms) for path in paths])
    except (ParitygateError, OSError) as error:
        return failure(error)


def found(models: str) -> tuple[Any, list[str]]:
    """The storage of a shelf and the paths of its models there, in order.

    Args:
        models: see `nightly`.

    Raises:
        BadInput: nothing there can be read, or nothing there is a model.
        Broken: the storage does not answer.
    """
    storage, root = opened(models)
    with told(models):
        pattern = root if fsspec.core.has_magic(root) else f"{root.rstrip('/')}/**/{_PATTERN}"
        paths = [root] if storage.isfile(root) else sorted(storage.glob(pattern))
    if not paths:
        raise BadInput(f"{models}: holds no {_PATTERN}", next_step="Check the path, as this worker sees it.")
    return storage, paths


def _settled(storage: Any, path: str, releases: Path, terms: Terms) -> Outcome:
    """Releases a model, or verifies its release again when nothing has changed; its failure is an outcome too."""
    name = PurePosixPath(path).name
    try:
        with fetched(storage, path) as model:
            settings = Settings.model_validate({**terms.model_dump(), "model": model})
            settings = settings.model_copy(update={"output": release_dir(settings, releases)})
            # Of private samples nothing is left to verify with: such a model is released anew, unless others have had
            # their say about its release, which would be lost.
            same, private = unchanged(settings), settings.policy.evidence == "digests"
            if same and not private:
                state = again(settings.release_dir, return_state=True)
            elif same and (settings.release_dir / ATTESTATIONS).is_dir():
                state = standing_there(settings, "not run again, since its samples are private")
            else:
                state = release(settings, return_state=True)
    except BadInput as error:
        return Outcome(model=name, state=_UNUSABLE, message=str(error))
    except (ParitygateError, OSError) as error:
        return Outcome(model=name, state="Broken", message=str(error))
    return Outcome(model=name, state=state.name or state.type.value, message=state.message or "")


@task(name="verify", task_run_name="verify {target.name}")
def again(target: Path) -> "State[Any]":
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
        said = people.lines(report.approvals, report.overridden, report.verdict.waived)
        notes = [f"{label} {text}" for label, text in said]
        return Completed(name="Verified", message="\n".join([f"{target} {report.digest}", *notes]))
    reasons = [f"{reason.code}: {reason.subject}: {reason.message}" for reason in verdict.reasons]
    return Failed(name="Refuted" if verdict.exit_code == 1 else "Broken", message="\n".join(reasons))


def concluded(flow: str, models: str, outcomes: Sequence[Outcome]) -> "State[Any]":
    """Publishes the table of a flow over a shelf, and turns the outcomes into a state."""
    key = re.sub(r"[^a-z0-9]+", "-", models.lower()).strip("-") or "shelf"
    patiently(lambda: create_markdown_artifact(_table(models, outcomes), key=f"{flow}-{key}", description=models))
    bad = [outcome for outcome in outcomes if outcome.state not in _GOOD]
    if not bad:
        return Completed(name="All proven", message=f"{len(outcomes)} models of {models}")
    lines = [f"{outcome.model}: {outcome.state}: {outcome.message}" for outcome in bad[:_MOST_ROWS]]
    ends = {outcome.state for outcome in bad}
    # Whatever else a run may end as (Crashed, Cancelled, Failed) is no verdict.
    name = "Broken" if ends - _REFUSED - {_UNUSABLE} else "Refused" if ends & _REFUSED else _UNUSABLE
    return Failed(name=name, message="\n".join(lines))


def _table(models: str, outcomes: Sequence[Outcome]) -> str:
    """The outcomes, bad ones first; of a large shelf the first rows, since an artifact is read by people."""
    bad_first = sorted(outcomes, key=lambda each: each.state in _GOOD)
    rows = [f"| {code(each.model)} | {prose(each.state)} | {prose(each.message)} |" for each in bad_first[:_MOST_ROWS]]
    if len(outcomes) > _MOST_ROWS:
        rows.append(f"| {len(outcomes) - _MOST_ROWS} more | | |")
    return "\n".join([f"Models of {code(models)}:", "", "| model | state | |", "| --- | --- | --- |", *rows]) + "\n"
