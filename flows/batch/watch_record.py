"""Which checkpoints of a watched place got a verdict, kept beside the releases: `watch-NAME-DIGEST8.json`.

In: records. Out: one JSON file that is whole at any moment, held by one look at a time, and the value to beat.
"""

import fcntl
import functools
import hashlib
import os
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from exporters.errors import BadInput
from flows.batch.checkpoints import Checkpoint
from validators.release.json_records import decoded, encoded

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION: Literal["1"] = "1"
RELEASED: Literal["Released"] = "Released"
REFUSED: Literal["Refused"] = "Refused"
UNUSABLE: Literal["Bad input"] = "Bad input"
_WITH_VERDICT = (RELEASED, REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
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
class Record:
    """The file's content.

    Attributes:
        schema_version: version of this record's shape.
        checkpoints, metric, higher_is_better: what is watched.
        judged: by the SHA-256 of the checkpoint.
    """

    __pydantic_config__ = {  # noqa: RUF012 - pydantic's name and form for it; nothing changes it
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
    }

    schema_version: Literal["1"]
    checkpoints: str
    metric: str
    higher_is_better: bool
    judged: Mapping[str, Judged]


class Ledger:
    """The record of one watched place, held by one look at a time.

    Args:
        folder: of the releases; made when it is not there.
        checkpoints, metric, higher_is_better: what is watched; each combination has a record of its own.

    Raises:
        BadInput: another look is at work, or the file is not ours.
    """

    def __init__(self, folder: Path, *, checkpoints: str, metric: str, higher_is_better: bool) -> None:
        blank = Record(
            schema_version=SCHEMA_VERSION,
            checkpoints=checkpoints,
            metric=metric,
            higher_is_better=higher_is_better,
            judged={},
        )
        mark = hashlib.sha256(f"{checkpoints}\n{metric}\n{higher_is_better}".encode()).hexdigest()[:8]
        name = re.sub(r"[^A-Za-z0-9]+", "-", checkpoints).strip("-")[-40:]
        self.file = folder / f"watch-{name}-{mark}.json"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._record = self._read() or blank
        except BaseException as error:
            os.close(self._lock)
            if isinstance(error, BlockingIOError):
                raise BadInput(
                    f"{checkpoints}: another look at it is under way", next_step="It will see what is there."
                ) from error
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._lock)

    def judged(self, digest: str) -> bool:
        """Whether these very bytes got their verdict."""
        return digest in self._record.judged

    def wants(self, checkpoint: Checkpoint) -> bool:
        """Whether it is better than whatever got a verdict, and not a file that was found to be no model."""
        if checkpoint.value is None:
            return False
        known = self._record.judged.values()
        if any((each.path, each.mark) == (checkpoint.path, checkpoint.mark) for each in known):
            return False
        sign = 1 if self._record.higher_is_better else -1
        bar = max((sign * each.value for each in known if each.state in _WITH_VERDICT), default=float("-inf"))
        return sign * checkpoint.value > bar

    def best_first(self, checkpoints: list[Checkpoint]) -> list[Checkpoint]:
        """In the order in which they are tried; of equal ones the later name first."""
        sign = 1 if self._record.higher_is_better else -1
        return sorted(checkpoints, key=lambda each: (sign * (each.value or 0), each.path), reverse=True)

    def note(self, digest: str, checkpoint: Checkpoint, *, state: str, message: str) -> None:
        """Adds what came of a checkpoint and writes the file anew in one step; what broke is tried again, not noted."""
        if state not in (RELEASED, REFUSED, UNUSABLE) or checkpoint.value is None:
            return
        told = Judged(path=checkpoint.path, mark=checkpoint.mark, value=checkpoint.value, state=state, message=message)
        self._record = replace(self._record, judged={**self._record.judged, digest: told})
        fresh = self.file.with_suffix(".partial")
        with fresh.open("wb") as stream:
            stream.write(encoded(self._record, _adapter(), version=SCHEMA_VERSION))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self.file)

    def _read(self) -> Record | None:
        try:
            return decoded(self.file.read_bytes(), _adapter(), version=SCHEMA_VERSION)
        except FileNotFoundError:
            return None
        except ValueError as error:
            message = f"{self.file}: {error}"
            raise BadInput(message, next_step="Move it away to begin anew; the releases stay.") from error


@functools.cache
def _adapter() -> "TypeAdapter[Record]":
    from pydantic import TypeAdapter

    return TypeAdapter(Record)
