"""Checks every digest of a release, then runs its cells again, only from the evidence: `paritygate verify`.

In: a release directory. Out: a `VerifyReport`; with `attest` also an attestation in the release, else nothing in the
directory is touched. The original model is not used, and TensorFlow only for formats that need it: any machine with the
runtimes can do it.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.contract import Artifact
from exporters.jobs import Workers
from flows.machine.identity import describe, today
from flows.pipeline.cells import Cells, outcome_of
from flows.pipeline.selection import Selection, select
from flows.pipeline.stages import Engine, StagePlan, run_on_threads, stages_of
from flows.progress.events import Listener, StageOutcome, report_output
from flows.review.gate import approvals, standing_refusals, waivers
from validators.contract import Cell, Reason, Verdict, Waiver
from validators.gate.approvals import apply_approvals
from validators.gate.consistency import FALSE_CLAIM, contradictions
from validators.gate.evidence_quality import WORSE
from validators.gate.verdict import DIGEST, EMPTY, UNPROVEN, judge
from validators.preloads import preloaded_modules
from validators.release.attestation_files import read, refuse_unwritable, write_cells
from validators.release.attestations import Approval
from validators.release.integrity import check_files
from validators.release.manifest import MANIFEST, Manifest, load_with_digest
from validators.runtimes.availability import missing
from validators.runtimes.row import RuntimeRow
from validators.web.browser import BrowserHost

if TYPE_CHECKING:
    from rich.console import Console

NOTHING_RAN = "nothing ran"
WITHHELD = "samples withheld"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """Reports what a verification found.

    Attributes:
        release: the directory.
        digest: SHA-256 of its `release.json`.
        manifest: what the release claims.
        problems: files that are not as the manifest says, one sentence each.
        cells: the cells as they ran here; empty when there were problems before, since the directory then did not hold
            the release.
        verdict: over the cells that ran here, by the release's own policy.
        approvals: what people decided about the release.
        overridden: reasons of the cells against it that a person overrode.
        digest_given: whether the caller gave a digest that the manifest was compared with.
        attestation: the file that keeps the cells in the release; None when none was written.
    """

    release: Path
    digest: str
    manifest: Manifest
    problems: tuple[str, ...]
    cells: tuple[Cell, ...]
    verdict: Verdict
    approvals: tuple[Approval, ...]
    overridden: tuple[Reason, ...]
    digest_given: bool
    attestation: Path | None


def verify(  # noqa: PLR0913 - each is a choice of its own, named at every call
    release: Path,
    *,
    digest: str | None = None,
    formats: Sequence[str] | None = None,
    device: str | None = None,
    runtimes: Sequence[str] | None = None,
    attest: bool = False,
    listen: Listener,
    engine: Engine = run_on_threads,
) -> VerifyReport:
    """Verifies a release.

    Args:
        release: the release directory.
        digest: SHA-256 of its manifest as known from outside; None when it is not known.
        formats: verify only these formats; None for all that the release has.
        device: verify only cells on `cpu` or on `gpu`; None for both.
        runtimes: verify only cells in these runtimes; None for all.
        attest: keep the cells in the release as an attestation, whatever their result, if any ran.
        listen: called when a cell starts and ends.
        engine: runs the cells in parallel.

    Raises:
        BadInput: there is no release there, its manifest cannot be read, a named format, device or runtime is not
            in it, or an attestation is wanted and cannot be written.
    """
    manifest, own_digest = load_with_digest(release)
    selection = select(manifest, formats=formats, device=device, runtimes=runtimes)
    problems = tuple(check_files(release, manifest, digest=digest, found=own_digest))
    reasons = [Reason(code=DIGEST, subject="release", message=problem) for problem in problems]
    reasons += [
        Reason(code=FALSE_CLAIM, subject=MANIFEST, message=claim) for claim in contradictions(release, manifest)
    ]
    attestations, faults = read(release, manifest=own_digest)
    people = approvals(attestations)
    if refusals := standing_refusals(manifest, attestations):
        what = "; ".join(dict.fromkeys(reason.code for reason in refusals))
        message = f"the release was refused and still is: {what}"
        reasons.append(Reason(code=FALSE_CLAIM, subject=MANIFEST, message=message))
    if not reasons and manifest.policy.evidence == "digests":
        message = (
            "policy.evidence kept only the digests of its samples, so no cell can run again; every byte of the release "
            "is as its manifest says. `paritygate gate` judges what the release itself proved"
        )
        reasons.append(Reason(code=WITHHELD, subject="evidence", message=message))
    cells: tuple[Cell, ...] = ()
    overridden: tuple[Reason, ...] = ()
    waived: tuple[Reason, ...] = ()
    attestation = None
    if not reasons:
        if attest:
            refuse_unwritable(release)
        started = time.monotonic()
        cells = _run(release, manifest, selection, listen, engine)
        judged, waived = _judge(manifest, selection, cells, waivers(manifest, attestations))
        decision = apply_approvals(judged, people, demanded=False)
        overridden = decision.overridden
        reasons += decision.standing
        # The cells read the files after the first check: a second one proves that they read the same bytes.
        problems = tuple(
            f"{problem} (changed since the cells began)" for problem in check_files(release, manifest, digest=None)
        )
        reasons += [Reason(code=DIGEST, subject="release", message=problem) for problem in problems]
        if attest and not problems and any(cell.status != "unavailable" for cell in cells):
            seconds = time.monotonic() - started
            attestation = write_cells(
                release, manifest=own_digest, machine=describe(cells), cells=cells, seconds=seconds
            )
    reasons += faults
    return VerifyReport(
        release=release,
        digest=own_digest,
        manifest=manifest,
        problems=problems,
        cells=cells,
        verdict=Verdict(passed=not reasons, reasons=tuple(reasons), required=selection.required, waived=waived),
        approvals=people,
        overridden=overridden,
        digest_given=digest is not None,
        attestation=attestation,
    )


def _judge(
    manifest: Manifest, selection: Selection, cells: Sequence[Cell], waivers: Sequence[Waiver]
) -> tuple[list[Reason], tuple[Reason, ...]]:
    """Judges the cells that ran here by the release's own policy; returns the reasons and the waived reasons."""
    policy = replace(manifest.policy, required=selection.required, elsewhere=(), waivers=tuple(waivers))
    here = replace(manifest, cells=tuple(cells), artifacts=selection.artifacts, policy=policy, baseline=None)
    verdict = judge(here, today=today())
    # A run here lacks the user's metric and may have less time: what it did not measure, the release did.
    artifacts = {artifact.key for artifact in selection.artifacts}
    reasons = [reason for reason in verdict.reasons if reason.code != WORSE or reason.subject not in artifacts]
    if selection.narrowed:
        # The policy may demand none of these cells, and other machines have to prove an artifact that no runtime here
        # can run. The cells that ran still have to agree, and broken ones are reported.
        reasons = [reason for reason in reasons if reason.broken or reason.code not in {EMPTY, UNPROVEN}]
        if not reasons and not any(cell.status == "passed" for cell in cells):
            message = f"none of the {len(cells)} cells could run on this machine, so nothing is proven"
            reasons.append(Reason(code=NOTHING_RAN, subject="release", message=message))
    return reasons, verdict.waived


