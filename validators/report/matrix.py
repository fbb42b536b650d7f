"""The model behind every report: which artifact did what in which runtime on which device.

In: a manifest. Out: rows, columns and entries, the headline, and which reasons stand against a requirement or a cell.
Pure; the verdict is the gate's, this only arranges it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

from validators.contract import Cell, CellStatus, Device, Reason, Requirement, Verdict
from validators.manifest import Manifest
from validators.report.text import counted, number

_T = TypeVar("_T")

Shown = CellStatus | Literal["not run"]
Headline = Literal["RELEASED", "REFUSED", "BROKEN"]

MARKS: dict[Shown, tuple[str, str]] = {
    "passed": ("✓", "+"),
    "failed": ("✗", "x"),
    "errored": ("!", "!"),
    "limited": ("~", "~"),
    "unavailable": ("?", "?"),
    "not run": ("?", "?"),
}
"""Status -> the mark that tells it without colour, and its form where only ASCII can be written."""

_HEADLINES: dict[int, Headline] = {0: "RELEASED", 1: "REFUSED", 3: "BROKEN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A runtime on a device."""

    runtime: str
    device: Device

    def __str__(self) -> str:
        return f"{self.runtime} {self.device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What stands where a row meets a column.

    Attributes:
        status: the cell's; the artifact's where it was never exported; `not run` where a cell should stand.
        max_abs: largest distance from the reference; None when nothing was compared.
    """

    status: Shown
    max_abs: float | None = None

    def text(self, *, ascii_only: bool = False) -> str:
        """Mark, status and largest distance: `✓ passed 1.2e-07`; the distance is left out where there is none."""
        distance = "" if self.max_abs is None else f" {number(self.max_abs)}"
        return f"{mark(self.status, ascii_only=ascii_only)} {self.status}{distance}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One artifact (`format/variant`) with an entry for each column; None where the runtime reads other formats."""

    artifact: str
    entries: tuple[Entry | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Artifacts x (runtime, device)."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def pairs(self) -> Iterator[tuple[str, Column, Entry]]:
        """Every entry with its artifact and its column, row by row."""
        for row in self.rows:
            for column, entry in zip(self.columns, row.entries, strict=True):
                if entry is not None:
                    yield row.artifact, column, entry


def build(manifest: Manifest) -> Matrix:
    """Arranges a manifest.

    A column is there for every runtime and device that a cell or a requirement names, CPUs first. A row is there for
    every artifact that is recorded, ran, or is required; so nothing that is missing can hide.
    """
    asked: list[Requirement | Cell] = [*manifest.verdict.required, *manifest.cells]
    reads = _unique((each.format, Column(runtime=each.runtime, device=each.device)) for each in asked)
    columns = sorted(_unique(column for _, column in reads), key=lambda column: column.device)
    # Of two records of the same cell the one that did not pass is shown.
    shown = {cell.key: cell for cell in sorted(manifest.cells, key=lambda cell: cell.status != "passed")}
    exports = {artifact.key: artifact.status for artifact in manifest.artifacts}

    def entry(artifact: str, column: Column) -> Entry | None:
        if cell := shown.get(f"{artifact} {column}"):
            return Entry(status=cell.status, max_abs=cell.max_abs)
        if (artifact.partition("/")[0], column) not in reads:
            return None
        status = exports.get(artifact, "exported")
        return Entry(status="not run" if status == "exported" else status)

    keys = _unique(
        [artifact.key for artifact in manifest.artifacts] + [f"{c.format}/{c.variant}" for c in manifest.cells]
    )
    keys += _unique(format_ for format_, _ in reads if not any(key.startswith(f"{format_}/") for key in keys))
    rows = tuple(Row(artifact=key, entries=tuple(entry(key, column) for column in columns)) for key in keys)
    return Matrix(columns=tuple(columns), rows=rows)


def mark(status: Shown, *, ascii_only: bool = False) -> str:
    """The mark of a status."""
    return MARKS[status][ascii_only]


def headline(verdict: Verdict) -> Headline:
    """The verdict in one word."""
    return _HEADLINES[verdict.exit_code]


def summary(manifest: Manifest) -> str:
    """`6 of 6 required cells proven, 8 cells in all`, and how many of them had no time for all samples."""
    required = manifest.verdict.required
    proven = sum(not against_requirement(manifest, requirement) for requirement in required)
    partial = sum(bool(cell.unseen) for cell in manifest.cells)
    return (
        f"{proven} of {counted(len(required), 'required cell')} proven, {counted(len(manifest.cells), 'cell')} in all"
        + (f"; {counted(partial, 'cell')} saw only part of the samples" if partial else "")
    )


def against_requirement(manifest: Manifest, requirement: Requirement) -> tuple[Reason, ...]:
    """The verdict's reasons that name a requirement, a cell of it (also one that was not run) or an artifact for it."""
    artifacts = [artifact.key for artifact in manifest.artifacts if artifact.format == requirement.format]
    subjects = {str(requirement), *artifacts}
    subjects |= {f"{artifact} {requirement.runtime} {requirement.device}" for artifact in artifacts}
    subjects |= {cell.key for cell in manifest.cells if answers(cell, requirement)}
    return tuple(reason for reason in manifest.verdict.reasons if reason.subject in subjects)


def against_cell(manifest: Manifest, cell: Cell) -> tuple[Reason, ...]:
    """The verdict's reasons that name a cell or a requirement that it should have met."""
    subjects = {cell.key} | {str(each) for each in manifest.verdict.required if answers(cell, each)}
    return tuple(reason for reason in manifest.verdict.reasons if reason.subject in subjects)


def answers(cell: Cell, requirement: Requirement) -> bool:
    """Whether a cell is one that a requirement asks for."""
    return (cell.format, cell.runtime, cell.device) == (requirement.format, requirement.runtime, requirement.device)


def _unique(items: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(items))
