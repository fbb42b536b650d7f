"""The validation stages: one bounded job for every (artifact variant, runtime, device).

In: an artifact and a runtime row. Out: a `Cell`, whatever happens: what could not run says why. Used by a release and
by `paritygate verify` alike.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.contract import Artifact, Signature
from exporters.errors import Broken, Cancelled
from exporters.isolation import Job, Limits, Workers
from exporters.limits import known_limit
from validators.availability import missing
from validators.contract import Cell
from validators.registry import RuntimeRow
from validators.web.browser import BrowserHost


class Cells:
    """Runs cells against the evidence in a release directory.

    Args:
        workers: where jobs run.
        browser: the shared Chromium.
        release: directory with `artifacts/` and `evidence/`.
        limits: of each cell.
        options: `atol` and `rtol` set by hand (None for the default), `sample_seconds`.
    """

    def __init__(
        self,
        workers: Workers,
        browser: BrowserHost,
        release: Path,
        *,
        limits: Limits,
        options: Mapping[str, float | None],
    ) -> None:
        self._workers = workers
        self._browser = browser
        self._release = release
        self._limits = limits
        self._options = options

    def run(self, artifact: Artifact, row: RuntimeRow) -> Cell:
        """Runs one cell.

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
        if lacking := missing(row):
            return replace(cell, status="unavailable", reason="runtime missing", message=lacking)
        try:
            options = {"endpoint": self._browser.endpoint()} if row.browser else {}
        except Cancelled:
            raise
        except Broken as error:
            return replace(cell, reason="browser", message=error.message)
        return self._run_job(cell, artifact, row, options)

    def _run_job(self, cell: Cell, artifact: Artifact, row: RuntimeRow, options: Mapping[str, str]) -> Cell:
        request: dict[str, Any] = {
            "release": str(self._release),
            "artifact": str(self._release / artifact.path),
            "format": artifact.format,
            "variant": artifact.variant,
            "signature": TypeAdapter(Signature | None).dump_python(artifact.signature, mode="json"),
            "runtime": row.name,
            "device": row.device,
            "options": dict(options),
            **self._options,
        }
        name = f"cell-{artifact.format}-{artifact.variant}-{row.name}-{row.device}"
        job = Job(
            name=name,
            function="validators.cell:run",
            request=request,
            limits=self._limits,
            host=row.host,
            companions=(self._browser.pid,) if row.browser and self._browser.pid else (),
        )
        outcome = self._workers.run(job)
        seconds = round(outcome.seconds, 3)
        log = f"evidence/logs/{outcome.log.name}"
        if outcome.status == "cancelled":
            outcome.unwrap()
        cell = replace(cell, seconds=seconds, log=log)
        if outcome.status == "limited":
            return replace(cell, status="limited", reason=outcome.limit, message=outcome.message)
        if outcome.status == "python error" and (limit := known_limit(artifact.format, outcome.message)):
            return replace(cell, status="limited", reason=limit.limit, message=limit.message)
        if outcome.status != "ok":
            message = " ".join(filter(None, (outcome.message, outcome.next_step)))
            return replace(cell, reason=outcome.status, message=message)
        done: Cell = TypeAdapter(Cell).validate_python(outcome.value)
        return replace(done, seconds=seconds, log=log)


def outcome_of(cell: Cell) -> tuple[bool, str]:
    """Whether the cell passed, and a line for a person."""
    if cell.status != "passed":
        return False, f"{cell.status}: {cell.reason}: {cell.message}"
    return True, "equal" if cell.max_abs is None else f"max distance {cell.max_abs:.1e}"
