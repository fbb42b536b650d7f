"""Which checkpoints of a watched place got a verdict, kept beside the releases: `watch-NAME-DIGEST8.json`.

In: records. Out: one JSON file that is whole at any moment, held by one look at a time, and the value to beat.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from exporters.errors import BadInput
from flows.batch.checkpoints import Checkpoint
from flows.batch.record_file import SCHEMA_VERSION, STRICT, RecordFile

RELEASED: Literal["Released"] = "Released"
REFUSED: Literal["Refused"] = "Refused"
UNUSABLE: Literal["Bad input"] = "Bad input"
_WITH_VERDICT = (RELEASED, REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedCheckpoint:
    """What came of one checkpoint.

    Attributes:
        path: where it lay.
        mark: see `Checkpoint.mark`.
        value: of the metric.
        state: `Released`, `Refused`, or `Bad input` for a file that is no sound model.
        message: of the release's final state.
    """

    path: str
    mark: str
    value: float
    state: Literal["Released", "Refused", "Bad input"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedPlace:
    """The file's content.

    Attributes:
        schema_version: version of this record's shape.
        checkpoints, metric, higher_is_better: what is watched.
        judged: by the SHA-256 of the checkpoint.
    """

    __pydantic_config__ = STRICT

    schema_version: Literal["1"]
    checkpoints: str
    metric: str
    higher_is_better: bool
    judged: Mapping[str, TriedCheckpoint]


class WatchFile(RecordFile[WatchedPlace]):
    """The record of one watched place, held by one look at a time.

    Args:
        folder: of the releases; made when it is not there.
        checkpoints, metric, higher_is_better: what is watched; each combination has a file of its own.

    Raises:
        BadInput: another look is at work, or the file is not ours.
    """

    def __init__(self, folder: Path, *, checkpoints: str, metric: str, higher_is_better: bool) -> None:
        mark = hashlib.sha256(f"{checkpoints}\n{metric}\n{higher_is_better}".encode()).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9]+", "-", checkpoints).strip("-")[-40:]
        file = folder / f"watch-{name}-{mark}.json"
        super().__init__(
            file,
            WatchedPlace,
            lock=file.with_suffix(".lock"),
            in_use=BadInput(f"{checkpoints}: another look at it is under way", next_step="It will see what is there."),
            next_step="Move it away to begin anew; the releases stay.",
        )
        self._place = self.before or WatchedPlace(
            schema_version=SCHEMA_VERSION,
            checkpoints=checkpoints,
            metric=metric,
            higher_is_better=higher_is_better,
            judged={},
        )

    def has(self, digest: str) -> bool:
        """Whether these very bytes got their verdict."""
        return digest in self._place.judged

    def wants(self, checkpoint: Checkpoint) -> bool:
        """Whether it is better than whatever got a verdict, and not a file that was found to be no model."""
        if checkpoint.value is None:
            return False
        known = self._place.judged.values()
        if any((each.path, each.mark) == (checkpoint.path, checkpoint.mark) for each in known):
            return False
        sign = 1 if self._place.higher_is_better else -1
        bar = max((sign * each.value for each in known if each.state in _WITH_VERDICT), default=float("-inf"))
        return sign * checkpoint.value > bar

    def best_first(self, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
        """In the order in which they are tried; of equal ones the later name first."""
        sign = 1 if self._place.higher_is_better else -1
        return sorted(checkpoints, key=lambda each: (sign * (each.value or 0), each.path), reverse=True)

    def add(self, digest: str, checkpoint: Checkpoint, *, state: str, message: str) -> None:
        """Adds what came of a checkpoint and writes the file in one step; what broke is tried again, not noted."""
        if state not in (RELEASED, REFUSED, UNUSABLE) or checkpoint.value is None:
            return
        tried = TriedCheckpoint(
            path=checkpoint.path, mark=checkpoint.mark, value=checkpoint.value, state=state, message=message
        )
        self._place = replace(self._place, judged={**self._place.judged, digest: tried})
        self.write(self._place)
