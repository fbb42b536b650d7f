"""Defines attestations: records of results and decisions about a release, made after its manifest was written.

In: untrusted JSON, or the results of a machine or the decision of a person. Out: the record, whose shape
`docs/attestation.schema.json` publishes, or its JSON. `validators.release.attestation_files` stores them as files next
to the manifest.
The manifest does not cover them. Instead each names the manifest's digest, so none can be moved to another release.

Attestations are not signed yet: everyone who can write into the folder can add or remove one. They can be trusted as
far as the access to the folder.
"""

import functools
import typing
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from exporters.errors import Broken
from validators.contract import Cell, Reason, Waiver
from validators.release.json_records import STRICT, decoded, encoded
from validators.runtimes.registry import ORIGINAL, RUNTIMES

if typing.TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA_VERSION: Literal["2"] = "2"
BROKEN = "broken attestation"
FOREIGN = "foreign attestation"

Act = Literal["approved", "rejected", "forced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Records the machine where cells ran.

    Attributes:
        host: the machine's host name.
        platform: operating system, machine and Python.
        processor: the processor's name.
        cards: the cards that a driver lists, each with the driver's version; empty when none does.
        adapters: the adapters that the cells report.
        runtimes: name and version of every runtime that ran.
    """

    host: str
    platform: str
    processor: str
    cards: tuple[str, ...]
    adapters: tuple[str, ...]
    runtimes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """Holds the fields that every attestation has.

    Attributes:
        schema_version: version of this record's shape.
        manifest: SHA-256 of the `release.json` that it is about.
        paritygate: version of paritygate that wrote it.
        created: UTC time, ISO 8601.
    """

    # Inherited by every record inside; see `validators.release.manifest.Manifest`.
    __pydantic_config__ = STRICT

    schema_version: Literal["2"]
    manifest: str
    paritygate: str
    created: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedCells(_Header):
    """Records cells of a release that passed or failed on some machine.

    Attributes:
        kind: what is attested.
        machine: where the cells ran.
        cells: as they ran there; their log files stayed on that machine.
        seconds: wall time of all cells together.
    """

    kind: Literal["cells"]
    machine: Machine
    cells: tuple[Cell, ...]
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval(_Header):
    """Records the decision of a person about a release.

    Attributes:
        kind: what is attested.
        act: `approved`; `rejected`; `forced`: released although the gate refused.
        who: who decided, as they named themselves.
        why: their reason, in words.
        overridden: the reasons that refused the release when it was forced, and no longer do; empty for the other acts.
    """

    kind: Literal["approval"]
    act: Act
    who: str
    why: str
    overridden: tuple[Reason, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestedWaiver(_Header):
    """Records a waiver that was made after the release.

    Attributes:
        kind: what is attested.
        waiver: for which cell, until when, by whom and why.
    """

    kind: Literal["waiver"]
    waiver: Waiver


Attestation = AttestedCells | Approval | AttestedWaiver


@functools.cache
def adapter() -> "TypeAdapter[Attestation]":
    """Returns Pydantic's adapter of the records, which validates, dumps and describes them."""
    from pydantic import Discriminator, TypeAdapter

    tagged: Any = Annotated[Attestation, Discriminator("kind")]  # type checkers know it as a value only
    return TypeAdapter(tagged)


def dump(attestation: Attestation) -> bytes:
    """Returns the attestation as JSON; see `validators.release.json_records.encoded`.

    Raises:
        Broken: a value is not valid; named with its path.
    """
    try:
        raw = encoded(attestation, adapter(), version=SCHEMA_VERSION)
        _refuse_strange(attestation)
    except ValueError as error:
        raise Broken(f"the attestation cannot be written: {error}") from error
    return raw


def load(raw: bytes) -> Attestation:
    """Returns the attestation in a file's bytes.

    Raises:
        ValueError: the message starts with the path of the field at fault.
    """
    attestation = decoded(raw, adapter(), version=SCHEMA_VERSION)
    _refuse_strange(attestation)
    return attestation


def _refuse_strange(attestation: Attestation) -> None:
    """Checks the meaning of a well-formed record. Raises: ValueError, where it is empty or impossible."""
    if isinstance(attestation, AttestedCells):
        _refuse_strange_cells(attestation.cells)
    elif isinstance(attestation, AttestedWaiver):
        if wrong := fault(attestation.waiver):
            msg = f"waiver: {wrong}"
            raise ValueError(msg)
    elif not attestation.who.strip() or not attestation.why.strip():
        msg = "an approval says who and why: valid are words, got none"
        raise ValueError(msg)
    elif (attestation.act == "forced") is not bool(attestation.overridden):
        msg = "overridden: valid are the reasons that are forced, and none for any other act"
        raise ValueError(msg)


def _refuse_strange_cells(cells: Sequence[Cell]) -> None:
    """Checks attested cells. Raises: ValueError, for one that `verify` cannot have run, or that occurs twice."""
    known = {(row.format, row.name, row.device) for row in RUNTIMES if row.format != ORIGINAL}
    for index, cell in enumerate(cells):
        if (cell.format, cell.runtime, cell.device) not in known:
            msg = (
                f"cells[{index}]: this paritygate knows no runtime {cell.runtime!r} on {cell.device} for {cell.format}"
            )
            raise ValueError(msg)
    for key, times in Counter(cell.key for cell in cells).items():
        if times > 1:
            msg = f"cells: {key!r} occurs {times} times"
            raise ValueError(msg)
    if not cells:
        msg = "cells: got none, valid is at least one"
        raise ValueError(msg)


def fault(waiver: Waiver) -> str:
    """Returns the fault of a waiver in words; empty when there is none."""
    if not waiver.by.strip() or not waiver.why.strip():
        return "a waiver says by whom and why: valid are words, got none"
    format_, _, place = waiver.cell.partition(" ")
    known = [str(row.requirement) for row in RUNTIMES]
    if f"{format_.partition('/')[0]} {place}" not in known:
        return f"this paritygate knows no cell {waiver.cell!r}; valid are {', '.join(known)}, or FORMAT/VARIANT there"
    return ""