def _run(release: Path, manifest: Manifest, selection: Selection, listen: Listener, engine: Engine) -> tuple[Cell, ...]:
    pairs = [(a, row) for a in selection.artifacts for row in selection.rows if row.format == a.format]
    runnable = [
        row for artifact, row in pairs if artifact.status == "exported" and not missing(row, gpu=manifest.policy.gpu)
    ]
    done: dict[str, Cell] = {}

    def work(artifact: Artifact, row: RuntimeRow) -> StageOutcome:
        cell = cells.run(artifact, row, task=manifest.grounds.task)
        done[cell.key] = cell
        return outcome_of(cell)

    with tempfile.TemporaryDirectory(prefix="paritygate-verify-") as scratch, BrowserHost() as browser:
        folder = Path(scratch)
        with Workers(folder, folder, fork_servers=preloaded_modules(), on_line=report_output) as workers:
            cells = Cells(workers, browser, release.absolute(), policy=manifest.policy)
            for name in {row.fork_server for row in runnable if row.fork_server}:
                workers.preload(name)
            if any(row.browser for row in runnable):
                browser.start()

            def cancel() -> None:
                workers.close()
                browser.close()

            plans = [
                StagePlan(
                    name=f"cell {artifact.key} {row.name} {row.device}",
                    work=partial(work, artifact, row),
                    device=row.device,
                )
                for artifact, row in pairs
            ]
            engine(stages_of(plans, listen), cancel=cancel)
    return tuple(done[key] for key in sorted(done))


def render(report: VerifyReport, console: "Console") -> None:
    """Prints the outcome for a person: the verdict, every problem, every cell, and what keeps the rest from running."""
    from rich.padding import Padding
    from rich.text import Text

    from validators.report import approval_lines, cell_table
    from validators.report.view.matrix import line
    from validators.text import counted

    say = partial(cell_table.say, console)

    good = report.verdict.passed
    ran = [cell for cell in report.cells if cell.status not in {"limited", "unavailable"}]
    passed = sum(cell.status == "passed" for cell in ran)
    forced = any(each.act == "forced" for each in report.approvals)
    word = ("VERIFIED", "bold green") if good else ("NOT VERIFIED", "bold red")
    out = (" FORCED" if forced else "", "bold red")
    elsewhere = report.manifest.policy.elsewhere
    awaited = any(requirement.asks_for(cell) for cell in ran for requirement in elsewhere)
    outcome = f"{passed} of {counted(len(ran), 'cell')} passed again" if ran else "no cell was run"
    title = f"  {cell_table.written(str(report.release), console)}: {outcome}"
    console.print(Text.assemble(word, out, title), soft_wrap=True)
    if ran:
        shown = [line(cell, report.manifest.samples) for cell in ran]
        console.print(Padding(cell_table.table(shown, console), (1, 0)))
    for text in cell_table.not_run_lines(report.cells, report.verdict, console):
        console.print(text, soft_wrap=True)
    for reason in report.verdict.reasons:
        say(f"{reason.code}: {reason.subject}: {reason.message}", "  ")
    for label, sentence in approval_lines.lines(report.approvals, report.overridden, report.verdict.waived):
        say(sentence, f"{label:<9}")
    say(report.digest, "digest   ")
    if report.attestation:
        say(f"{report.attestation}; `paritygate gate {report.release}` judges the release with it", "attested ")
    elif ran and awaited:
        say("--attest keeps these cells in the release, whose policy awaits some of them")
    if good and not report.digest_given:
        say("The release is consistent; --digest proves that it is the one you expect.")
