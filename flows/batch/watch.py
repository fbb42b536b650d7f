"""Releases the best checkpoint of a running training: the Prefect flow `watch`.

In: the place of the checkpoints, the metric, the folder of releases, the terms. Out: a release of the best checkpoint,
as soon as it is written and when it is better than every one that got a verdict before. The result is recorded next to
the releases, by the checkpoint's digest, so any number of flow runs, restarts and workers release it once. States:
Released and Nothing new (completed); Refused, Awaiting, Broken and Bad input (failed). One run checks once; a schedule
repeats it.
"""

import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from exporters.errors import BadInput, ParitygateError
from flows.batch.checkpoints import (
    Checkpoint,
    CheckpointPattern,
    list_checkpoints,
    parse_checkpoint_pattern,
    settled_checkpoints,
)
from flows.batch.loop_in_prefect import ModelOutcome, outcome_of, settings_of
from flows.batch.watch_record import RELEASED, UNUSABLE, WatchFile
from flows.config.input_files import model_digest
from flows.config.settings import Settings, Terms
from flows.machine.inspection import inspect
from flows.prefect.release import release, standing_there, unchanged
from flows.prefect.server import failures_named
from flows.prefect.storage import opened, storage_errors
from flows.prefect.tasks import THREADS, failure

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

NOTHING_NEW = "Nothing new"


@flow(name="watch", flow_run_name="watch {checkpoints}", task_runner=THREADS)
def watch(  # noqa: PLR0913 - one parameter for every field of the form
    checkpoints: str,
    releases: Path,
    *,
    metric: str = "val_loss",
    higher_is_better: bool = False,
    settle_seconds: float = 30,
    terms: Terms = Terms(),  # noqa: B008 - frozen
) -> "State[Any]":
    """Releases the best checkpoint of a training run, once, when it is better than those before.

    Args:
        checkpoints: the `filepath` of Keras' ModelCheckpoint (`runs/net/{epoch:02d}-{val_loss:.4f}.keras`,
            `s3://bucket/net/best.keras`), or a folder. Where the name does not hold the metric, a JSON of the same
            name next to the file does: `best.json` with `{"val_loss": 0.1234}`.
        releases: folder of the release directories, and of the record of what was released.
        metric: name of the value by which the best checkpoint is chosen.
        higher_is_better: for an accuracy; a loss has to fall.
        settle_seconds: how long size and time of a file have to stay the same before it counts as written.
        terms: the demands on every release.
    """
    try:
        with (
            failures_named(),
            WatchFile(releases, checkpoints=checkpoints, metric=metric, higher_is_better=higher_is_better) as record,
        ):
            at = parse_checkpoint_pattern(checkpoints)
            quiet, moving = settled_checkpoints(at, metric, seconds=settle_seconds, wanted=record.wants)
            tried: list[ModelOutcome] = []
            for checkpoint in record.best_first(quiet):
                with tempfile.TemporaryDirectory(prefix="paritygate-watch-") as scratch:
                    model = _copied(at, metric, checkpoint, Path(scratch))
                    if model is None:
                        moving.append(checkpoint)
                    elif each := _tried(checkpoint, settings_of(model, releases, terms), record):
                        tried.append(each)
                if tried and tried[-1].state != UNUSABLE:
                    break
            return _conclusion(tried, moving)
    except (ParitygateError, OSError) as error:
        return failure(error)


def _copied(at: CheckpointPattern, metric: str, checkpoint: Checkpoint, folder: Path) -> Path | None:
    """Copies a checkpoint, so that training cannot change it; returns None when it changed or vanished meanwhile."""
    files, _ = opened(at.root)
    copy = folder / PurePosixPath(checkpoint.path).name
    try:
        with storage_errors(at.url):
            files.get_file(checkpoint.path, str(copy))
    except BadInput:
        if checkpoint.path in list_checkpoints(at, metric):
            raise
        return None
    return copy if list_checkpoints(at, metric).get(checkpoint.path) == checkpoint else None


def _tried(checkpoint: Checkpoint, settings: Settings, record: WatchFile) -> ModelOutcome | None:
    """Releases a checkpoint and records the result; returns None when its bytes got a verdict under another name."""
    digest = model_digest(settings)
    if record.has(digest):
        return None
    outcome = _released(checkpoint.path, settings)
    get_run_logger().info("%s: %s: %s", checkpoint.path, outcome.state, outcome.message)
    record.add(digest, checkpoint, state=outcome.state, message=outcome.message)
    return outcome


def _released(path: str, settings: Settings) -> ModelOutcome:
    """Checks that the file is a complete model, then releases it, unless an earlier run did and could not record it."""
    try:
        inspect(settings.model, settings.architecture)
    except BadInput as error:
        return ModelOutcome(model=path, state=UNUSABLE, message=str(error).replace(f"{settings.model.parent}/", ""))
    if unchanged(settings):
        return outcome_of(path, standing_there(settings, "by an earlier look"))
    return outcome_of(path, release(settings, return_state=True))


def _conclusion(tried: list[ModelOutcome], moving: list[Checkpoint]) -> "State[Any]":
    lines = [f"{each.model}: {each.message}" for each in tried] + [
        f"{each.path}: is still being written" for each in moving
    ]
    message = "\n".join(lines)
    if not tried:
        return Completed(name=NOTHING_NEW, message=message)
    last = tried[-1].state
    return Completed(name=last, message=message) if last == RELEASED else Failed(name=last, message=message)
