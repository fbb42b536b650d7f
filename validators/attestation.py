"""Attestations: what was found out about a release after its manifest was written, beside it, one file each.

In: the cells that a machine ran from a release's evidence (`write`); later the folder with all of them (`read`). Out: a
JSON file whose shape `docs/attestation.schema.json` publishes; the records, and a named reason for every file that is
none. The manifest does not cover this folder: each attestation names the manifest's digest instead, so one cannot be
carried over to another release.

Attestations are not signed yet: whoever can write into the folder can write one, or take one away. What they prove is
worth as much as the access to the folder.
"""

import contextlib
import functools
import os
import re
import secrets
import tempfile
import typing
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from exporters.errors import BadInput, Broken
from exporters.store import versions
from validators.contract import Cell, Reason
from validators.integrity import ATTESTATIONS, manifest_digest
from validators.manifest import MANIFEST
from validators.records import decoded, encoded
from validators.registry import ORIGINAL, RUNTIMES

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION: Literal["1"] = "1"
BROKEN = "broken attestation"
FOREIGN = "foreign attestation"

_MOST_BYTES = 32 << 20  # a cell takes about a KiB for each sample set and output
_UNFINISHED = ".partial"
_REMOVE = "take the file out of the folder, or write it again with `paritygate verify RELEASE_DIR --attest`"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where cells ran.

    Attributes:
        host: the machine's own name.
        platform: operating system, machine and Python.
        processor: the processor's name.
        cards: the cards that a driver lists, each with the driver's version; empty when none does.
        adapters: what the cells say they ran on.
        runtimes: name and version of every runtime that ran.
    """

    host: str
    platform: str
    processor: str
    cards: tuple[str, ...]
    adapters: tuple[str, ...]
    runtimes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """Cells of a release, proven or failed on some machine.

    Attributes:
        schema_version: version of this record's shape.
        kind: what is attested.
        manifest: SHA-256 of the `release.json` that it is about.
        paritygate: version of paritygate that wrote it.
        created: UTC time, ISO 8601.
        machine: where the cells ran.
        cells: as they ran there; their logs stayed there.
        seconds: wall time of all cells together.
    """

    # Inherited by every record inside; see `validators.manifest.Manifest`.
    __pydantic_config__ = {  # noqa: RUF012 - pydantic's name and form for it; nothing changes it
        "extra": "forbid",
        "strict": True,
        "allow_inf_nan": False,
    }

    schema_version: Literal["1"]
    kind: Literal["cells"]
    manifest: str
    paritygate: str
    created: str
    machine: Machine
    cells: tuple[Cell, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """An attestation and its file, as a path relative to the release directory."""

    file: str
    attestation: Attestation


@functools.cache
def adapter() -> "TypeAdapter[Attestation]":
    """Pydantic's view of the record: validates, dumps and describes it."""
    from pydantic import TypeAdapter

    return TypeAdapter(Attestation)


def refuse_unwritable(release: Path) -> None:
    """Makes sure, before cells run for minutes, that an attestation can be written.

    Raises:
        BadInput: this user cannot write into the release's folder of attestations.
    """
    folder = release / ATTESTATIONS
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=_UNFINISHED):
            pass
    except OSError as error:
        raise BadInput(
            f"{folder}: an attestation cannot be written there: {error.strerror}",
            next_step="Verify without --attest, or make the folder writable. A writable copy of the release serves as "
            f"well: the file it gets may be moved into this release's {ATTESTATIONS}/.",
        ) from error


def write(release: Path, *, manifest: str, machine: Machine, cells: Sequence[Cell], seconds: float) -> Path:
    """Writes the cells as an attestation, in one step: whoever reads the folder meanwhile sees all of it or nothing.

    Args:
        release: the release directory.
        manifest: SHA-256 of its `release.json` when the cells began.
        machine: where they ran.
        cells: what to attest.
        seconds: wall time of all cells together.

    Returns:
        The file.

    Raises:
        Broken: `release.json` is another one by now, or a value is not valid.
        OSError: the file cannot be written.
    """
    if manifest_digest(release) != manifest:
        raise Broken(
            f"{release / MANIFEST}: was replaced while its cells ran, so they prove nothing of it",
            next_step="Run `paritygate verify` again.",
        )
    now = datetime.now(UTC)
    attestation = Attestation(
        schema_version=SCHEMA_VERSION,
        kind="cells",
        manifest=manifest,
        paritygate=versions(["paritygate"]).get("paritygate", "unknown"),
        created=now.isoformat(timespec="seconds"),
        machine=machine,
        cells=tuple(replace(cell, log="") for cell in cells),
        seconds=round(seconds, 3),
    )
    host = re.sub(r"[^A-Za-z0-9]+", "-", machine.host)[:40].strip("-") or "machine"
    file = release / ATTESTATIONS / f"cells-{now:%Y%m%dT%H%M%SZ}-{host}-{secrets.token_hex(3)}.json"
    _place(dump(attestation), file)
    return file


