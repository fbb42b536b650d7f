"""Starts a complete Prefect installation on this machine: server with its UI, one worker, the deployments.

In: nothing. Out: processes that outlive this one, their logs and pids under `home()`, the address of the UI.
`stop` ends them by their pids. For a team, see docs: the same pieces on machines of their own. The commands are
`paritygate server start` and `stop`; `make server` calls them.
"""

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import psutil

from exporters.errors import Broken
from exporters.installation import state_folder
from flows.deployment import POOL, postgres
from flows.prefect import server

PORT = 4200
_PREFECT = str(Path(sys.executable).with_name("prefect"))
Database = Literal["sqlite", "postgres"]
_START_SECONDS = 120
_STOP_SECONDS = 30
_LAST_LINES = 15
_ORDER = ("server", "worker")
_CORES_OF_A_RUN = 4
_PATIENCE = {"PREFECT_SERVER_DATABASE_CONNECTION_TIMEOUT": "60", "PREFECT_SERVER_DATABASE_TIMEOUT": "60"}
"""Seconds. By default 5 and 10, which a database can miss while releases use every core; a server that misses it
while it starts does not come up."""
LEASES = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}
"""Of a server: slots of concurrency limits are given back after it was restarted. Kept in memory, they stay taken."""


def default_home() -> Path:
    """Returns the folder of database, logs and pids: `.paritygate/server` of a checkout, else one of the user's."""
    return state_folder() / "server"


def start(home: Path, port: int = PORT, *, database: Database = "sqlite") -> str:
    """Starts what does not run yet; returns the UI's address.

    Args:
        home: database, logs and pids.
        port: of the server.
        database: of a server that does not run yet: a file, or a PostgreSQL of our own (`flows.deployment.postgres`).

    Raises:
        Broken: the port is taken, or a process does not come up; names its log.
    """
    home.mkdir(parents=True, exist_ok=True)
    running = {name: _running(home, name) for name in _ORDER}
    if running["server"] and (address := home / "address").is_file():
        port = int(address.read_text())
    api = f"http://127.0.0.1:{port}/api"
    environment = _environment(home, port)
    if not running["server"]:
        _refuse_taken(port)
        where = _postgres(home) if database == "postgres" else _sqlite(home)
        (home / "address").write_text(str(port))
        serve = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
        _spawn(home, "server", serve, {**environment, "PREFECT_API_DATABASE_CONNECTION_URL": where})
    _await_health(home, api)
    deploy = [sys.executable, "-P", "-m", "flows.cli", "server", "deploy"]
    done = subprocess.run(deploy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Broken(f"the deployments could not be made: {done.stderr.strip()}", next_step=f"less {home}/server.log")
    if not running["worker"]:
        abreast = max(1, (os.cpu_count() or 1) // _CORES_OF_A_RUN)
        worker = ["worker", "start", "--pool", POOL, "--type", "process", "--limit", str(abreast)]
        _spawn(home, "worker", worker, environment)
    return api.removesuffix("/api")


def stop(home: Path) -> list[str]:
    """Ends what `start` started, the worker first; returns the names of what ran."""
    ended = []
    for name in reversed(_ORDER):
        if process := _running(home, name):
            started = [process, *process.children(recursive=True)]
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(psutil.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            for left in started:
                with contextlib.suppress(psutil.NoSuchProcess):
                    left.kill()
            psutil.wait_procs(started, timeout=_STOP_SECONDS)
            ended.append(name)
        (home / f"{name}.pid").unlink(missing_ok=True)
    if postgres.stop(home / "postgres"):
        ended.append("postgres")
    return ended


def _environment(home: Path, port: int) -> dict[str, str]:
    return {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_API_HOST": "127.0.0.1",  # the UI asks for its API there
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        **LEASES,
        **_PATIENCE,
        "DO_NOT_TRACK": "1",
    }


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise Broken(
                f"port {port} of 127.0.0.1 is taken by another program",
                next_step="`paritygate server start --port 4300` takes another one; `ss -ltnp` shows who has it.",
            )


def _postgres(home: Path) -> str:
    postgres.ready()
    return postgres.start(home / "postgres")


def _sqlite(home: Path) -> str:
    """Copies the database that set-up migrated: a fresh one takes 20 s longer."""
    target, prepared = home / "prefect.db", server.home() / "prefect.db"
    if prepared.exists() and not target.exists():
        with (
            contextlib.closing(sqlite3.connect(prepared)) as ours,
            contextlib.closing(sqlite3.connect(target)) as theirs,
        ):
            ours.backup(theirs)
    return f"sqlite+aiosqlite:///{target}"


def _spawn(home: Path, name: str, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
    """Starts a process that outlives this one, in a session of its own so that Ctrl-C here does not reach it."""
    log = os.open(home / f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        outputs = [(os.POSIX_SPAWN_DUP2, log, descriptor) for descriptor in (1, 2)]
        # Prefect ends by SIGINT, also where it was sent SIGTERM, and a job in a shell's background ignores SIGINT.
        heard = [signal.SIGINT]
        pid = os.posix_spawn(
            _PREFECT, [_PREFECT, *arguments], environment, file_actions=outputs, setsid=True, setsigdef=heard
        )
    finally:
        os.close(log)
    (home / f"{name}.pid").write_text(f"{pid} {_began(pid)}")


def _running(home: Path, name: str) -> psutil.Process | None:
    """Returns the process that `start` recorded, if it is still the same one: pids are reused."""
    try:
        pid, began = (home / f"{name}.pid").read_text().split()
        process = psutil.Process(int(pid))
        same = _began(int(pid)) == began and process.status() != psutil.STATUS_ZOMBIE
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return None
    return process if same else None


def _began(pid: int) -> str:
    """Returns the start of a process in clock ticks since boot, which a changed clock does not move (proc(5))."""
    return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[19]


def _await_health(home: Path, api: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and _running(home, "server"):
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=5):  # noqa: S310 - our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    log = home / "server.log"
    said = log.read_text("utf-8", errors="replace").splitlines()[-_LAST_LINES:] if log.is_file() else []
    raise Broken("\n".join(["the Prefect server did not start", *said]), next_step=f"less {log}")
