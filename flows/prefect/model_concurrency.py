"""Prevents runs of one server from releasing the same model at once, whatever directories they write: they take turns.

In: a model's digest, and a run that is about to work. Out: the run's turn, while its stages run. A turn is a Prefect
variable named after the digest, since the database lets only one run create it, a restarted server still has it, and a
person can see who holds it. Its holder updates it regularly (the heartbeat). A waiting run takes it over when the
holder's run has ended, or when there was no heartbeat for a while by its own clock. So the turn of a run that was
killed is freed, and no machine's time of day matters.

A run takes its release directory first (`flows.pipeline.workspace`), then its turn, then cards: always in this order,
so that no two of them wait for each other.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate
from prefect.client.schemas.objects import Variable
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError
from prefect.runtime import flow_run

from exporters.errors import Broken, Cancelled, ParitygateError
from flows.pipeline.run import ReleaseRun
from flows.prefect.server import is_embedded, patiently
from flows.progress.events import StageOutcome, waiting

_BEAT_SECONDS = 15.0
_SILENT_SECONDS = 90.0  # six heartbeats
_POLL_SECONDS = 1.0
_GONE = 404
_BURST_SECONDS = 0.3
"""Wait before the turn is removed. The server is still writing the run's last log lines; on SQLite it refuses a removal
at the same time (503), and Prefect's client retries only after two seconds."""


@contextlib.contextmanager
def turn(model: str, run: ReleaseRun) -> Iterator[None]:
    """Waits until no other run of the server releases this model, and keeps others waiting while the context holds.

    On an embedded server, which no other run can reach, it does nothing.

    Args:
        model: SHA-256 of the model.
        run: shows the wait, ends it when it is cancelled, and is cancelled when another run has taken its turn.

    Raises:
        Cancelled: the run was cancelled during the wait.
        Broken: the server failed, or the turn was lost.
    """
    if is_embedded():
        yield
        return
    mine = _Turn(model)
    if patiently(mine.take):
        run.follow("turn", partial(_wait, mine, run))
    over, lost = threading.Event(), threading.Event()
    beats = threading.Thread(target=copy_context().run, args=(_keep, mine, over, lost, run), name="turn", daemon=True)
    beats.start()
    try:
        yield
    except ParitygateError as error:
        if not lost.is_set():
            raise
        raise Broken(
            f"another run took over the release of this model: this one had sent no heartbeat for "
            f"{_SILENT_SECONDS:.0f} s",
            next_step="Follow that one; submitted again, this one waits for it.",
        ) from error
    finally:
        over.set()
        beats.join()
        mine.give_back()


class _Turn:
    """Claims a model for one run.

    Args:
        model: SHA-256 of the model.
    """

    def __init__(self, model: str) -> None:
        self._name = f"paritygate_release_{model}"
        self._value: dict[str, Any] = {"run": flow_run.id, "name": flow_run.name, "holder": str(uuid4()), "beat": 0}
        self._id: UUID | None = None

    def take(self) -> Variable | None:
        """Takes the turn; returns the one that another run holds, None when it is ours now."""
        with get_client(sync_client=True) as client:
            while True:
                try:
                    self._id = client.create_variable(VariableCreate(name=self._name, value=self._value)).id
                except ObjectAlreadyExists:
                    there = client.read_variable_by_name(self._name)
                    if there and _value_of(there).get("holder") != self._value["holder"]:
                        return there
                    if there is None:
                        continue  # given back between our two steps
                    self._id = there.id  # made by a call of ours whose answer was lost
                return None

    def beat(self) -> bool:
        """Sends a heartbeat; returns False when the turn is another run's."""
        self._value["beat"] += 1
        with get_client(sync_client=True) as client:
            if self._id and _request(client, "PATCH", self._id, json={"value": self._value}):
                return True
        return self.take() is None  # a person may have removed it

    def give_back(self) -> None:
        """Frees the model for others; where the server is away, the end of the run frees it."""
        with contextlib.suppress(HTTPError):
            if self._id:
                time.sleep(_BURST_SECONDS)
                _remove(self._id)


def _wait(mine: _Turn, run: ReleaseRun) -> StageOutcome:
    """Waits for the turn, and takes it from a run that has ended."""
    seen: tuple[UUID, dict[str, Any]] | None = None
    since, reported = time.monotonic(), ""
    while True:
        asked = time.monotonic()
        there = patiently(mine.take)
        if there is None:
            return StageOutcome(True, "the model is free")
        found = there.id, _value_of(there)
        # While the server was away, the holder could send no heartbeat either.
        if found != seen or time.monotonic() - asked > _BEAT_SECONDS:
            seen, since = found, time.monotonic()
        if time.monotonic() - since > _SILENT_SECONDS or patiently(partial(_is_over, found[1])):
            patiently(partial(_remove, there.id))
            continue
        holder = str(found[1].get("name") or "another run")
        if holder != reported:
            waiting(f"for {holder}, which releases the same model")
            reported = holder
        if run.cancelled:
            raise Cancelled(f"the run ended while it waited for {holder}, which releases the same model")
        time.sleep(_POLL_SECONDS)


def _keep(mine: _Turn, over: threading.Event, lost: threading.Event, run: ReleaseRun) -> None:
    """Sends heartbeats until the stages are over; one that the server misses is sent again later."""
    while not over.wait(_BEAT_SECONDS):
        with contextlib.suppress(HTTPError):
            if not mine.beat():
                lost.set()
                run.cancel()
                return


def _value_of(there: Variable) -> dict[str, Any]:
    """Returns the value that a holder wrote; empty where a person wrote something else."""
    return there.value if isinstance(there.value, dict) else {}


def _is_over(value: dict[str, Any]) -> bool:
    """Tells whether the holder's run has ended, does not exist any more, or was restarted as this run."""
    try:
        run = UUID(str(value.get("run")))
    except ValueError:
        return False
    if str(run) == flow_run.id:
        return True
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(run).state
        except ObjectNotFound:
            return True
    return bool(state and state.is_final())


def _remove(which: UUID) -> None:
    """Removes one turn by its id: there may be a newer one of the same name."""
    with get_client(sync_client=True) as client:
        _request(client, "DELETE", which)


def _request(client: SyncPrefectClient, method: Any, which: UUID, **more: Any) -> bool:
    """Sends one request about a variable, by its id; returns False when the variable does not exist any more."""
    try:
        client.request(method, "/variables/{id}", path_params={"id": which}, **more)
    except PrefectHTTPStatusError as error:
        if error.response.status_code != _GONE:
            raise
        return False
    return True
