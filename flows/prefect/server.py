"""Runs Prefect's embedded server for the time of one release, and finds its database.

In: nothing but the environment. Out: `api()`, under which `prefect` may be imported and talks to a server: the one
that PREFECT_API_URL names, else one on a thread of this process, on a free port of loopback. A thread cannot outlive
the process however it ends, and it saves importing Prefect twice.

`paritygate setup` migrates the database ahead of time; without it the first release does it (15 s more).
PREFECT_HOME is the user's if set, else `.paritygate/prefect` of a checkout, else `paritygate/prefect` in the user's
state folder; never `~/.prefect`.
"""

import contextlib
import gc
import importlib.metadata
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from exporters.errors import Broken
from exporters.files.locks import wait_for_lock
from exporters.installation import state_folder

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_START_SECONDS = 120.0
_STOP_SECONDS = 5.0
_AWAY_SECONDS = 60.0

# Quiet and private. The console says nothing (our own display does); the server gets everything as log lines.
_CLIENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_ROOT_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
}
# One release needs its states, logs and artifacts recorded, and nothing scheduled, triggered or cleaned up.
_SERVER = {
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_UI_ENABLED": "false",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
}

T = TypeVar("T")
_embedded: ContextVar[bool] = ContextVar("embedded", default=False)


def is_embedded() -> bool:
    """Tells whether Prefect's client here talks to the embedded server of this process."""
    return _embedded.get()


def home() -> Path:
    """Returns the folder of the embedded server's database."""
    if named := os.environ.get("PREFECT_HOME"):
        return Path(named).expanduser()
    return state_folder() / "prefect"


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Pauses the garbage collector: Prefect's import creates no garbage, and looking for it takes 15 % of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def api() -> Iterator[None]:
    """Connects Prefect's client in this process to a server, while active. To be entered before Prefect's import.

    Raises:
        Broken: the embedded server did not start.
        OSError: its folder cannot be written.
    """
    _set(_CLIENT)
    if os.environ.get("PREFECT_API_URL"):
        yield
        return
    folder = home()
    migrate(folder)
    with _listening_socket() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        _set({**_SERVER, "PREFECT_HOME": str(folder), "PREFECT_API_DATABASE_MIGRATE_ON_START": "false"})
        os.environ["PREFECT_API_URL"] = url
        before = _embedded.set(True)
        try:
            with _served(listener):
                yield
        finally:
            _embedded.reset(before)
            del os.environ["PREFECT_API_URL"]


@contextlib.contextmanager
def failures_named() -> Iterator[None]:
    """Turns errors of Prefect's client, where the server is away or refuses, into `Broken`.

    Raises:
        Broken: the server failed.
    """
    from httpx import HTTPError
    from prefect.exceptions import PrefectException

    try:
        yield
    except (HTTPError, PrefectException) as error:
        raise server_failed(error) from error


def patiently(call: Callable[[], T]) -> T:
    """Calls the server, and again for a minute while it cannot be reached: it may be restarting.

    Prefect's own clients do so once they have been connected; each of our calls has a new client.
    """
    from httpx import TransportError

    deadline = time.monotonic() + _AWAY_SECONDS
    while True:
        try:
            return call()
        except TransportError:
            if is_embedded() or time.monotonic() > deadline:
                raise
            time.sleep(1.0)


@contextlib.contextmanager
def connected() -> Iterator["SyncPrefectClient"]:
    """Yields a client of the server that PREFECT_API_URL names, after checking what answers there.

    Raises:
        Broken: nothing answers, or no Prefect, or one of another major version; or the server failed meanwhile.
    """
    from prefect.client.orchestration import get_client

    with failures_named(), get_client(sync_client=True) as client:
        where, ours = str(client.api_url).rstrip("/"), client.client_version()
        try:
            theirs = client.api_version()
        except ValueError as error:
            raise Broken(
                f"{where} does not answer as Prefect's API does",
                next_step="PREFECT_API_URL names the API, as in http://127.0.0.1:4200/api, not that of its UI.",
            ) from error
        if theirs.partition(".")[0] != ours.partition(".")[0]:
            raise Broken(
                f"the Prefect server at {where} is version {theirs}, the client here {ours}; their major versions have "
                "to be the same",
                next_step="Use a server of the client's version, or the environment that belongs to the server.",
            )
        yield client


def server_failed(error: Exception) -> Broken:
    """Builds the error for a failed server; the caller raises it."""
    return Broken(
        f"the Prefect server failed: {type(error).__name__}: {error}",
        next_step="Check PREFECT_API_URL and the server's log; --no-prefect does without a server. A release that was "
        "published meanwhile stays: `paritygate gate RELEASE_DIR` judges it.",
    )


def migrate(folder: Path) -> None:
    """Migrates the database to the installed Prefect's schema; does nothing when it has it already.

    Several processes may call this at once: one works, the others wait.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_migrated(folder):
        return
    with wait_for_lock(folder / "migrate.lock", what="Prefect's database"):
        if not is_migrated(folder):
            _create_database(folder)
            _stamp(folder).touch()


def is_migrated(folder: Path) -> bool:
    """Tells whether the database there has the installed Prefect's schema."""
    return _stamp(folder).exists() and (folder / "prefect.db").exists()


def _stamp(folder: Path) -> Path:
    return folder / f"migrated-{prefect_version()}"


def prefect_version() -> str:
    """Returns the version of the installed Prefect; a database is migrated once for each."""
    return importlib.metadata.version("prefect")


def _create_database(folder: Path) -> None:
    import asyncio

    _set({**_CLIENT, **_SERVER, "PREFECT_HOME": str(folder)})
    from prefect.server.database import provide_database_interface

    async def create() -> None:
        database = provide_database_interface()
        await database.create_db()
        await (await database.engine()).dispose()

    asyncio.run(create())


def _set(variables: dict[str, str]) -> None:
    """Sets the environment variables that the user has not set."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def _listening_socket() -> socket.socket:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    return listener


@contextlib.contextmanager
def _served(listener: socket.socket) -> Iterator[None]:
    """Serves Prefect's API on the socket, from a thread."""
    server = _server()
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    thread = threading.Thread(target=server.run, args=([listener],), name="prefect server", daemon=True)
    thread.start()
    try:
        _await_start(server, thread)
        # No service of this server looks for runs that died; a heartbeat would make every run a second longer.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
            yield
    finally:
        _drain_clients()
        server.should_exit = True
        thread.join(_STOP_SECONDS)


def _server() -> Any:
    """Builds Prefect's API as a server that does not run yet: 5 s of imports and of building models."""
    with importing():
        import uvicorn
        from prefect.server.api.server import create_app

        application = create_app(ephemeral=True)
    return uvicorn.Server(
        uvicorn.Config(application, log_config=None, access_log=False, lifespan="on", ws="websockets-sansio")
    )


def _await_start(server: Any, thread: threading.Thread) -> None:
    waited = 0.0
    while not server.started:
        if not thread.is_alive() or waited > _START_SECONDS:
            raise Broken(
                "Prefect's embedded server did not start",
                next_step="--no-prefect runs the same stages without it; PREFECT_API_URL names a server of yours.",
            )
        thread.join(0.02)
        waited += 0.02


def _drain_clients() -> None:
    """Lets task states and logs that wait in this process's queues reach the server before it stops."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    EventsWorker.drain_all(timeout=_STOP_SECONDS)
    APILogWorker.drain_all(timeout=_STOP_SECONDS)
