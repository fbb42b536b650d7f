"""One headless Chromium for all the browser cells of a release.

In: nothing but a Chromium on this machine. Out: the DevTools address (`ws://127.0.0.1:...`) that cells connect to.

The supervisor holds a `BrowserHost`. It starts a process of its own for Chromium, `validators.web.host`, which ends
with the supervisor or before it and leaves nothing behind.
"""

import http.client
import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from exporters.errors import BadInput, Broken, Cancelled
from exporters.isolation.launch import finding_us
from validators.devices import device_nodes

CHROMIUM_VARIABLE = "PARITYGATE_CHROMIUM"
CHROMIUM_HINT = (
    "install Chromium (Debian: `apt-get install chromium-headless-shell`; or `playwright install chromium`), "
    f"or name an installed one in {CHROMIUM_VARIABLE}"
)
_SHELLS = ("/usr/lib/chromium/chromium-headless-shell", "chrome-headless-shell")
"""Chromium without windows. A page costs 0.1 s of CPU beside what it computes, where one in a window that nobody sees
costs 0.6 s. Debian's by its program: on PATH is a script that waits for it, and a signal would end the script alone."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_PLAYWRIGHT_SHELL = "chromium_headless_shell-*/chrome-*/*headless*shell"
_PLAYWRIGHT_BROWSER = "chromium-*/chrome-linux*/chrome"

_START_SECONDS = 60.0
_CLOSE_SECONDS = 5.0


def find_chromium() -> Path | None:
    """Finds a Chromium: the one PARITYGATE_CHROMIUM names, else one on PATH, else Playwright's download.

    Of several, one without windows (`_SHELLS`) where pages get a software GPU, one with windows where there is a card:
    with that, cards have been tried.

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
    windows = bool(device_nodes())
    names = (*_BROWSERS, *_SHELLS) if windows else (*_SHELLS, *_BROWSERS)
    on_path = (Path(found) for name in names if (found := shutil.which(name)))
    return next(itertools.chain(on_path, _playwright_builds(windows=windows)), None)


def _playwright_builds(*, windows: bool) -> Iterator[Path]:
    root = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or Path.home() / ".cache" / "ms-playwright")
    either = (_PLAYWRIGHT_BROWSER, _PLAYWRIGHT_SHELL)
    for pattern in either if windows else reversed(either):
        yield from sorted(root.glob(pattern), reverse=True)


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
    def pid(self) -> int | None:
        """The host process, whose descendants are the whole Chromium; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def alive(self) -> bool:
        """True while the host process runs: it ends when its Chromium does."""
        return self.pid is not None

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

    def another(self) -> "BrowserHost":
        """A further host of the same executable, for a cell that must not share its browser."""
        return BrowserHost(self._chromium)

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
        command = [sys.executable, "-P", "-m", "validators.web.host", str(chromium)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=finding_us())

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
    """Asks for its version: a killed Chromium's socket takes connections for a moment longer, but answers nothing."""
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=_CLOSE_SECONDS)
    try:
        connection.request("GET", "/json/version")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
