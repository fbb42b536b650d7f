"""One headless Chromium for all the browser cells of a release.

In: nothing but a Chromium on this machine. Out: the DevTools address (`ws://127.0.0.1:...`) that cells connect to.

The supervisor holds a `BrowserHost`. It starts `python -m validators.web.browser CHROMIUM`, the host process below,
which starts Chromium, prints one line of JSON and then waits: for its stdin to end (the supervisor closed it or died),
for TERM, or for Chromium to die. Whichever comes first, it leaves no process and no folder behind.
"""

import ctypes
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from exporters.errors import BadInput, Broken, Cancelled

CHROMIUM_VARIABLE = "PARITYGATE_CHROMIUM"
CHROMIUM_HINT = (
    "install Chromium (Debian: `apt-get install chromium`; or `playwright install chromium`), "
    f"or name an installed one in {CHROMIUM_VARIABLE}"
)
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PLAYWRIGHT_BUILDS = ("chromium-*/chrome-linux*/chrome", "chromium_headless_shell-*/chrome-*/*headless*shell")

FLAGS = (
    "--headless",
    "--remote-debugging-port=0",
    "--remote-debugging-address=127.0.0.1",
    # Cells open their own tabs: without the first window the start costs 0.4 s of CPU instead of 1.3 s.
    "--no-startup-window",
    "--no-first-run",
    "--no-default-browser-check",
    # A container's /dev/shm is 64 MB; one large tensor on its way to the page would crash the tab.
    "--disable-dev-shm-usage",
    # Samples may be private: whatever the page or the browser itself asks of another machine goes to a dead proxy.
    # Loopback addresses bypass the proxy by Chromium's own rule.
    "--proxy-server=http://127.0.0.1:9",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
    "--disable-breakpad",
    "--disable-extensions",
    "--no-pings",
    # Several cells share one browser and none of their tabs is in front.
    "--disable-background-timer-throttling",
    "--disable-renderer-backgrounding",
)

