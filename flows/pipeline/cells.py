"""Runs the validation stages: one bounded job for every (artifact variant, runtime, device).

In: an artifact and a runtime row. Out: a `Cell`, whatever happens: one that could not run says why. Both a release and
`paritygate verify` use it.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from exporters.contract import Artifact, Finding
from exporters.errors import Broken, Cancelled, LimitReached
from exporters.jobs import GIB, INFRASTRUCTURE, Attempt, Job, Limits, Outcome, Workers
from exporters.target_limits import known_limit
from flows.progress.events import StageOutcome, waiting
from validators.cells.job import CellRequest, run_cell
from validators.contract import Cell, PolicyRecord, Task, ToleranceOverride
from validators.diagnosis.tensor_capture import Captured, CaptureRequest, capture_tensors
from validators.hardware.graphics_cards import VISIBLE, card_lock, cards, installed_cards
from validators.runtimes.availability import missing
from validators.runtimes.row import RuntimeRow
from validators.web.browser import BrowserHost
from validators.web.devtools import BrowserGone
from validators.web.gpu_adapters import NO_GPU

_BROWSER_ENDED = (f"{BrowserGone.__name__}:", NO_GPU)
"""Beginnings of a cell's message when its browser, or the browser's GPU process, ended."""


class Cells:
    """Runs cells against the evidence in a release directory.

    Args:
        workers: run the jobs.
        browser: the shared Chromium.
        release: directory with `artifacts/` and `evidence/`.
        policy: the policy, as the release's manifest records it.
        metric: the user's own function over labelled samples; None for none, as when others' releases are verified.
    """

    def __init__(
        self,
        workers: Workers,
        browser: BrowserHost,
        release: Path,
        *,
        policy: PolicyRecord,
        metric: str | None = None,
    ) -> None:
        self._workers = workers
        self._browser = browser
        self._release = release
        self._policy = policy
        self._metric = metric
        self._limits = Limits(seconds=policy.seconds, memory=int(policy.memory_gib * GIB))
        self._by_hand = (*policy.tolerances, ToleranceOverride(atol=policy.atol, rtol=policy.rtol))

    def run(
        self,
        artifact: Artifact,
        row: RuntimeRow,
        *,
        task: Task | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Cell:
        """Runs one cell.

        Args:
            artifact: exported or not; its path is relative to the release.
            row: the runtime and its device.
            task: what the user's labels measure; None for nothing.
            options: for the runtime, in addition to the row's own.

        Raises:
            Cancelled: the run is ending.
        """
        cell = Cell(
            format=artifact.format,
            variant=artifact.variant,
            runtime=row.name,
            device=row.device,
            status="errored",
        )
        if artifact.status != "exported":
            return replace(cell, status=artifact.status, reason=f"export {artifact.status}", message=artifact.reason)
        if lacking := missing(row, gpu=self._policy.gpu):
            return replace(cell, status="unavailable", reason="runtime missing", message=lacking)
        request = CellRequest(
            release=self._release,
            artifact=artifact,
            path=self._release / artifact.path,
            runtime=row.name,
            device=row.device,
            options=options or {},
            tolerances=tuple(own for own in self._by_hand if own.fits(artifact.key, row.name, row.device)),
            gpu=self._policy.gpu,
            sample_seconds=self._policy.sample_seconds,
            software_seconds=self._policy.software_seconds,
            task_output=(task.output or None) if task else None,
            metric=self._metric,
        )
        with self._card(row) as environment:
            if row.browser:
                return self._run_in_a_browser(cell, request, row)
            return self._run_job(cell, self._job(request, row, environment=environment))

    def capture(self, row: RuntimeRow, request: CaptureRequest, *, name: str) -> Outcome[Captured]:
        """Runs an artifact over one call as a cell of this row would: with its card, browser and fork server.

        Raises:
            Broken: the browser does not start.
        """
        with self._card(row) as environment:
            if row.browser:
                request = replace(request, options={"endpoint": self._browser.endpoint(), **request.options})
            job = Job(
                name=name,
                function=capture_tensors,
                request=request,
                limits=self._limits,
                fork_server=row.fork_server,
                environment=environment,
                companions=(self._browser.pid,) if row.browser and self._browser.pid else (),
            )
            return self._workers.run(job)

    @contextmanager
    def _card(self, row: RuntimeRow) -> Iterator[Mapping[str, str]]:
        """Keeps other runs off the card while a GPU cell runs; yields what lets the cell's process see it.

        Only CUDA can be told which card to take. For Chromium and Vulkan all are locked, in the order of their UUIDs,
        so that two runs never wait for each other.
        """
        on_cuda = row.accelerator == "cuda"
        here = cards()[:1] if on_cuda else sorted(installed_cards(), key=lambda card: card.uuid)
        if row.device != "gpu" or not here:
            yield {}
            return
        with ExitStack() as locked:
            for card in here:
                locked.enter_context(card_lock(card, say=waiting, given_up=lambda: self._workers.closing))
            waiting("")  # the wait is over
            yield {VISIBLE: here[0].uuid} if on_cuda else {}

    def _run_in_a_browser(self, cell: Cell, request: CellRequest, row: RuntimeRow) -> Cell:
        done = self._run_in(self._browser, cell, request, row)
        for _ in range(self._policy.retries):
            if done.reason not in INFRASTRUCTURE and not done.message.startswith(_BROWSER_ENDED):
                break
            self._workers.record_retry(
                Attempt(job=_name(cell), status=done.reason, message=done.message, seconds=done.seconds)
            )
            # Another cell may be the cause: while a GPU process starts again, no page gets a GPU. In a browser of its
            # own, only this cell can be the cause.
            with self._browser.another() as own:
                done = self._run_in(own, cell, request, row)
        return done

    def _run_in(self, browser: BrowserHost, cell: Cell, request: CellRequest, row: RuntimeRow) -> Cell:
        try:
            endpoint = browser.endpoint()
        except Cancelled:
            raise
        except Broken as error:
            return replace(cell, reason="browser", message=error.message)
        request = replace(request, options={"endpoint": endpoint, **request.options})
        job = self._job(request, row)
        # A further attempt has a browser of its own, see `_run_in_a_browser`.
        return self._run_job(cell, replace(job, companions=(browser.pid,) if browser.pid else (), retries=0))

    def _job(
        self, request: CellRequest, row: RuntimeRow, *, environment: Mapping[str, str] | None = None
    ) -> Job[CellRequest, Cell]:
        return Job(
            name=_job_name(request.artifact.format, request.artifact.variant, row.name, row.device),
            function=run_cell,
            request=request,
            limits=self._limits,
            fork_server=row.fork_server,
            environment=environment or {},
            retries=self._policy.retries,
            priority=row.device == "gpu",  # long, most of all where the adapter is a program
        )

    def _run_job(self, cell: Cell, job: Job[CellRequest, Cell]) -> Cell:
        """Runs the job of a cell and returns a cell, however the job ended."""
        outcome = self._workers.run(job)
        if outcome.status == "cancelled":
            outcome.unwrap()
        cell = replace(cell, seconds=round(outcome.seconds, 3), log=f"evidence/logs/{outcome.log.name}")
        if outcome.status == "limited":
            limit = LimitReached(message=outcome.message, limit=outcome.limit, next_step=outcome.next_step)
            return _limited(cell, limit)
        if outcome.status == "python error" and (limit_hit := known_limit(cell.format, outcome.message, cell.runtime)):
            return _limited(cell, LimitReached.of(limit_hit))
        if outcome.status != "ok":
            message = " ".join(filter(None, (outcome.message, outcome.next_step)))
            return replace(cell, reason=outcome.status, message=message)
        return replace(outcome.unwrap(), seconds=cell.seconds, log=cell.log)


def _name(cell: Cell) -> str:
    return _job_name(cell.format, cell.variant, cell.runtime, cell.device)


def _job_name(*parts: str) -> str:
    """Names the cell's job, and its log file."""
    return "-".join(("cell", *parts))


def _limited(cell: Cell, reached: LimitReached) -> Cell:
    """Returns the cell that a limit kept from running, with the limit and its way out among its findings."""
    finding = Finding(
        code=reached.limit, blocking=True, message=reached.message, limit=reached.limit, way_out=reached.next_step
    )
    return replace(cell, status="limited", reason=reached.limit, message=reached.message, findings=(finding,))


def outcome_of(cell: Cell) -> StageOutcome:
    """Returns how the cell's stage ended: None for `passed` when the cell could not run."""
    if cell.status == "passed":
        return StageOutcome(True, "equal" if cell.max_abs is None else f"max distance {cell.max_abs:.1e}")
    passed = None if cell.status in {"limited", "unavailable"} else False
    return StageOutcome(passed, f"{cell.status}: {cell.reason}: {cell.message}")
