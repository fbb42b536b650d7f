"""What tests of the flows need of a Prefect server: the environment of its clients, and its API without Prefect."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

from flows.deployment.local_server import LEASES
from flows.deployment.ports import free_port
from flows.prefect import server

ROOT = Path(__file__).resolve().parents[1]
PREFECT = Path(sys.executable).with_name("prefect")

QUICK_TOML = 'formats = ["saved_model"]\n[policy]\ngpu = "off"\nrequired = ["saved_model tensorflow cpu"]\n'
"""Terms of a release that costs the least, as a file: one exporter, one cell, no browser."""
QUICK = tomllib.loads(QUICK_TOML)


def environment(**more: object) -> dict[str, str]:
    """This process's, without what it may say about Prefect."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    return {**kept, **{name: str(value) for name, value in more.items()}}


def ask(url: str, body: Any = None, *, method: str | None = None) -> Any:
    """One call of the API, again where the server's database was busy, as Prefect's own clients do."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"}, method=method)  # noqa: S310
    for _ in range(20):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - the server this test started
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            time.sleep(0.5)
    raise AssertionError(f"{url}: the server stayed busy")


def until(found: Callable[[], Any], *, seconds: float = 120) -> Any:
    """Waits for something that is found, and gives it."""
    deadline = time.monotonic() + seconds
    while not (it := found()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)
    return it


def run(api: str, home: Path, *command: object, **more: object) -> subprocess.CompletedProcess[str]:
    """Runs a command from the repository's root as a client of a server; `more` of the environment may be said."""
    settings = environment(PREFECT_API_URL=api, PREFECT_HOME=home, **more)
    return subprocess.run(list(map(str, command)), cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


def submit(api: str, home: Path, *arguments: object, **more: object) -> tuple[int, str, str]:
    """`paritygate submit`; gives exit code, stdout and stderr."""
    done = run(api, home, sys.executable, "-m", "flows.cli", "submit", *arguments, **more)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def carried_out(api: str, deployment: dict[str, Any], **parameters: Any) -> tuple[str, str]:
    """Has a worker run a deployment with these parameters; gives name and message of the state that it ended in."""
    run = ask(f"{api}/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})["id"]

    def ended() -> Any:
        state = ask(f"{api}/flow_runs/{run}")["state"]
        return state if state["type"] in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} else None

    state = until(ended, seconds=300)
    return state["name"], state["message"] or ""


_RUNNING: dict[str, tuple[Path, "subprocess.Popen[bytes]"]] = {}


def restart(api: str) -> None:
    """Ends a server that `served` gave, and starts it anew over the same database, at the same address."""
    home, process = _RUNNING[api]
    process.terminate()
    process.wait(30)
    _start(home, api)


def _start(home: Path, api: str) -> None:
    port = api.rpartition(":")[2].partition("/")[0]
    settings = environment(PREFECT_HOME=home, PREFECT_SERVER_ANALYTICS_ENABLED="false", DO_NOT_TRACK="1", **LEASES)
    with (home / "log").open("ab") as log:
        command = [PREFECT, "server", "start", "--port", port, "--no-ui"]
        process = subprocess.Popen(command, env=settings, stdout=log, stderr=log)
    _RUNNING[api] = home, process
    deadline = time.monotonic() + 120
    while True:
        with contextlib.suppress(OSError):
            ask(f"{api}/health")
            return
        assert process.poll() is None, (home / "log").read_text()
        assert time.monotonic() < deadline, "the server did not answer in two minutes"
        time.sleep(0.2)


@contextlib.contextmanager
def served(home: Path) -> Iterator[str]:
    """A Prefect server of our own on loopback; gives the address of its API."""
    if (prepared := server.home() / "prefect.db").exists():  # made at set-up; a fresh one takes 20 s more
        with (
            contextlib.closing(sqlite3.connect(prepared)) as ours,
            contextlib.closing(sqlite3.connect(home / "prefect.db")) as theirs,
        ):
            ours.backup(theirs)
    api = f"http://127.0.0.1:{free_port()}/api"
    try:
        _start(home, api)
        yield api
    finally:
        _, process = _RUNNING.pop(api)
        process.terminate()
        process.wait(30)