_START_SECONDS = 60.0
_CLOSE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def find_chromium() -> Path | None:
    """Finds a Chromium: the one PARITYGATE_CHROMIUM names, else one on PATH, else Playwright's download.

    Returns:
        The executable, or None when there is none; `CHROMIUM_HINT` says how to get one.

    Raises:
        BadInput: PARITYGATE_CHROMIUM names something that cannot be executed.
    """
    named = os.environ.get(CHROMIUM_VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            raise BadInput(
                f"{CHROMIUM_VARIABLE} names {named!r}, which is no executable file",
                next_step=f"unset {CHROMIUM_VARIABLE}, or give it the path of a Chromium or Chrome",
            )
        return Path(found)
    on_path = (shutil.which(name) for name in _NAMES)
    return next((Path(found) for found in on_path if found), None) or next(_playwright_builds(), None)


def _playwright_builds() -> Iterator[Path]:
    root = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    for pattern in _PLAYWRIGHT_BUILDS:
        yield from sorted(root.glob(pattern), reverse=True)


def launch_flags(profile: Path) -> list[str]:
    """Returns Chromium's command line after the executable, for a throw-away profile folder."""
    flags = [*FLAGS, f"--user-data-dir={profile}"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        flags.append("--no-sandbox")  # Chromium refuses to start as root with its sandbox
    return flags


class BrowserHost:
    """The supervisor's end: one Chromium, started when first needed, started again when it has died.

    Safe to use from several threads.

    Args:
        chromium: the executable; `find_chromium()` when None.
    """

    def __init__(self, chromium: Path | None = None) -> None:
        self._chromium = chromium
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._announced: dict[str, str] = {}
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """True while the host process runs: it ends when its Chromium does."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts Chromium and returns at once; does nothing when it already runs.

        Raises:
            Broken: there is no Chromium on this machine.
            Cancelled: the host was closed.
        """
        with self._lock:
            self._start()

    def endpoint(self, seconds: float = _START_SECONDS) -> str:
        """Returns the DevTools address of a Chromium that answers, starting one when there is none.

        Args:
            seconds: how long its start may take.

        Raises:
            Broken: there is no Chromium, it ended at once or it did not answer in time.
            Cancelled: the host was closed.
        """
        with self._lock:
            if self._announced and not _answers(self._announced["endpoint"]):
                self._end()
            self._start()
            return self._announcement(seconds)["endpoint"]

    def close(self) -> None:
        """Ends Chromium with everything it started; a second call does nothing."""
        self._closed = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()  # before the lock: this is what wakes a thread that waits in endpoint()
        with self._lock:
            self._end()

    def _start(self) -> None:
        if self._closed:
            raise Cancelled("the browser was closed because the run is ending")
        if self.alive:
            return
        self._end()
        chromium = self._chromium or find_chromium()
        if chromium is None:
            raise Broken("there is no Chromium on this machine", next_step=CHROMIUM_HINT)
        command = [sys.executable, "-m", "validators.web.browser", str(chromium)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _announcement(self, seconds: float) -> dict[str, str]:
        """Waits for the host's one line: {"endpoint", "folder"} or {"error"}."""
        if self._announced:
            return self._announced
        if self._process is None or self._process.stdout is None:
            raise Broken("the browser host is not running")
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            self._end()
            raise Broken(f"Chromium did not answer within {seconds:.0f} s of its start", next_step=CHROMIUM_HINT)
        line = self._process.stdout.readline()
        told: dict[str, str] = json.loads(line) if line else {"error": "its host process ended without a word"}
        if "error" in told:
            self._end()
            raise Broken(f"Chromium did not start: {told['error']}", next_step=CHROMIUM_HINT)
        self._announced = told
        return told

    def _end(self) -> None:
        process, folder = self._process, self._announced.get("folder")
        self._process, self._announced = None, {}
        if process is None or process.stdin is None or process.stdout is None:
            return
        process.stdin.close()
        for ask in (process.terminate, process.kill):
            try:
                process.wait(_CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                ask()
        process.wait()
        process.stdout.close()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)  # the host does it itself, unless it was killed


def _answers(endpoint: str) -> bool:
    address = urlsplit(endpoint)
    try:
        socket.create_connection((address.hostname or "", address.port or 0), timeout=_CLOSE_SECONDS).close()
    except OSError:
        return False
    return True


# What follows runs in the host process.


def _prctl(option: int, value: int) -> None:
    """Sets a Linux process attribute; elsewhere the end of stdin alone ends the host."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value)


def _launch(chromium: Path, folder: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as stderr:
        return subprocess.Popen(
            [str(chromium), *launch_flags(folder / "profile")],
            stdin=subprocess.DEVNULL,
            stdout=stderr,
            stderr=stderr,
            env={**os.environ, "TMPDIR": str(folder)},  # its sockets and scratch files go when the folder goes
            process_group=0,  # Ctrl-C reaches the supervisor alone, and one signal later ends the whole tree
            preexec_fn=lambda: _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),  # noqa: PLW1509 - this process has one thread
        )


def _await_endpoint(process: subprocess.Popen[bytes], log: Path, stop: threading.Event) -> dict[str, str]:
    while not stop.wait(0.01):
        ended = process.poll() is not None
        said = log.read_text(errors="replace")
        found = re.search(r"DevTools listening on (ws://\S+)", said)
        if found:
            return {"endpoint": found[1]}
        if ended:
            return {"error": f"it ended with code {process.returncode} and said: {said.strip()[-2000:]}"}
    return {"error": "it was told to stop"}


def _kill_tree(process: subprocess.Popen[bytes]) -> None:
    """Kills Chromium's process group and waits for every process of it, grandchildren included (see `main`)."""
    try:
        os.killpg(process.pid, signal.SIGKILL)  # the profile is thrown away, so nothing needs an orderly end
    except ProcessLookupError:
        return
    deadline = time.monotonic() + _CLOSE_SECONDS
    while time.monotonic() < deadline:
        try:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.01)
        except ChildProcessError:
            return


def _stop_at_end_of_stdin(stop: threading.Event) -> None:
    sys.stdin.buffer.read()
    stop.set()


def main(arguments: list[str]) -> int:
    """Runs one Chromium until told to stop; the only argument is the executable."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C: the supervisor decides the order of the end
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)  # Chromium's orphans become our children, so that none outlives us unseen
    folder = Path(tempfile.mkdtemp(prefix="paritygate-chromium-"))
    process = None
    try:
        process = _launch(Path(arguments[0]), folder, folder / "log")
        threading.Thread(target=_stop_at_end_of_stdin, args=(stop,), daemon=True).start()
        told = _await_endpoint(process, folder / "log", stop)
        print(json.dumps({**told, "folder": str(folder)}), flush=True)  # noqa: T201 - the line the supervisor waits for
        while "error" not in told and process.poll() is None and not stop.wait(0.1):
            pass
    finally:
        if process is not None:
            _kill_tree(process)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
