"""Arranges a manifest for every report: a line for each cell, the headline, and the reasons that concern a cell.

The verdict is the gate's.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from exporters.contract import ArtifactStatus
from validators.contract import Batch, Cell, CellStatus, Device, Reason, Requirement, SampleSet, Verdict
from validators.gate.verdict import APPROVAL, AWAITING
from validators.release.manifest import Manifest
from validators.runtimes.registry import RUNTIMES
from validators.text import counted, number

Shown = CellStatus | Literal["not run"]
Headline = Literal["RELEASED", "AWAITING", "REFUSED", "BROKEN"]

MARKS: dict[Shown, tuple[str, str]] = {
    "passed": ("✓", "+"),
    "failed": ("✗", "x"),
    "errored": ("!", "!"),
    "limited": ("~", "~"),
    "unavailable": ("?", "?"),
    "not run": ("?", "?"),
}
"""Maps a status to the mark that shows it without colour, and to its form where only ASCII can be written."""

_HEADLINES: dict[int, Headline] = {0: "RELEASED", 1: "REFUSED", 3: "BROKEN"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Holds the result of one artifact in one runtime on one device.

    Attributes:
        artifact: `format/variant`; only the format where no artifact is recorded.
        runtime, device: as in the registry.
        status: the cell's; the artifact's where it was never exported; `not run` where a required cell is missing.
        max_abs: largest distance from the reference; None when nothing was compared.
        where: the adapter it ran on, after `software` where that imitates a card; empty when it did not run.
        seen: `3 of 45 rows` where there was no time for all; else empty.
        host: the machine it ran on; empty where that needs no name.
        why: why it did not pass, where the line has a host: the verdict's reasons may be another machine's.
    """

    artifact: str
    runtime: str
    device: Device
    status: Shown
    max_abs: float | None = None
    where: str = ""
    seen: str = ""
    host: str = ""
    why: str = ""

    @property
    def label(self) -> str:
        """Gives the cell's key: `format/variant runtime device`."""
        return f"{self.artifact} {self.runtime} {self.device}"

    def result(self, *, ascii_only: bool = False) -> str:
        """Writes mark, status and largest distance: `✓ passed 1.2e-07`; no distance where there is none."""
        distance = "" if self.max_abs is None else f" {number(self.max_abs)}"
        return f"{mark(self.status, ascii_only=ascii_only)} {self.status}{distance}"

    @property
    def remarks(self) -> str:
        """Tells where it ran, how much of the samples it saw, and why it did not pass, in one phrase."""
        host = f"on {self.host}" if self.host else ""
        return "; ".join(filter(None, (host, self.where, self.seen, self.why)))


def build(manifest: Manifest) -> tuple[Line, ...]:
    """Arranges a manifest: artifacts in its order, CPUs before GPUs, runtimes in its order.

    Every cell has a line, and so has every required cell of every artifact that is recorded or required: what is
    missing is visible.
    """
    # Of two records of the same cell the one that did not pass is shown.
    shown = {cell.key: cell for cell in sorted(manifest.cells, key=lambda cell: cell.status != "passed")}
    lines = {key: line(cell, manifest.samples) for key, cell in shown.items()}
    exports: dict[str, ArtifactStatus] = {artifact.key: artifact.status for artifact in manifest.artifacts}
    for required in manifest.verdict.required:
        for key in [key for key in exports if required.covers(key)] or [required.artifacts]:
            status = exports.get(key, "exported")
            absent = Line(
                artifact=key,
                runtime=required.runtime,
                device=required.device,
                status="not run" if status == "exported" else status,
            )
            lines.setdefault(f"{key} {required.runtime} {required.device}", absent)
    order = list(exports)
    places = {(row.name, row.device): place for place, row in enumerate(RUNTIMES)}
    last = len(RUNTIMES)

    def rank(one: Line) -> tuple[int, str, str, int, str]:
        place = order.index(one.artifact) if one.artifact in exports else len(order)
        return place, one.artifact, one.device, places.get((one.runtime, one.device), last), one.runtime

    return tuple(sorted(lines.values(), key=rank))


