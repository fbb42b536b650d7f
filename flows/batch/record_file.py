"""Keeps a growing record in a JSON file: complete at any moment, read strictly, locked by one process at a time.

`SweepFile` and `WatchFile` define the record and add to it.
"""

from pathlib import Path
from typing import Generic, Literal, Self, TypeVar

from exporters.errors import BadInput
from exporters.files.atomic import write
from exporters.files.locks import Lock
from validators.release.json_records import decoded, encoded

SCHEMA_VERSION: Literal["1"] = "1"
_Record = TypeVar("_Record")


class RecordFile(Generic[_Record]):
    """Locks and writes the file until the context ends.

    Args:
        file: its folder is made when it is not there.
        kind: class of the record.
        lock: file or folder that is locked meanwhile.
        in_use: raised when another process holds the lock.
        next_step: for a file that cannot be read.

    Attributes:
        before: the file's record when it was locked; None where there was no file.

    Raises:
        BadInput: `in_use`, or the file holds something else.
    """

    def __init__(self, file: Path, kind: type[_Record], *, lock: Path, in_use: BadInput, next_step: str) -> None:
        from pydantic import TypeAdapter

        self.file = file
        self._adapter: TypeAdapter[_Record] = TypeAdapter(kind)
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = Lock(lock)
        except BlockingIOError as error:
            raise in_use from error
        try:
            self.before = self._read(next_step)
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def write(self, record: _Record) -> None:
        """Writes the record in one step."""
        write(self.file, encoded(record, self._adapter, version=SCHEMA_VERSION))

    def _read(self, next_step: str) -> _Record | None:
        try:
            return decoded(self.file.read_bytes(), self._adapter, version=SCHEMA_VERSION)
        except FileNotFoundError:
            return None
        except ValueError as error:
            message = f"{self.file}: {error}"
            raise BadInput(message, next_step=next_step) from error
