"""Runs the processes that `stock.py` times, lists others that are alive, and keeps a Prefect server for them."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from flows.deployment.ports import free_port
from validators.web.browser_process import FOLDER_PREFIX

ROOT = Path(__file__).resolve().parents[1]
# Not resolved: the interpreter of a virtual environment is a link, and following it leaves the environment.
BIN = ROOT / ".venv" / "bin"
PYTHON = str(BIN / "python")
SERVER_SECONDS = 120.0


def alive() -> list[str]:
    """Lists the processes of this environment, and their browsers, that are alive in addition to this one."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command = process.info["cmdline"] or [""]
        program = Path(process.info["cwd"] or "/", command[0])
        ours = program.is_relative_to(BIN)
        browser = any(FOLDER_PREFIX in word for word in command)
        if (ours or browser) and process.pid != os.getpid():
            found.append(f"{process.pid} {' '.join(command)[:100]}")
    return found


def timed(command: list[str], folder: Path, environment: Mapping[str, str]) -> float:
    """Runs a command in `folder` and returns its wall time in seconds; ends the benchmark when it fails."""
    started = time.perf_counter()
    run = subprocess.run(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - started
    if run.returncode:
        sys.exit(f"{run.stdout[-3000:]}\nexit code {run.returncode} of: {' '.join(command)}")
    return seconds


def clean_environment() -> dict[str, str]:
    """Returns the environment without anybody's Prefect settings, and Prefect quiet and private."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {
        "DO_NOT_TRACK": "1",
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": str(int(SERVER_SECONDS)),
    }


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its descendants, by their own ids."""
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in family:
        member.terminate()
    _, stubborn = psutil.wait_procs(family, timeout=10)
    for member in stubborn:
        member.kill()
    process.wait()


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """Runs a Prefect server on the loopback and yields the environment whose flows use it."""
    port = free_port()
    environment = clean_environment() | {"PREFECT_HOME": str(home)}
    api = f"http://127.0.0.1:{port}/api"
    command = [str(BIN / "prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until_healthy(api, server)
        yield environment | {"PREFECT_API_URL": api}
    finally:
        stop(server)


def wait_until_healthy(api: str, server: subprocess.Popen[bytes]) -> None:
    """Returns when the server answers; ends the benchmark when it dies or takes too long."""
    deadline = time.monotonic() + SERVER_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=2):  # noqa: S310 - our own http:// address
                return
        except (urllib.error.URLError, TimeoutError):
            time.sleep(0.2)
    sys.exit(f"the Prefect server at {api} did not answer within {SERVER_SECONDS:.0f} s")
