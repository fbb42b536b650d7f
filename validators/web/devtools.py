"""Controls a tab of a running Chromium over the DevTools protocol.

In: the DevTools address of a browser. Out: a `Page` that can go to an address and evaluate JavaScript. The tab has its
own browser context, which Chromium disposes of when the connection ends: a cell that is killed takes its tab, hung or
not, with it.

Protocol: https://chromedevtools.github.io/devtools-protocol/
"""

import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from exporters.errors import Broken

_LOST = "DeviceLost: "  # the error's name in `page/webgpu.mjs`
_CRASH_SECONDS = 1.0
_LOADED = "new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', () => done()))"


class BrowserGone(Broken):
    """The browser or its GPU process ended during the cell; all cells in it are lost, whichever of them caused it."""


class Page:
    """One tab. Not to be shared between threads.

    The page's console output goes to stdout, where the cell's log is captured.

    Args:
        socket: an open WebSocket to the browser's DevTools address.
    """

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        context = self._command("Target.createBrowserContext", disposeOnDetach=True)["browserContextId"]
        target = self._command("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self._command("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Inspector", "Runtime", "Log"):
            self._command(f"{domain}.enable")

    @property
    def browser(self) -> str:
        """Returns the browser's name and version as it reports them, e.g. `Chrome/156.0.8078.79`."""
        return str(self._command("Browser.getVersion")["product"])

    def navigate(self, url: str) -> None:
        """Opens `url` and waits until it has loaded.

        Raises:
            Broken: it cannot be reached.
        """
        failure = self._command("Page.navigate", url=url).get("errorText")
        if failure:
            raise Broken(f"the page could not be opened: {failure}")
        self.evaluate(_LOADED)

    def evaluate(self, expression: str) -> Any:
        """Evaluates a JavaScript expression, waits for its promise and returns its value as JSON carries it.

        Raises:
            BrowserGone: the browser ended, or its GPU process and with it the page's device.
            Broken: the script threw (its message is kept, its stack goes to stdout), or the tab crashed.
        """
        reply = self._command("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        thrown = reply.get("exceptionDetails")
        if thrown:
            described = _described(thrown)
            _log("error", described)
            message = described.split("\n    at ")[0].removeprefix("Error: ")
            if message.startswith(_LOST):
                raise BrowserGone(message.removeprefix(_LOST))
            raise Broken(message)
        return reply["result"].get("value")

    def _command(self, method: str, **params: Any) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        number = next(self._numbers)
        try:
            self._socket.send(json.dumps({"id": number, "method": method, "params": params, **self._session}))
            while (message := json.loads(self._socket.recv())).get("id") != number:
                if message.get("method") == "Inspector.targetCrashed":
                    self._raise_crash()
                _hear(message.get("method", ""), message.get("params", {}))
        except ConnectionClosed as closed:
            raise BrowserGone(f"Chromium went away during {method}") from closed
        if "error" in message:
            raise Broken(f"Chromium refused {method}: {message['error'].get('message')}")
        result: dict[str, Any] = message["result"]
        return result

    def _raise_crash(self) -> None:
        """Raises for a tab that crashed; where all of Chromium is being killed, a tab may be the first to go."""
        deadline = time.monotonic() + _CRASH_SECONDS
        with suppress(TimeoutError):
            while (left := deadline - time.monotonic()) > 0:
                self._socket.recv(timeout=left)
        raise Broken("the tab crashed (out of memory, or a defect of the browser)")


def _hear(event: str, params: dict[str, Any]) -> None:
    """Logs the page's messages; raises when the tab is gone, because then no answer will come."""
    if event in ("Inspector.detached", "Target.detachedFromTarget"):
        raise Broken(f"the tab was closed by another program ({params.get('reason', 'no reason given')})")
    if event == "Runtime.consoleAPICalled":
        _log(params["type"], " ".join(str(a.get("value", a.get("description"))) for a in params["args"]))
    elif event == "Runtime.exceptionThrown":
        _log("error", _described(params["exceptionDetails"]))
    elif event == "Log.entryAdded":
        entry = params["entry"]
        _log(entry["level"], f"{entry['text']} {entry.get('url', '')}")


def _described(thrown: dict[str, Any]) -> str:
    value = thrown.get("exception", {})
    return str(value.get("description") or value.get("value") or thrown.get("text"))


def _log(level: str, text: str) -> None:
    print(f"[page {level}] {text}", flush=True)  # noqa: T201 - the cell's stdout is its log


@contextmanager
def open_page(endpoint: str) -> Iterator[Page]:
    """Opens a tab in the browser at `endpoint`; leaving the context closes it.

    Raises:
        BrowserGone: no browser answers there.
    """
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    try:
        socket = connect(endpoint, max_size=None, compression=None, proxy=None, close_timeout=1)
    except (OSError, WebSocketException) as error:
        raise BrowserGone(f"no browser answers at {endpoint}: {error}", next_step="run the cell again") from error
    with socket:
        yield Page(socket)
