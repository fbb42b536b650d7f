"""Finds models, releases each with an engine, and ends as one state with a table, for the flows `nightly` and `fleet`.

In: a folder, a pattern or a bucket, the folder of the releases and the terms. Out: a `ModelOutcome` for each model, and
the flow's final state: All proven (completed); Refused, Broken and Bad input (failed).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from uuid import UUID

import fsspec
from prefect.artifacts import create_markdown_artifact
from prefect.states import Completed, Failed

from exporters.errors import BadInput, ParitygateError
from flows.batch.loop import EndedModel, work_through
from flows.config.settings import Settings, Terms
from flows.prefect.release import release_dir
from flows.prefect.server import patiently
from flows.prefect.storage import fetched, opened, storage_errors
from validators.report.markdown import code, prose

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State

_PATTERN = "*.keras"
_MOST_ROWS = 1000
_GOOD = {"Released", "Verified"}
_REFUSED = {"Refused", "Refuted", "Awaiting"}
_UNUSABLE = "Bad input"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutcome:
    """Reports the end of one model: its name, the final state's name (`Released`, `Verified`, ...) and its message."""

    model: str
    state: str
    message: str


def outcome_of(model: str, state: "State[Any]") -> ModelOutcome:
    """Turns a final state into the outcome of a model."""
    return ModelOutcome(model=model, state=state.name or state.type.value, message=state.message or "")


def find_models(models: str) -> tuple[Any, list[str]]:
    """Finds the models; returns their storage and their paths there, in order.

    Args:
        models: see `flows.batch.nightly.nightly`.

    Raises:
        BadInput: nothing can be read there, or there is no model.
        Broken: the storage does not answer.
    """
    storage, root = opened(models)
    with storage_errors(models):
        pattern = root if fsspec.core.has_magic(root) else f"{root.rstrip('/')}/**/{_PATTERN}"
        paths = [root] if storage.isfile(root) else sorted(storage.glob(pattern))
    if not paths:
        raise BadInput(f"{models}: holds no {_PATTERN}", next_step="Check the path, as this worker sees it.")
    return storage, paths


def settings_of(model: Path, releases: Path, terms: Terms) -> Settings:
    """Returns the settings of one model's release, `RELEASES/NAME-DIGEST8.release`.

    Raises:
        BadInput: the model cannot be read, or the terms do not fit it.
    """
    settings = Settings.model_validate({**terms.model_dump(), "model": model})
    return settings.model_copy(update={"output": release_dir(settings, releases)})


def release_each(  # noqa: PLR0913 - the loop's parameters, and what is released
    storage: Any,
    paths: Sequence[str],
    releases: Path,
    terms: Terms,
    *,
    begin: Callable[[Settings], "State[Any] | UUID"],
    ended: Callable[[Sequence[UUID]], "Mapping[UUID, State[Any]]"] = lambda _: {},
    at_once: int = 1,
) -> list[ModelOutcome]:
    """Releases every model, whether or not others fail.

    Args:
        storage: from `find_models`.
        paths: from `find_models`.
        releases: folder of the release directories.
        terms: the demands on every release.
        begin: releases, verifies or submits one model, whose file is here until it returns; returns the final state,
            or the run that will have one.
        ended: see `flows.batch.loop.work_through`.
        at_once: see `flows.batch.loop.work_through`.

    Returns:
        The outcome of each, in the order of the paths.
    """

    def start(path: str) -> "UUID | EndedModel[State[Any]]":
        try:
            with fetched(storage, path) as model:
                begun = begin(settings_of(model, releases, terms))
        except (ParitygateError, OSError) as error:
            name = _UNUSABLE if isinstance(error, BadInput) else "Broken"
            return EndedModel(Failed(name=name, message=str(error)))
        return begun if isinstance(begun, UUID) else EndedModel(begun)

    ends = dict(work_through(paths, start=start, ended=ended, at_once=at_once))
    return [outcome_of(PurePosixPath(path).name, ends[path]) for path in paths]


def final_state(flow: str, models: str, outcomes: Sequence[ModelOutcome]) -> "State[Any]":
    """Publishes the table of a flow over many models, and turns the outcomes into its final state."""
    key = re.sub(r"[^a-z0-9]+", "-", models.lower()).strip("-") or "models"
    patiently(lambda: create_markdown_artifact(_table(models, outcomes), key=f"{flow}-{key}", description=models))
    bad = [outcome for outcome in outcomes if outcome.state not in _GOOD]
    if not bad:
        return Completed(name="All proven", message=f"{len(outcomes)} models of {models}")
    lines = [f"{outcome.model}: {outcome.state}: {outcome.message}" for outcome in bad[:_MOST_ROWS]]
    ends = {outcome.state for outcome in bad}
    # Any other state of a run (Crashed, Cancelled, Failed) is no verdict.
    name = "Broken" if ends - _REFUSED - {_UNUSABLE} else "Refused" if ends & _REFUSED else _UNUSABLE
    return Failed(name=name, message="\n".join(lines))


def _table(models: str, outcomes: Sequence[ModelOutcome]) -> str:
    """Draws the outcomes, bad ones first; of many models the first rows only, since people read the artifact."""
    bad_first = sorted(outcomes, key=lambda each: each.state in _GOOD)
    rows = [f"| {code(each.model)} | {prose(each.state)} | {prose(each.message)} |" for each in bad_first[:_MOST_ROWS]]
    if len(outcomes) > _MOST_ROWS:
        rows.append(f"| {len(outcomes) - _MOST_ROWS} more | | |")
    return "\n".join([f"Models of {code(models)}:", "", "| model | state | |", "| --- | --- | --- |", *rows]) + "\n"
