"""Runs of one server never release the same model at once, whatever directory each of them writes: they take turns.

In: a model's digest, and a run that is about to work. Out: the run's turn, for as long as its stages run. A turn is a
Prefect variable named after the digest, since the database lets only one run make it, a restarted server still has it,
and a person sees who has it. Its holder gives a sign of life on it. Whoever waits takes it over when the holder's run
has ended, or when there was no sign for a while by the waiter's own clock: so the turn of a run that was killed does
not stick, and no machine's time of day matters.

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
from flows.progress.events import waiting

_BEAT_SECONDS = 15.0
_SILENT_SECONDS = 90.0  # six signs of life
_POLL_SECONDS = 1.0
_GONE = 404
_BURST_SECONDS = 0.3
"""What a run has said at its end is being written meanwhile. A server on SQLite refuses a removal that meets it (503),
and Prefect's client asks again only after two seconds."""


@contextlib.contextmanager
def turn(model: str, run: ReleaseRun) -> Iterator[None]:
    """Waits until no other run of the server releases this model, and keeps others waiting while the context holds.

    Nobody else reaches an embedded server: there it does nothing.

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
            f"another run took over the release of this model: this one had given no sign of life for "
            f"{_SILENT_SECONDS:.0f} s",
            next_step="Follow that one; submitted again, this one waits for it.",
        ) from error
    finally:
        over.set()
        beats.join()
        mine.give_back()


class _Turn:
    """One run's claim on a model.

    Args:
        model: SHA-256 of the model.
    """

    def __init__(self, model: str) -> None:
        self._name = f"paritygate_release_{model}"
        self._value: dict[str, Any] = {"run": flow_run.id, "name": flow_run.name, "holder": str(uuid4()), "beat": 0}
        self._id: UUID | None = None

    def take(self) -> Variable | None:
        """The turn that another run has; None when it is ours now."""
        with get_client(sync_client=True) as client:
            while True:
                try:
                    self._id = client.create_variable(VariableCreate(name=self._name, value=self._value)).id
                except ObjectAlreadyExists:
                    there = client.read_variable_by_name(self._name)
                    if there and _said(there).get("holder") != self._value["holder"]:
                        return there
                    if there is None:
                        continue  # given back between our two steps
                    self._id = there.id  # made by a call of ours whose answer was lost
                return None

    def beat(self) -> bool:
        """Gives a sign of life; False when the turn is another run's."""
        self._value["beat"] += 1
        with get_client(sync_client=True) as client:
            if self._id and _asked(client, "PATCH", self._id, json={"value": self._value}):
                return True
        return self.take() is None  # a person may have removed it

    def give_back(self) -> None:
        """Lets others at the model; where the server is away, the end of the run does."""
        with contextlib.suppress(HTTPError):
            if self._id:
                time.sleep(_BURST_SECONDS)
                _remove(self._id)


def _wait(mine: _Turn, run: ReleaseRun) -> tuple[bool, str]:
    """Waits for the turn, and takes it from a run that is no more."""
    seen: tuple[UUID, dict[str, Any]] | None = None
    since, told = time.monotonic(), ""
    while True:
        asked = time.monotonic()
        there = patiently(mine.take)
        if there is None:
            return True, "the model is free"
        found = there.id, _said(there)
        # While the server was away, its holder could give no sign either.
        if found != seen or time.monotonic() - asked > _BEAT_SECONDS:
            seen, since = found, time.monotonic()
        if time.monotonic() - since > _SILENT_SECONDS or patiently(partial(_is_over, found[1])):
            patiently(partial(_remove, there.id))
            continue
        holder = str(found[1].get("name") or "another run")
        if holder != told:
            waiting(f"for {holder}, which releases the same model")
            told = holder
        if run.cancelled:
            raise Cancelled(f"the run ended while it waited for {holder}, which releases the same model")
        time.sleep(_POLL_SECONDS)


def _keep(mine: _Turn, over: threading.Event, lost: threading.Event, run: ReleaseRun) -> None:
    """Gives signs of life until the stages are over; a server that is away for a while is told later."""
    while not over.wait(_BEAT_SECONDS):
        with contextlib.suppress(HTTPError):
            if not mine.beat():
                lost.set()
                run.cancel()
                return


def _said(there: Variable) -> dict[str, Any]:
    """What a holder wrote; nothing where a person did."""
    return there.value if isinstance(there.value, dict) else {}


def _is_over(said: dict[str, Any]) -> bool:
    """Whether the holder's run has ended by what the server knows, is not there any more, or was started anew as us."""
    try:
        run = UUID(str(said.get("run")))
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
    """Removes one turn by its id: of the same name there may be another one meanwhile."""
    with get_client(sync_client=True) as client:
        _asked(client, "DELETE", which)


def _asked(client: SyncPrefectClient, method: Any, which: UUID, **more: Any) -> bool:
    """One call about a variable by its id; False when it is not there any more."""
    try:
        client.request(method, "/variables/{id}", path_params={"id": which}, **more)
    except PrefectHTTPStatusError as error:
        if error.response.status_code != _GONE:
            raise
        return False
    return True
