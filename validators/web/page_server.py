"""Serves a page its scripts, the artifact and the tensors over loopback, and nothing else.

In: folders to serve and tensors to hand over. Out: the tensors the page posts back. Every address holds a random
token, so that other programs on the machine learn nothing from the port. The token does not protect users of one
machine from each other: Chromium's DevTools listen on loopback without a password, and a user who finds their port can
read the open page, samples included. The headers forbid the page any other origin and let it use threads
(`SharedArrayBuffer` needs cross-origin isolation).
"""

import secrets
import shutil
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self, cast
from urllib.parse import unquote, urlsplit

_TYPES: Mapping[str, str] = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
_HEADERS: Mapping[str, str] = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    # blob: and eval are how the runtimes' WebAssembly glue starts its threads; every other origin stays out.
    "Content-Security-Policy": "default-src 'self' blob: data: 'unsafe-eval' 'wasm-unsafe-eval'",
    "X-Content-Type-Options": "nosniff",
    # Not `no-store`: TF.js requests all shards before it reads one. A browser that may not store a response does not
    # read it from the socket, and six full connections then wait for each other.
    "Cache-Control": "no-cache",
}


class PageServer:
    """Serves one page for the time of a `with` block.

    Args:
        folders: the first segment of an address -> the folder behind it.
    """

    TENSORS = "tensors"

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self.folders = {name: folder.resolve() for name, folder in folders.items()}
        self.tensors: dict[str, bytes] = {}
        self.served: set[str] = set()
        self.token = secrets.token_urlsafe(16)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.page = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def url(self, path: str = "") -> str:
        """Returns the address of `path`, which begins with the name of a folder or with `tensors/`."""
        return f"http://127.0.0.1:{self._server.server_port}/{self.token}/{path}"

    def file(self, path: str) -> Path | None:
        """Returns the file behind a path, or None: no such file, or it leads out of its folder."""
        folder, _, rest = path.partition("/")
        root = self.folders.get(folder)
        if root is None or "\0" in rest:
            return None
        found = (root / rest).resolve()
        return found if found.is_relative_to(root) and found.is_file() else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    page: PageServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = (
        True  # a reply is a header and a body; by default, the body waits 40 ms for the header's ACK
    )
    timeout: ClassVar[float | None] = 60.0  # of an idle connection, in seconds

    def do_GET(self) -> None:
        page, path = self._page(), self._path()
        folder, _, name = path.partition("/")
        if folder == PageServer.TENSORS and name in page.tensors:
            self._reply(HTTPStatus.OK, "application/octet-stream", len(page.tensors[name]))
            self.wfile.write(page.tensors[name])
            return
        found = page.file(path)
        if found is None:
            self._reply(HTTPStatus.NOT_FOUND, "text/plain", 0)
            return
        page.served.add(path)
        self._reply(HTTPStatus.OK, _TYPES.get(found.suffix, "application/octet-stream"), found.stat().st_size)
        with found.open("rb") as source:
            shutil.copyfileobj(source, self.wfile)

    def do_POST(self) -> None:
        folder, _, name = self._path().partition("/")
        size = self.headers.get("Content-Length", "")
        if folder != PageServer.TENSORS or not size.isdigit():
            self.close_connection = True  # the body stays unread
            self._reply(HTTPStatus.NOT_FOUND, "text/plain", 0)
            return
        self._page().tensors[name] = self.rfile.read(int(size))
        self._reply(HTTPStatus.NO_CONTENT, "text/plain", 0)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - names of the base class
        """Keeps quiet: the browser itself reports what it could not load."""

    def _page(self) -> PageServer:
        return cast("_Server", self.server).page

    def _path(self) -> str:
        """Returns the address after the token, decoded; empty when the token is not ours."""
        token, _, path = urlsplit(self.path).path.removeprefix("/").partition("/")
        return unquote(path) if secrets.compare_digest(token.encode(), self._page().token.encode()) else ""

    def _reply(self, status: HTTPStatus, content_type: str, size: int) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": content_type, "Content-Length": str(size)}.items():
            self.send_header(name, value)
        self.end_headers()
