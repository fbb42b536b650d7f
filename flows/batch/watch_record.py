"""Records which checkpoints of a watched place got a verdict, next to the releases: `watch-NAME-DIGEST8.json`.

In: records. Out: one JSON file that is complete at any moment and locked by one flow run at a time, and the best value.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from exporters.errors import BadInput
from flows.batch.checkpoints import Checkpoint
from flows.batch.record_file import SCHEMA_VERSION, RecordFile
from validators.release.json_records import STRICT

RELEASED: Literal["Released"] = "Released"
REFUSED: Literal["Refused"] = "Refused"
UNUSABLE: Literal["Bad input"] = "Bad input"
_WITH_VERDICT = (RELEASED, REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedCheckpoint:
    """Records the result of one checkpoint.

    Attributes:
        path: its path.
        mark: see `Checkpoint.mark`.
        value: of the metric.
        state: `Released`, `Refused`, or `Bad input` for a file that is no valid model.
        message: of the release's final state.
    """

    path: str
    mark: str
    value: float
    state: Literal["Released", "Refused", "Bad input"]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedPlace:
    """Defines the file's content.

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
    """Locks and writes the record of one watched place.

    Args:
        folder: of the releases; made when it is not there.
        checkpoints, metric, higher_is_better: what is watched; each combination has a file of its own.

    Raises:
        BadInput: another run of the flow is working on it, or the file is not ours.
    """

    def __init__(self, folder: Path, *, checkpoints: str, metric: str, higher_is_better: bool) -> None:
        mark = hashlib.sha256(f"{checkpoints}\n{metric}\n{higher_is_better}".encode()).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9]+", "-", checkpoints).strip("-")[-40:]
        file = folder / f"watch-{name}-{mark}.json"
        super().__init__(
            file,
            WatchedPlace,
            lock=file.with_suffix(".lock"),
            in_use=BadInput(f"{checkpoints}: another run watches it now", next_step="That run will see it."),
            next_step="Move it away to start again; the releases stay.",
        )
        self._place = self.before or WatchedPlace(
            schema_version=SCHEMA_VERSION,
            checkpoints=checkpoints,
            metric=metric,
            higher_is_better=higher_is_better,
            judged={},
        )

    def has(self, digest: str) -> bool:
        """Tells whether a checkpoint with these bytes got a verdict."""
        return digest in self._place.judged

    def wants(self, checkpoint: Checkpoint) -> bool:
        """Tells whether it is better than all that got a verdict, and not a file that was found to be no model."""
        if checkpoint.value is None:
            return False
        known = self._place.judged.values()
        if any((each.path, each.mark) == (checkpoint.path, checkpoint.mark) for each in known):
            return False
        sign = 1 if self._place.higher_is_better else -1
        best = max((sign * each.value for each in known if each.state in _WITH_VERDICT), default=float("-inf"))
        return sign * checkpoint.value > best

    def best_first(self, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
        """Sorts checkpoints into the order in which they are tried; of equal ones the later name comes first."""
        sign = 1 if self._place.higher_is_better else -1
        return sorted(checkpoints, key=lambda each: (sign * (each.value or 0), each.path), reverse=True)

    def add(self, digest: str, checkpoint: Checkpoint, *, state: str, message: str) -> None:
        """Adds the result of a checkpoint and writes the file in one step.

        A broken release is not recorded, so the checkpoint is tried again.
        """
        if state not in (RELEASED, REFUSED, UNUSABLE) or checkpoint.value is None:
            return
        tried = TriedCheckpoint(
            path=checkpoint.path, mark=checkpoint.mark, value=checkpoint.value, state=state, message=message
        )
        self._place = replace(self._place, judged={**self._place.judged, digest: tried})
        self.write(self._place)
