"""The validation stages: one bounded job for every (artifact variant, runtime, device).

In: an artifact and a runtime row. Out: a `Cell`, whatever happens: what could not run says why. Used by a release and
by `paritygate verify` alike.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.contract import Artifact, Finding, Signature
from exporters.errors import Broken, Cancelled, Limited
from exporters.jobs import GIB, INFRASTRUCTURE, Attempt, Job, Limits, Outcome, Workers
from exporters.target_limits import known_limit
from flows.progress.events import waiting
from validators.contract import Cell, PolicyRecord, Task, ToleranceOverride
from validators.hardware.graphics_cards import VISIBLE, card_lock, cards, installed_cards
from validators.runtimes.availability import missing
from validators.runtimes.registry import RuntimeRow
from validators.web.browser import BrowserHost
from validators.web.devtools import BrowserGone
from validators.web.gpu_adapters import NO_GPU

_BROWSER_ENDED = (f"{BrowserGone.__name__}:", NO_GPU)
"""How the message of a cell begins whose browser, or its GPU process, ended under it."""


class Cells:
    """Runs cells against the evidence in a release directory.

    Args:
        workers: where jobs run.
        browser: the shared Chromium.
        release: directory with `artifacts/` and `evidence/`.
        policy: what was asked, as the release's manifest records it.
        metric: the user's own function over labelled samples; empty for none, as when others' releases are verified.
    """

    def __init__(
        self,
        workers: Workers,
        browser: BrowserHost,
        release: Path,
        *,
        policy: PolicyRecord,
        metric: str = "",
    ) -> None:
        self._workers = workers
        self._browser = browser
        self._release = release
        self._limits = Limits(seconds=policy.seconds, memory=int(policy.memory_gib * GIB))
        self._retries = policy.retries
        self._by_hand = (*policy.tolerances, ToleranceOverride(atol=policy.atol, rtol=policy.rtol))
        self._request: dict[str, Any] = {
            "gpu": policy.gpu,
            "sample_seconds": policy.sample_seconds,
            "software_seconds": policy.software_seconds,
            "metric": metric,
            "task_output": "",
        }

    def judge_by(self, task: Task | None) -> None:
        """Says what the user's labels measure, once the reference has told."""
        self._request["task_output"] = task.output if task else ""

    def run(self, artifact: Artifact, row: RuntimeRow, options: Mapping[str, str] | None = None) -> Cell:
        """Runs one cell.

        Args:
            artifact: exported or not; its path is relative to the release.
            row: the runtime and its device.
            options: for the runtime, beside the row's own.

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
        if lacking := missing(row, gpu=self._request["gpu"]):
            return replace(cell, status="unavailable", reason="runtime missing", message=lacking)
        with self._card(row) as environment:
            if row.browser:
                return self._run_in_a_browser(cell, artifact, row, options or {})
            return self._run_job(cell, artifact, row, options or {}, environment=environment)

    def ask(self, row: RuntimeRow, *, name: str, function: str, request: Mapping[str, Any]) -> Outcome:
        """Runs a job of another kind where a cell of this row would run: with its card, its browser and its host.

        Args:
            row: the runtime and its device.
            name: of the job.
            function: see `Job`.
            request: for the function; its `options` get the browser's address beside them.

        Raises:
            Broken: the browser does not start.
        """
        with self._card(row) as environment:
            endpoint = {"endpoint": self._browser.endpoint()} if row.browser else {}
            job = Job(
                name=name,
                function=function,
                request={**request, "options": {**endpoint, **request["options"]}},
                limits=self._limits,
                host=row.host,
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
            waiting("")  # its turn has come
            yield {VISIBLE: here[0].uuid} if on_cuda else {}

    def _run_in_a_browser(self, cell: Cell, artifact: Artifact, row: RuntimeRow, options: Mapping[str, str]) -> Cell:
        done = self._run_in(self._browser, cell, artifact, row, options)
        for _ in range(self._retries):
            if done.reason not in INFRASTRUCTURE and not done.message.startswith(_BROWSER_ENDED):
                break
            self._workers.note(Attempt(job=_name(cell), status=done.reason, message=done.message, seconds=done.seconds))
            # It may have been another cell's doing: while a GPU process starts again, no page is given a GPU. In a
            # browser of its own it is this one's, or it does not happen.
            with self._browser.another() as own:
                done = self._run_in(own, cell, artifact, row, options)
        return done

    def _run_in(
        self, browser: BrowserHost, cell: Cell, artifact: Artifact, row: RuntimeRow, options: Mapping[str, str]
    ) -> Cell:
        try:
            endpoint = browser.endpoint()
        except Cancelled:
            raise
        except Broken as error:
            return replace(cell, reason="browser", message=error.message)
        companions = (browser.pid,) if browser.pid else ()
        around = {"companions": companions, "retries": 0}  # a further attempt has a browser of its own
        return self._run_job(cell, artifact, row, {"endpoint": endpoint, **options}, **around)

    def _run_job(
        self,
        cell: Cell,
        artifact: Artifact,
        row: RuntimeRow,
        options: Mapping[str, str],
        **around: Any,
    ) -> Cell:
        """Runs the job of a cell; `around` is what its `Job` has beside the usual."""
        request: dict[str, Any] = {
            "release": str(self._release),
            "artifact": str(self._release / artifact.path),
            "format": artifact.format,
            "variant": artifact.variant,
            "precision": artifact.precision,
            "signature": TypeAdapter(Signature | None).dump_python(artifact.signature, mode="json"),
            "preprocessing": artifact.preprocessing,
            "runtime": row.name,
            "device": row.device,
            "options": dict(options),
            "by_hand": [asdict(own) for own in self._by_hand if own.fits(artifact.key, row.name, row.device)],
            **self._request,
        }
        long = row.device == "gpu"  # most of all where the adapter is a program
        usual = {"limits": self._limits, "host": row.host, "retries": self._retries, "ahead": long}
        job = Job(name=_name(cell), function="validators.cells.job:run", request=request, **{**usual, **around})
        outcome = self._workers.run(job)
        seconds = round(outcome.seconds, 3)
        log = f"evidence/logs/{outcome.log.name}"
        if outcome.status == "cancelled":
            outcome.unwrap()
        cell = replace(cell, seconds=seconds, log=log)
        if outcome.status == "limited":
            return _limited(cell, outcome)
        if outcome.status == "python error" and (limit := known_limit(artifact.format, outcome.message, row.name)):
            return _limited(cell, limit)
        if outcome.status != "ok":
            message = " ".join(filter(None, (outcome.message, outcome.next_step)))
            return replace(cell, reason=outcome.status, message=message)
        done: Cell = TypeAdapter(Cell).validate_python(outcome.value)
        return replace(done, seconds=seconds, log=log)


def _name(cell: Cell) -> str:
    """The cell's job, and its log file."""
    return f"cell-{cell.format}-{cell.variant}-{cell.runtime}-{cell.device}"


def _limited(cell: Cell, limit: Limited | Outcome) -> Cell:
    """The cell that a limit kept from running, with the limit and its way out among its findings."""
    found = Finding(code=limit.limit, blocking=True, message=limit.message, limit=limit.limit, way_out=limit.next_step)
    return replace(cell, status="limited", reason=limit.limit, message=limit.message, findings=(found,))


def outcome_of(cell: Cell) -> tuple[bool | None, str]:
    """Whether the cell passed, None when it could not run, and a line for a person."""
    if cell.status == "passed":
        return True, "equal" if cell.max_abs is None else f"max distance {cell.max_abs:.1e}"
    good = None if cell.status in {"limited", "unavailable"} else False
    return good, f"{cell.status}: {cell.reason}: {cell.message}"
