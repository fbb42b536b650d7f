"""The Prefect flow `watch`: a look at the place where a training run leaves its checkpoints.

In: the place, the metric, the folder of releases, the terms. Out: a release of the best checkpoint there, as soon as it
is written and when it is better than every one that got a verdict before. What came of it is kept beside the releases,
by the checkpoint's digest, so any number of looks, restarts and workers release it once. States: Released and Nothing
new (completed); Refused, Awaiting, Broken and Bad input (failed). A schedule makes it a watch.
"""

import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from exporters.errors import BadInput, ParitygateError
from flows.batch.checkpoints import Checkpoint, Place, look, place, settled
from flows.batch.loop_in_prefect import ModelOutcome, outcome_of, settings_of
from flows.batch.watch_record import RELEASED, UNUSABLE, WatchFile
from flows.config.input_files import model_digest
from flows.config.settings import Settings, Terms
from flows.machine.inspection import inspect
from flows.prefect.release import release, standing_there, unchanged
from flows.prefect.server import failures_named
from flows.prefect.storage import opened, told
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
            name beside the file does: `best.json` with `{"val_loss": 0.1234}`.
        releases: folder of the release directories, and of the record of what was released.
        metric: what decides which checkpoint is the best.
        higher_is_better: for an accuracy; a loss has to fall.
        settle_seconds: how long size and time of a file have to stay the same before it counts as written.
        terms: what every release is held to.
    """
    try:
        with (
            failures_named(),
            WatchFile(releases, checkpoints=checkpoints, metric=metric, higher_is_better=higher_is_better) as record,
        ):
            at = place(checkpoints)
            quiet, moving = settled(at, metric, seconds=settle_seconds, wanted=record.wants)
            tried: list[ModelOutcome] = []
            for checkpoint in record.best_first(quiet):
                with tempfile.TemporaryDirectory(prefix="paritygate-watch-") as scratch:
                    model = _taken(at, metric, checkpoint, Path(scratch))
                    if model is None:
                        moving.append(checkpoint)
                    elif each := _tried(checkpoint, settings_of(model, releases, terms), record):
                        tried.append(each)
                if tried and tried[-1].state != UNUSABLE:
                    break
            return _conclusion(tried, moving)
    except (ParitygateError, OSError) as error:
        return failure(error)


def _taken(at: Place, metric: str, checkpoint: Checkpoint, folder: Path) -> Path | None:
    """A copy that training cannot change any more; None when the checkpoint changed or went before it was whole."""
    files, _ = opened(at.root)
    copy = folder / PurePosixPath(checkpoint.path).name
    try:
        with told(at.url):
            files.get_file(checkpoint.path, str(copy))
    except BadInput:
        if checkpoint.path in look(at, metric):
            raise
        return None
    return copy if look(at, metric).get(checkpoint.path) == checkpoint else None


def _tried(checkpoint: Checkpoint, settings: Settings, record: WatchFile) -> ModelOutcome | None:
    """Releases a checkpoint and notes what came of it; None when its bytes got their verdict under another name."""
    digest = model_digest(settings)
    if record.has(digest):
        return None
    outcome = _released(checkpoint.path, settings)
    get_run_logger().info("%s: %s: %s", checkpoint.path, outcome.state, outcome.message)
    record.add(digest, checkpoint, state=outcome.state, message=outcome.message)
    return outcome


def _released(path: str, settings: Settings) -> ModelOutcome:
    """Sees that the file is a whole model, then releases it, unless an earlier look did and could not note it."""
    try:
        inspect(settings.model, settings.architecture)
    except BadInput as error:
        return ModelOutcome(model=path, state=UNUSABLE, message=str(error).replace(f"{settings.model.parent}/", ""))
    if unchanged(settings):
        return outcome_of(path, standing_there(settings, "by an earlier look"))
    return outcome_of(path, release(settings, return_state=True))


def _conclusion(tried: list[ModelOutcome], moving: list[Checkpoint]) -> "State[Any]":
    told = [f"{each.model}: {each.message}" for each in tried] + [
        f"{each.path}: is still being written" for each in moving
    ]
    message = "\n".join(told)
    if not tried:
        return Completed(name=NOTHING_NEW, message=message)
    last = tried[-1].state
    return Completed(name=last, message=message) if last == RELEASED else Failed(name=last, message=message)
