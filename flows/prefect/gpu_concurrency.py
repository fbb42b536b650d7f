"""Limits GPU cells to one run on a card: those of all machines of one server share a global concurrency limit.

In: a stage that is about to run. Out: a slot while it runs, if it is a GPU cell and this machine has a card. The other
half, the lock on the card itself, is `validators.hardware.graphics_cards.card_lock`. Only the lock works where runs
share no server, and it decides which card. Software adapters take no slot and cost the server no call.
"""

import contextlib
import threading
from collections.abc import Iterator

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from exporters.errors import Broken, Cancelled
from flows.pipeline.stages import Stage
from flows.prefect.server import is_embedded
from validators.hardware.graphics_cards import cards

LIMIT = "paritygate-gpu"
"""Name of the limit. It is created with a slot for each card of the machine that needs it first; `prefect gcl update
paritygate-gpu --limit N` adapts it to more machines, and this module never undoes that."""

_LEASE_SECONDS = 60.0  # the server's least; how long the slot of a run that was killed stays taken
_POLL_SECONDS = 1.0
_LOCKED = 423


@contextlib.contextmanager
def gpu_slot(stage: Stage, stopping: threading.Event) -> Iterator[None]:
    """Holds one slot of the limit while a GPU cell runs on a machine with cards; anything else passes at once.

    The embedded server serves only this machine, where the card's own lock is enough; and a slot in its database would
    outlive a run that is killed, since no process is left to see its lease expire.

    Args:
        stage: the stage that is about to run; it reports the wait, which its start ends.
        stopping: set when the run ends; a waiting stage then gives up.

    Raises:
        Cancelled: the run ended during the wait.
        Broken: the server has no such limit any more, or refuses.
    """
    if stage.device != "gpu" or is_embedded() or not (here := cards()):
        yield
        return
    with contextlib.ExitStack() as held:
        reported = False
        while not (_is_free(len(here)) and _taken(held)):
            if not reported:
                stage.waits(f"for a slot of the server's concurrency limit {LIMIT}: other runs hold all of them")
                reported = True
            if stopping.wait(_POLL_SECONDS):
                raise Cancelled(f"the run ended while it waited for a slot of the concurrency limit {LIMIT}")
        yield


def _is_free(slots: int) -> bool:
    """Tells whether a slot is free before one is requested: Prefect logs an error for every refused request."""
    with get_client(sync_client=True) as client:
        try:
            limit = client.read_global_concurrency_limit_by_name(LIMIT)
        except ObjectNotFound:
            with contextlib.suppress(ObjectAlreadyExists):  # another run was quicker
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=LIMIT, limit=slots))
            return True
    return limit.active_slots < limit.limit


def _taken(held: contextlib.ExitStack) -> bool:
    """Requests a slot once; ending a wait inside Prefect could lose a slot that was just granted."""
    slot = concurrency(
        LIMIT,
        occupy=1,
        max_retries=0,
        lease_duration=_LEASE_SECONDS,
        strict=True,
        # A server that is away for a while must not kill a cell: the lock on the card still holds.
        raise_on_lease_renewal_failure=False,
    )
    try:
        held.enter_context(slot)
    except ConcurrencySlotAcquisitionError as error:
        response = getattr(error.__cause__, "response", None)
        if response is not None and response.status_code == _LOCKED:
            return False
        raise Broken(
            f"the Prefect server gave no slot of the concurrency limit {LIMIT}: {error}",
            next_step=f"prefect gcl inspect {LIMIT} shows it, prefect gcl enable {LIMIT} switches it on again",
        ) from error
    return True