def line(cell: Cell, samples: Sequence[SampleSet], host: str = "") -> Line:
    """Makes the line of one cell.

    Args:
        cell: the cell.
        samples: all sets of the evidence.
        host: the machine that it ran on, where that matters; the line then also says in which version of the runtime,
            and why the cell did not pass.
    """
    place = cell.placement
    where = "" if place is None else f"{place.where} ({place.runtime})" if host else place.where
    total = sum(sample_set.rows for sample_set in samples)
    return Line(
        artifact=f"{cell.format}/{cell.variant}",
        runtime=cell.runtime,
        device=cell.device,
        status=cell.status,
        max_abs=cell.max_abs,
        where=where,
        seen=f"{cell.rows} of {counted(total, 'row')}" if cell.unseen else "",
        host=host,
        why=": ".join(filter(None, (cell.reason, cell.message))) if host and cell.status != "passed" else "",
    )


def mark(status: Shown, *, ascii_only: bool = False) -> str:
    """Gives the mark of a status."""
    return MARKS[status][ascii_only]


def headline(verdict: Verdict) -> Headline:
    """Gives the verdict in one word: AWAITING where only other machines or a person are missing."""
    if verdict.reasons and all(reason.code in {APPROVAL, AWAITING} for reason in verdict.reasons):
        return "AWAITING"
    return _HEADLINES[verdict.exit_code]


def not_run(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    """Groups the cells that never came to a comparison by their message: one missing driver stops many."""
    grouped: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        if cell.status in {"unavailable", "limited"}:
            grouped[cell.message].append(cell)
    return dict(grouped)


def summary(manifest: Manifest) -> str:
    """Counts: `6 of 6 required cells proven, 8 cells in all`, and what the proof may lack: samples, varied outputs."""
    required = manifest.verdict.required
    proven = sum(not against_requirement(manifest, requirement) for requirement in required)
    partial = sum(bool(cell.unseen) for cell in manifest.cells)
    weak = sum(coverage.weak for coverage in manifest.grounds.coverage.values())
    return (
        f"{proven} of {counted(len(required), 'required cell')} proven, {counted(len(manifest.cells), 'cell')} in all"
        + (f"; {counted(partial, 'cell')} saw only part of the samples" if partial else "")
        + (f"; weak evidence for {counted(weak, 'output')}: too little variation over the samples" if weak else "")
    )


BATCHES: Mapping[Batch, str] = {
    "independent": "The original gives a row the same result in a batch of any size; every copy has to do the same.",
    "mixes": "The original's result for a row depends on the batch; every batch is compared as a whole.",
    "fixed": "The original takes only one batch size.",
}
"""Says how the original treats the rows of a batch."""


def split_note(manifest: Manifest) -> str:
    """Names the artifacts that are the core of a split model and what has to run before them; empty for none."""
    cores = [artifact for artifact in manifest.artifacts if artifact.preprocessing]
    if not cores:
        return ""
    names = ", ".join(f"`{artifact.key}`" for artifact in cores)
    return (
        f"The model is split at its last text or table operator: {names} hold its numeric core. "
        f"`{cores[0].preprocessing}` next to each core says how its inputs are computed; "
        "it has to run first, and did in every cell"
    )


def against_requirement(manifest: Manifest, requirement: Requirement) -> tuple[Reason, ...]:
    """Selects the verdict's reasons that name a requirement, a cell of it (run or not) or an artifact for it."""
    artifacts = [artifact.key for artifact in manifest.artifacts if requirement.covers(artifact.key)]
    subjects = {str(requirement), *artifacts}
    subjects |= {f"{artifact} {requirement.runtime} {requirement.device}" for artifact in artifacts}
    subjects |= {cell.key for cell in manifest.cells if requirement.asks_for(cell)}
    return tuple(reason for reason in manifest.verdict.reasons if reason.subject in subjects)


def against_cell(manifest: Manifest, cell: Cell) -> tuple[Reason, ...]:
    """Selects the verdict's reasons that name a cell or a requirement that it should have met."""
    subjects = {cell.key} | {str(each) for each in manifest.verdict.required if each.asks_for(cell)}
    return tuple(reason for reason in manifest.verdict.reasons if reason.subject in subjects)
