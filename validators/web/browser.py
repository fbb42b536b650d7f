"""Keeps one headless Chromium running for all the browser cells of a release.

In: nothing but a Chromium on this machine. Out: the DevTools address (`ws://127.0.0.1:...`) that cells connect to.

The supervisor holds a `BrowserHost`. It starts a separate process for Chromium, `validators.web.browser_process`,
which ends with the supervisor or before it and leaves nothing behind.
"""

import http.client
import json
import select
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from exporters.errors import Broken, Cancelled
from exporters.jobs.processes import import_environment
from validators.hardware.chromium import CHROMIUM_HINT, find_chromium

_START_SECONDS = 60.0
_CLOSE_SECONDS = 5.0


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
        """Returns the host process, whose descendants are the whole Chromium; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def alive(self) -> bool:
        """Tells whether the host process runs: it ends when its Chromium does."""
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
        """Returns another host of the same executable, for a cell that must not share its browser."""
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
        command = [sys.executable, "-P", "-m", "validators.web.browser_process", str(chromium)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=import_environment()
        )

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
        announced: dict[str, str] = json.loads(line) if line else {"error": "its host process ended without a message"}
        if "error" in announced:
            self._end()
            raise Broken(f"Chromium did not start: {announced['error']}", next_step=CHROMIUM_HINT)
        self._announced = announced
        return announced

    def _end(self) -> None:
        process, folder = self._process, self._announced.get("folder")
        self._process, self._announced = None, {}
        if process is None or process.stdin is None or process.stdout is None:
            return
        process.stdin.close()
        for end in (process.terminate, process.kill):
            try:
                process.wait(_CLOSE_SECONDS)
            except subprocess.TimeoutExpired:
                end()
        process.wait()
        process.stdout.close()
        if folder:
            shutil.rmtree(folder, ignore_errors=True)  # the host does it itself, unless it was killed


def _answers(endpoint: str) -> bool:
    """Asks Chromium for its version: a killed one's socket accepts connections for a moment, but answers nothing."""
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=_CLOSE_SECONDS)
    try:
        connection.request("GET", "/json/version")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
