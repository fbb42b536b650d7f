"""`paritygate verify`: check every digest of a release, then run its cells again from the evidence alone.

In: a release directory. Out: a `VerifyReport`; nothing in the directory is touched. Neither the original model nor, for
the formats that need none, TensorFlow is used: any machine with the runtimes can do it.
"""

import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.contract import Artifact
from exporters.errors import BadInput
from exporters.isolation import Limits, Workers
from flows.cells import Cells
from flows.progress import Event, Listener
from flows.settings import Settings
from flows.stages import Stage, run_on_threads
from validators.availability import missing
from validators.contract import Cell, Reason, Verdict
from validators.gate import DIGEST, judge
from validators.hosts import hosts
from validators.integrity import check_files, manifest_digest
from validators.manifest import Manifest, load
from validators.registry import RUNTIMES, RuntimeRow
from validators.web.browser import BrowserHost

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a verification found.

    Attributes:
        release: the directory.
        digest: SHA-256 of its `release.json`.
        manifest: what the release claims.
        problems: files that are not as the manifest says, one sentence each.
        cells: the cells as they ran here; empty when there are problems, since what lies there is not the release.
        verdict: over the cells that ran here, by the release's own policy.
    """

    release: Path
    digest: str
    manifest: Manifest
    problems: tuple[str, ...]
    cells: tuple[Cell, ...]
    verdict: Verdict


def verify(
    release: Path, *, digest: str | None = None, formats: Sequence[str] | None = None, listen: Listener
) -> VerifyReport:
    """Verifies a release.

    Args:
        release: the release directory.
        digest: SHA-256 of its manifest as known from outside; None when it is not known.
        formats: verify only these formats; None for all that the release has.
        listen: told when a cell starts and ends.

    Raises:
        BadInput: there is no release there, its manifest cannot be read, or it has none of the formats.
    """
    manifest = load(release)
    wanted = _wanted(manifest, formats)
    problems = tuple(check_files(release, manifest, digest=digest))
    own_digest = manifest_digest(release)
    if problems:
        reasons = tuple(Reason(code=DIGEST, subject="release", message=problem) for problem in problems)
        verdict = Verdict(passed=False, reasons=reasons, required=manifest.policy.required)
        cells: tuple[Cell, ...] = ()
    else:
        artifacts = [artifact for artifact in manifest.artifacts if artifact.format in wanted]
        required = [r for r in manifest.policy.required if r.format in wanted]
        cells = _run(release, manifest, artifacts, listen)
        verdict = judge(cells=cells, artifacts=artifacts, required=required)
    return VerifyReport(
        release=release, digest=own_digest, manifest=manifest, problems=problems, cells=cells, verdict=verdict
    )


def _wanted(manifest: Manifest, formats: Sequence[str] | None) -> tuple[str, ...]:
    has = manifest.policy.formats
    unknown = sorted(set(formats or ()) - set(has))
    if unknown:
        raise BadInput(f"the release has no {', '.join(unknown)}; it has {', '.join(has)}")
    return tuple(formats or has)


def _run(release: Path, manifest: Manifest, artifacts: Sequence[Artifact], listen: Listener) -> tuple[Cell, ...]:
    pairs = [(artifact, row) for artifact in artifacts for row in RUNTIMES if row.format == artifact.format]
    runnable = [row for artifact, row in pairs if artifact.status == "exported" and not missing(row)]
    done: dict[str, Cell] = {}
    lock = threading.Lock()

    def work(artifact: Artifact, row: RuntimeRow, cells: Cells) -> None:
        name = f"cell {artifact.key} {row.name} {row.device}"
        listen(Event(stage=name, state="started", total=len(pairs)))
        started = time.monotonic()
        cell = cells.run(artifact, row)
        with lock:
            done[cell.key] = cell
        listen(
            Event(
                stage=name,
                state="passed" if cell.status == "passed" else "failed",
                message=f"{cell.status} {cell.message}".strip(),
                seconds=time.monotonic() - started,
                total=len(pairs),
            )
        )

    with tempfile.TemporaryDirectory(prefix="paritygate-verify-") as scratch, BrowserHost() as browser:
        folder = Path(scratch)
        with Workers(folder, folder, hosts=hosts()) as workers:
            cells = Cells(
                workers,
                browser,
                release.absolute(),
                limits=Limits(),
                options={
                    "atol": manifest.policy.atol,
                    "rtol": manifest.policy.rtol,
                    "sample_seconds": Settings.model_fields["limits"].default.sample_seconds,
                },
            )
            for host in {row.host for row in runnable if row.host}:
                workers.preload(host)
            if any(row.browser for row in runnable):
                browser.start()
            stages = [
                Stage(name=f"{artifact.key} {row.name} {row.device}", needs=(), run=partial(work, artifact, row, cells))
                for artifact, row in pairs
            ]
            run_on_threads(stages, cancel=workers.close)
    return tuple(done[key] for key in sorted(done))


def render(report: VerifyReport, console: "Console") -> None:
    """Prints the outcome for a person: the verdict, every problem, every cell that did not pass."""
    from rich.markup import escape

    good = report.verdict.passed
    word = "[bold green]VERIFIED[/]" if good else "[bold red]NOT VERIFIED[/]"
    passed = sum(cell.status == "passed" for cell in report.cells)
    console.print(f"{word}  {escape(str(report.release))}: {passed} of {len(report.cells)} cells passed again")
    for reason in report.verdict.reasons:
        console.print(f"  {escape(reason.code)}: {escape(reason.subject)}: {escape(reason.message)}", highlight=False)
    console.print(f"digest  {report.digest}", highlight=False)