def dump(attestation: Attestation) -> bytes:
    """The attestation as JSON; see `validators.records.encoded`.

    Raises:
        Broken: a value is not valid; named with its path.
    """
    try:
        raw = encoded(attestation, adapter(), version=SCHEMA_VERSION)
        _refuse_strange_cells(attestation.cells)
    except ValueError as error:
        raise Broken(f"the attestation cannot be written: {error}") from error
    return raw


def read(release: Path, *, manifest: str) -> tuple[tuple[Attested, ...], tuple[Reason, ...]]:
    """Reads every attestation of a release; nobody vouches for what lies there.

    Args:
        release: the release directory.
        manifest: SHA-256 of its `release.json`.

    Returns:
        The attestations in the order of their names, copies of the same one only once; and a reason against the
        release for every entry of the folder that is none, or is about another release. A file that is being written
        at this moment is not there yet.

    Raises:
        OSError: the folder cannot be read.
    """
    found: dict[bytes, Attested] = {}
    reasons: list[Reason] = []
    for path in _entries(release / ATTESTATIONS):
        file = f"{ATTESTATIONS}/{path.name}"
        try:
            raw = _content(path)
            attestation = decoded(raw, adapter(), version=SCHEMA_VERSION)
            _refuse_strange_cells(attestation.cells)
        except (ValueError, OSError) as error:
            reasons.append(Reason(code=BROKEN, subject=file, message=f"{error}; {_REMOVE}"))
            continue
        if attestation.manifest != manifest:
            about = (
                f"it is about the release whose {MANIFEST} has SHA-256 {attestation.manifest}, this one has {manifest}"
            )
            reasons.append(Reason(code=FOREIGN, subject=file, message=f"{about}; {_REMOVE}"))
            continue
        found.setdefault(raw, Attested(file=file, attestation=attestation))
    return tuple(found.values()), tuple(reasons)


def _entries(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # what stands in its place, the digests name
        yield from sorted(path for path in folder.iterdir() if not _is_unfinished(path))


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(_UNFINISHED)


def _content(path: Path) -> bytes:
    """The bytes of a regular file of a size that we may read.

    Raises:
        ValueError: it is not, or is too large.
        OSError: it cannot be read.
    """
    if path.is_symlink() or not path.is_file() or path.suffix != ".json":
        msg = "this is no attestation: valid are regular files with names that end in .json"
        raise ValueError(msg)
    # What the name stands for may be another thing by now: no link is followed, and no pipe is waited for.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        raw = stream.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        msg = f"it is larger than {_MOST_BYTES >> 20} MiB, which no attestation needs"
        raise ValueError(msg)
    return raw


def _refuse_strange_cells(cells: Sequence[Cell]) -> None:
    """Raises: ValueError, for a cell that `paritygate verify` cannot have run, or that stands there twice."""
    known = {(row.format, row.name, row.device) for row in RUNTIMES if row.format != ORIGINAL}
    for index, cell in enumerate(cells):
        if (cell.format, cell.runtime, cell.device) not in known:
            msg = (
                f"cells[{index}]: this paritygate knows no runtime {cell.runtime!r} on {cell.device} for {cell.format}"
            )
            raise ValueError(msg)
    for key, times in Counter(cell.key for cell in cells).items():
        if times > 1:
            msg = f"cells: {key!r} stands there {times} times"
            raise ValueError(msg)
    if not cells:
        msg = "cells: got none, valid is at least one"
        raise ValueError(msg)


def _place(raw: bytes, file: Path) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=_UNFINISHED)
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fchmod(stream.fileno(), 0o644)  # others of a shared folder read it
            os.fsync(stream.fileno())
        unfinished.rename(file)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
