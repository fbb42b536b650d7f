"""`paritygate verify`: check every digest of a release, then run its cells again from the evidence alone.

In: a release directory. Out: a `VerifyReport`; nothing in the directory is touched. Neither the original model nor, for
the formats that need none, TensorFlow is used: any machine with the runtimes can do it.
"""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.contract import Artifact
from exporters.errors import BadInput
from exporters.isolation import Limits, Workers
from flows.cells import Cells, outcome_of
from flows.progress import Listener, Work
from flows.stages import run_on_threads, stages_of
from validators.availability import missing
from validators.contract import Cell, Reason, Verdict
from validators.evidence import read_evidence
from validators.gate import DIGEST, judge
from validators.hosts import hosts
from validators.integrity import check_files, manifest_digest
from validators.manifest import MANIFEST, Manifest, load
from validators.registry import RUNTIMES, RuntimeRow
from validators.web.browser import BrowserHost

if TYPE_CHECKING:
    from rich.console import Console

CLAIM = "false claim"


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
        digest_given: whether the manifest was held against a digest from outside.
    """

    release: Path
    digest: str
    manifest: Manifest
    problems: tuple[str, ...]
    cells: tuple[Cell, ...]
    verdict: Verdict
    digest_given: bool


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
    reasons = [Reason(code=DIGEST, subject="release", message=problem) for problem in problems]
    reasons += [Reason(code=CLAIM, subject=MANIFEST, message=claim) for claim in _false_claims(release, manifest)]
    cells: tuple[Cell, ...] = ()
    if not reasons:
        artifacts = [artifact for artifact in manifest.artifacts if artifact.format in wanted]
        cells = _run(release, manifest, artifacts, listen)
        again = judge(
            cells=cells,
            artifacts=artifacts,
            required=[r for r in manifest.policy.required if r.format in wanted],
            sample_sets=[sample_set.name for sample_set in manifest.samples],
            outputs=[spec.name for spec in manifest.model.signature.outputs],
        )
        reasons += again.reasons
    return VerifyReport(
        release=release,
        digest=manifest_digest(release),
        manifest=manifest,
        problems=problems,
        cells=cells,
        verdict=Verdict(passed=not reasons, reasons=tuple(reasons), required=manifest.policy.required),
        digest_given=digest is not None,
    )


def _false_claims(release: Path, manifest: Manifest) -> Iterator[str]:
    """What the manifest says that its own records or its evidence contradict."""
    if not manifest.verdict.passed:
        yield f"the release was refused when it was made, for {len(manifest.verdict.reasons)} reasons"
    if manifest.verdict.required != manifest.policy.required:
        yield "policy.required and verdict.required differ"
    for artifact in manifest.artifacts:
        if artifact.source != manifest.model.digest:
            yield f"{artifact.key}: was made from another model, {artifact.source[:12]}"
    try:
        evidence = read_evidence(release)
    except BadInput as error:
        yield error.message
        return
    if evidence.sets != manifest.samples or evidence.signature != manifest.model.signature:
        yield "samples or signature differ from what evidence/evidence.json says"


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

    def work(artifact: Artifact, row: RuntimeRow) -> tuple[bool, str]:
        cell = cells.run(artifact, row)
        done[cell.key] = cell
        return outcome_of(cell)

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
                    "sample_seconds": manifest.policy.sample_seconds,
                },
            )
            for host in {row.host for row in runnable if row.host}:
                workers.preload(host)
            if any(row.browser for row in runnable):
                browser.start()

            def cancel() -> None:
                workers.close()
                browser.close()

            table: list[tuple[str, tuple[str, ...], Work]] = [
                (f"cell {artifact.key} {row.name} {row.device}", (), partial(work, artifact, row))
                for artifact, row in pairs
            ]
            run_on_threads(stages_of(table, listen), cancel=cancel)
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
    if good and not report.digest_given:
        console.print("The release is consistent; --digest proves that it is the one you were told of.")
