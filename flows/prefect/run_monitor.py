"""Monitors a run in Prefect while its stages run: shows progress in the UI, and notices a cancellation.

In: the stages and their events. Out: a progress artifact each for preparation, exports, cells and the verdict. When a
person cancels the run in the UI or with `prefect flow-run cancel`, the run's children end soon after, however the run
was started: a worker would end the whole process, but a run that `paritygate release` started has none.

One thread does both, every two seconds, so that a stage costs the server nothing. A server that is away for a while is
asked again.
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextvars import copy_context
from types import TracebackType
from typing import Self, cast
from uuid import UUID

from httpx import HTTPError
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.client.orchestration import get_client
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run

from exporters.errors import Cancelled
from flows.pipeline.stages import Engine, Stage
from flows.prefect.server import is_embedded
from flows.progress.events import Event

_LOOK_SECONDS = 2.0
_GROUPS = {"export": "exports", "cell": "cells", "verdict": "verdict"}
_OTHERS = "preparation"  # admission, lowering, reference


class RunMonitor:
    """Monitors a run while its context is active; a `Listener` of the stages.

    Args:
        name: begins the keys of the artifacts; lowercase letters, digits and dashes.
        cancel: ends the run's work; called once when the run is cancelled on the server.
    """

    def __init__(self, name: str, cancel: Callable[[], None]) -> None:
        self._name = name
        self._cancel = cancel
        self._cancelled = False
        self._total: Counter[str] = Counter()
        self._ended: Counter[str] = Counter()
        self._shown: dict[str, tuple[int, int]] = {}
        self._artifacts: dict[str, UUID] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._run = flow_run.id
        self._thread = threading.Thread(target=copy_context().run, args=(self._watch,), name="run monitor", daemon=True)

    def watching(self, engine: Engine) -> Engine:
        """Wraps the engine, so that its stages are counted."""

        def run(stages: Sequence[Stage], *, cancel: Callable[[], None]) -> None:
            with self._lock:
                self._total.update(_group(stage.name) for stage in stages)
            engine(stages, cancel=cancel)

        return run

    def __call__(self, event: Event) -> None:
        """Counts the stages that ended."""
        if event.ended:
            with self._lock:
                self._ended[_group(event.stage)] += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._over.set()
        self._thread.join()
        # Whichever error came first: Prefect starts no further task of such a run either, which looks like a failure.
        if self._cancelled and isinstance(error, Exception):
            raise Cancelled("the run was cancelled on the Prefect server") from error

    def _watch(self) -> None:
        while True:
            last = self._over.is_set()
            with contextlib.suppress(HTTPError, PrefectException):
                self._show()
            with contextlib.suppress(HTTPError, PrefectException):  # also where nothing can be shown
                if not self._cancelled and not is_embedded() and _cancelling(self._run):  # no user reaches that one
                    self._cancelled = True
                    self._cancel()
            if last:
                return
            self._over.wait(_LOOK_SECONDS)

    def _show(self) -> None:
        with self._lock:
            known = {group: (self._ended[group], total) for group, total in self._total.items()}
        for group, (count, total) in known.items():
            if self._shown.get(group) == (count, total):
                continue
            share, text = 100.0 * count / total, f"{count} of {total} {group}"
            if group in self._artifacts:
                update_progress_artifact(self._artifacts[group], share, text)
            else:
                made = create_progress_artifact(share, f"{self._name}-{group}", text)
                self._artifacts[group] = cast("UUID", made)  # a coroutine only where a loop runs
            self._shown[group] = (count, total)


def _group(stage: str) -> str:
    return _GROUPS.get(stage.partition(" ")[0], _OTHERS)


def _cancelling(run: str) -> bool:
    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(run)).state
    return bool(state and (state.is_cancelling() or state.is_cancelled()))
