"""Keeps the result of every model so far in `sweep.json`, written after each of them.

In: records. Out: one JSON file that is complete at any moment, and the list of models that are done: same bytes, same
settings, same versions, and the release is still the one that the record names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree
from exporters.source.readers.weights_with_architecture import builder_file
from exporters.toolchain import versions
from flows.batch.outcomes import FormatState
from flows.batch.record_file import SCHEMA_VERSION, RecordFile
from flows.config.model_folder import Model, release_name
from flows.config.settings import Settings
from flows.pipeline.verdict import toolchain
from validators.release.integrity import manifest_digest
from validators.release.json_records import STRICT
from validators.release.manifest import MANIFEST

RECORD = "sweep.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptModel:
    """Records the result of one model.

    Attributes:
        path: of the file, relative to the folder of models.
        digest, size: of the file; empty and 0 when it could not be read.
        release: its release directory, relative to the sweep's; empty when there is none.
        manifest: SHA-256 of that release's `release.json`; empty when there is none.
        released: whether the gate passed the release, which needs all required cells of all formats.
        states: one for every format.
        seconds: wall time of the release.
    """

    path: str
    digest: str
    size: int
    release: str
    manifest: str
    released: bool
    states: tuple[FormatState, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Defines the content of `sweep.json`.

    Attributes:
        schema_version: version of this record's shape.
        paritygate: version that wrote it.
        toolchain: versions of the packages that took part.
        settings: of every release, with the digests of the files that they name.
        models: how many models the folder holds; more than there are records while a sweep is under way.
        records: in the order of the paths.
    """

    __pydantic_config__ = STRICT

    schema_version: Literal["1"]
    paritygate: str
    toolchain: Mapping[str, str]
    settings: Mapping[str, Any]
    models: int
    records: tuple[SweptModel, ...]

    @property
    def exit_code(self) -> int:
        """Returns 0 when all is proven, 3 when something errored, else 1."""
        states = {state.state for record in self.records for state in record.states}
        return 3 if "errored" in states else 0 if states == {"proven"} else 1


def begin(settings: Settings, models: int) -> Sweep:
    """Returns a sweep without records, with these settings and today's versions."""
    baseline = settings.baseline and settings.baseline / MANIFEST
    metric = builder_file(settings.samples.metric or "")
    named = [settings.samples.path, metric, baseline, *map(Path, settings.custom_objects)]
    file_digests = {str(path): digest_tree(path)[0] for path in named if path is not None and path.exists()}
    values = settings.model_dump(mode="json", exclude={"model", "output"})
    return Sweep(
        schema_version=SCHEMA_VERSION,
        paritygate=versions(["paritygate"]).get("paritygate", "unknown"),
        toolchain=dict(toolchain(settings.formats, asked=settings.demanded)),
        settings={**values, "given": file_digests},
        models=models,
        records=(),
    )


class SweepFile(RecordFile[Sweep]):
    """Locks and writes the `sweep.json` of one sweep.

    Args:
        folder: the sweep's directory; made when it is not there.
        blank: the new sweep, without records.

    Raises:
        BadInput: another sweep is running there, or its `sweep.json` is not ours.
    """

    def __init__(self, folder: Path, blank: Sweep) -> None:
        in_use = BadInput(
            f"{folder}: another sweep is running there", next_step="Wait for it, or choose another directory with -o."
        )
        next_step = "Remove it to start again, or choose another -o."
        super().__init__(folder / RECORD, Sweep, lock=folder, in_use=in_use, next_step=next_step)
        self._folder = folder
        self.sweep = blank

    def settled(self, model: Model) -> SweptModel | None:
        """Returns the record of a model that need not be released again; None where it must.

        A model that broke without a verdict is tried again. A refused one is not: its file is the same.
        """
        before = self.before
        if before is None or replace(before, records=(), models=self.sweep.models) != replace(self.sweep, records=()):
            return None
        for record in before.records:
            same = (record.digest, release_name(record.path, record.digest)) == (model.digest, model.release)
            if same and (self._kept(record) or (record.path == model.path and _refused(record))):
                return replace(record, path=model.path)
        return None

    def _kept(self, record: SweptModel) -> bool:
        folder = self._folder / record.release
        try:
            return bool(record.manifest) and manifest_digest(folder) == record.manifest
        except OSError:
            return False

    def add(self, records: Sequence[SweptModel]) -> None:
        """Adds records and writes the file in one step."""
        together = sorted((*self.sweep.records, *records), key=lambda record: record.path)
        self.sweep = replace(self.sweep, records=tuple(together))
        self.write(self.sweep)


def _refused(record: SweptModel) -> bool:
    return all(state.state == "refused" for state in record.states)
