"""Stores attestations in the folder `attestations/` of a release: one file each, written in one step, never edited.

In: the cells that a machine ran from a release's evidence, or the decision of a person; later the folder with all of
them (`read`). Out: files; the records, and a named reason for every file that is no attestation.
"""

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exporters.errors import BadInput, Broken
from exporters.files.atomic import PARTIAL, is_partial, write
from exporters.toolchain import versions
from validators.contract import Cell, Reason, Waiver
from validators.release.attestations import (
    BROKEN,
    FOREIGN,
    SCHEMA_VERSION,
    Act,
    Approval,
    Attestation,
    AttestedCells,
    AttestedWaiver,
    Machine,
    dump,
    load,
)
from validators.release.integrity import ATTESTATIONS, manifest_digest
from validators.release.manifest import MANIFEST

_MOST_BYTES = 32 << 20  # a cell takes about a KiB for each sample set and output
_REMOVE = "take the file out of the folder, or write it again with the command that wrote it"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAttestation:
    """Holds an attestation and its file, as a path relative to the release directory."""

    file: str
    attestation: Attestation


def refuse_unwritable(release: Path) -> None:
    """Makes sure, before cells run for minutes, that an attestation can be written.

    Raises:
        BadInput: this user cannot write into the release's folder of attestations.
    """
    folder = release / ATTESTATIONS
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=PARTIAL):
            pass
    except OSError as error:
        raise BadInput(
            f"{folder}: an attestation cannot be written there: {error.strerror}",
            next_step="Verify without --attest, or make the folder writable. A writable copy of the release works as "
            f"well: move the file from there into this release's {ATTESTATIONS}/.",
        ) from error


def write_cells(release: Path, *, manifest: str, machine: Machine, cells: Sequence[Cell], seconds: float) -> Path:
    """Writes an attestation of cells.

    Args:
        release: the release directory.
        manifest: SHA-256 of its `release.json` when the cells began.
        machine: where they ran.
        cells: the cells to attest; their log files stay on this machine, so `log` is left out.
        seconds: wall time of all cells together.

    Returns:
        The file.

    Raises:
        Broken: `release.json` was replaced in the meantime, or a value is not valid.
        OSError: the file cannot be written.
    """
    attestation = AttestedCells(
        **_header(manifest),
        kind="cells",
        machine=machine,
        cells=tuple(replace(cell, log="") for cell in cells),
        seconds=round(seconds, 3),
    )
    host = re.sub(r"[^A-Za-z0-9]+", "-", machine.host)[:40].strip("-") or "machine"
    return _write(release, attestation, f"-{host}")


def write_approval(  # noqa: PLR0913 - each is a word of the record, named at every call
    release: Path, *, manifest: str, act: Act, who: str, why: str, overridden: Sequence[Reason] = ()
) -> Path:
    """Writes the decision of a person; `overridden` are the reasons they force. Returns and raises as `write_cells`."""
    approval = Approval(**_header(manifest), kind="approval", act=act, who=who, why=why, overridden=tuple(overridden))
    return _write(release, approval)


def write_waiver(release: Path, *, manifest: str, waiver: Waiver) -> Path:
    """Writes a waiver that was made after the release. Returns and raises as `write_cells`."""
    return _write(release, AttestedWaiver(**_header(manifest), kind="waiver", waiver=waiver))


def _header(manifest: str) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "manifest": manifest,
        "paritygate": versions(["paritygate"]).get("paritygate", "unknown"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _write(release: Path, attestation: Attestation, more: str = "") -> Path:
    """Writes an attestation in one step, so that a reader of the folder sees all of it or nothing."""
    if manifest_digest(release) != attestation.manifest:
        raise Broken(
            f"{release / MANIFEST}: was replaced while this command ran, so the results are about another release",
            next_step="Run the command again.",
        )
    now = datetime.fromisoformat(attestation.created)
    # Random at the end: several machines may write into a shared folder in the same second.
    name = f"{attestation.kind}-{now:%Y%m%dT%H%M%SZ}{more}-{secrets.token_hex(3)}.json"
    file = release / ATTESTATIONS / name
    write(file, dump(attestation), mode=0o644)  # others of a shared folder read it
    return file


def read(release: Path, *, manifest: str) -> tuple[tuple[StoredAttestation, ...], tuple[Reason, ...]]:
    """Reads every attestation of a release; the files are not trusted.

    Args:
        release: the release directory.
        manifest: SHA-256 of its `release.json`.

    Returns:
        The attestations in the order of their names, identical copies only once; and a reason against the release for
        every entry of the folder that is no attestation, or is about another release. A file that is being written at
        this moment is ignored.

    Raises:
        OSError: the folder cannot be read.
    """
    found: dict[bytes, StoredAttestation] = {}
    reasons: list[Reason] = []
    for path in _entries(release / ATTESTATIONS):
        file = f"{ATTESTATIONS}/{path.name}"
        try:
            raw = _content(path)
            attestation = load(raw)
        except (ValueError, OSError) as error:
            why = error.strerror if isinstance(error, OSError) else error  # without this machine's path
            reasons.append(Reason(code=BROKEN, subject=file, message=f"{why}; {_REMOVE}"))
            continue
        if attestation.manifest != manifest:
            about = (
                f"it is about the release whose {MANIFEST} has SHA-256 {attestation.manifest}, this one has {manifest}"
            )
            reasons.append(Reason(code=FOREIGN, subject=file, message=f"{about}; {_REMOVE}"))
            continue
        found.setdefault(raw, StoredAttestation(file=file, attestation=attestation))
    return tuple(found.values()), tuple(reasons)


def _entries(folder: Path) -> Iterator[Path]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # a file of that name is reported by the digests
        yield from sorted(path for path in folder.iterdir() if not is_partial(path))


def _content(path: Path) -> bytes:
    """Returns the bytes of a regular file that is not too large.

    Raises:
        ValueError: it is not, or is too large.
        OSError: it cannot be read.
    """
    if path.is_symlink() or not path.is_file() or path.suffix != ".json":
        msg = "this is no attestation: valid are regular files with names that end in .json"
        raise ValueError(msg)
    # The file may have been replaced since the check above: follow no link, and wait for no pipe.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as stream:
        raw = stream.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        msg = f"it is larger than {_MOST_BYTES >> 20} MiB, which no attestation needs"
        raise ValueError(msg)
    return raw
