"""Orders the sections that every written report has after its comparisons: a title, a table, sentences."""

from collections.abc import Iterator
from dataclasses import dataclass

from exporters.contract import Artifact, Finding
from validators.contract import Cell
from validators.gate.weight_reasons import sentence
from validators.release.manifest import Manifest
from validators.report.view import notes
from validators.report.view.tables import tables
from validators.report.view.text import Table, pairs, quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Holds one section.

    Attributes:
        id: names it on the page.
        title: its heading.
        intro: a sentence before the table.
        table: None without one.
        sentences: what follows the table.
    """

    id: str
    title: str
    intro: str = ""
    table: Table | None = None
    sentences: tuple[str, ...] = ()


def sections(manifest: Manifest) -> tuple[Section, ...]:
    """Builds the sections of a release; those without rows and sentences are left out."""
    by_name, baseline, seconds = tables(manifest), notes.baseline(manifest), manifest.seconds
    weights = "Every constant of an artifact, compared with the weights of the original without running it."
    stages = ", ".join(f"{stage} {duration:.1f}" for stage, duration in seconds.items())
    toolchain = (
        f"{manifest.platform}.",
        f"{pairs(manifest.toolchain)}.",
        *([f"Seconds: {stages}."] if seconds else []),
    )
    every = (
        Section(
            id="baseline",
            title="Against the baseline",
            intro=baseline.headline if baseline else "",
            table=by_name["baseline"],
            sentences=tuple(f"Not compared: {reason}: {quoted(subjects)}" for reason, subjects in baseline.not_compared)
            if baseline
            else (),
        ),
        Section(id="findings", title="Findings", sentences=tuple(_findings(manifest))),
        Section(
            id="weights",
            title="Weights",
            intro=weights,
            table=by_name["weights"],
            sentences=tuple(
                f"✗ `{artifact.key}` {sentence(difference)}"
                for artifact in manifest.artifacts
                for difference in (artifact.weights.differences if artifact.weights else ())
            ),
        ),
        Section(id="gpu", title="GPU cells", table=by_name["gpu"]),
        Section(id="artifacts", title="Artifacts", table=by_name["artifacts"]),
        Section(id="rounding", title="The original's own rounding", table=by_name["rounding"]),
        Section(id="task", title="The task", intro=notes.task(manifest) or "", table=by_name["task"]),
        Section(id="evidence", title="Samples", table=by_name["samples"], sentences=notes.sample_notes(manifest)),
        Section(id="ranges", title="Ranges of the inputs", table=by_name["ranges"]),
        Section(id="toolchain", title="Toolchain", sentences=toolchain),
        Section(id="interrupted", title="What was interrupted", sentences=notes.interrupted(manifest)),
    )
    return tuple(section for section in every if section.sentences or (section.table and section.table.rows))


def _findings(manifest: Manifest) -> Iterator[str]:
    """Yields the findings of artifacts and cells, each once with all that have it, those that block first."""
    subjects: dict[Finding, list[str]] = {}
    holders: list[Artifact | Cell] = [*manifest.artifacts, *manifest.cells]
    for holder in holders:
        for finding in holder.findings:
            subjects.setdefault(finding, []).append(holder.key)
    for finding, keys in sorted(subjects.items(), key=lambda item: not item[0].blocking):
        weight = "blocks" if finding.blocking else "a note"
        way_out = f"; way out: {finding.way_out}" if finding.way_out else ""
        yield f"{quoted(keys)} {finding.code} ({weight}): {finding.message}{way_out}"
