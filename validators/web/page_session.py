"""Loads an artifact in a page, and passes tensors through it.

In: the DevTools address of a browser, the name of a page module (`page/NAME.mjs`) and the artifact's folder. Out: the
tensors that the module computed, under the artifact's own names. Tensors travel as raw little-endian bytes, text as
JSON; small ones in the messages themselves.
"""

import json
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from exporters.errors import Broken
from exporters.installation import checkout, data_folder, setup_command
from validators.web.devtools import Page, open_page
from validators.web.gpu_adapters import raise_if_absent
from validators.web.page_server import PageServer

PAGE = Path(__file__).parent / "page"


def _packages() -> Path:
    """Returns the folder of the npm packages: next to the pages in a checkout, else one of the user's for each lock."""
    in_checkout = PAGE / "node_modules"
    if checkout() or in_checkout.is_dir():
        return in_checkout
    lock = sha256((PAGE / "package-lock.json").read_bytes()).hexdigest()
    return data_folder() / f"pages-{lock[:12]}" / "node_modules"


PACKAGES = _packages()
PACKAGES_HINT = f"run `{setup_command()}`"


def package_version(package: str) -> str | None:
    """Returns the version of an installed browser package, None when it is not installed."""
    try:
        return str(json.loads((PACKAGES / package / "package.json").read_bytes())["version"])
    except FileNotFoundError:
        return None


def package_names() -> tuple[str, ...]:
    """Returns the browser packages that the page asks for, in alphabetical order."""
    return tuple(sorted(json.loads((PAGE / "package.json").read_bytes())["dependencies"]))


def package_versions() -> dict[str, str]:
    """Returns the versions of those browser packages that are installed."""
    found = {name: package_version(name) for name in package_names()}
    return {name: version for name, version in found.items() if version is not None}


_SMALL = 32 * 1024
"""Bytes up to which a tensor travels in the message itself: a request to the server costs 4 ms of CPU, and a call of a
small model a quarter of that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One page with its server.

    Attributes:
        server: the only server that the page can reach.
        page: the tab.
        browser: name and version, as the browser reports them.
    """

    server: PageServer
    page: Page
    browser: str

    @property
    def shown(self) -> str:
        """Returns the browser's short name: `Chromium 150`."""
        major = re.search(r"/(\d+)", self.browser)
        return f"Chromium {major[1]}" if major else self.browser

    @property
    def binaries(self) -> str:
        """Returns the names of the WebAssembly files that the page loaded; empty when it loaded none."""
        return ", ".join(sorted({Path(path).name for path in self.server.served if path.endswith(".wasm")}))

    def load(self, options: Mapping[str, str]) -> dict[str, Any]:
        """Lets the page module load the artifact, and returns the facts that the module reports.

        Raises:
            Unavailable: Chromium gives its pages no such GPU.
            Broken: the module threw.
        """
        try:
            return dict(self._call("load", options))
        except Broken as error:
            raise_if_absent(error)
            raise

    def infer(
        self, inputs: Mapping[str, np.ndarray], outputs: list[str]
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Runs the artifact once.

        Args:
            inputs: native name -> array, of a dtype the module takes.
            outputs: native names wanted.

        Returns:
            The outputs by native name, and the facts that the module reports after the run.
        """
        specs = [self._put(index, name, array) for index, (name, array) in enumerate(inputs.items())]
        try:
            reply = self._call("infer", {"inputs": specs, "outputs": outputs, "small": _SMALL})
            return {spec["name"]: self._take(spec) for spec in reply["outputs"]}, dict(reply["facts"])
        finally:
            self.server.tensors.clear()

    def _call(self, verb: str, argument: Any) -> Any:
        return self.page.evaluate(f"cell.{verb}({json.dumps(argument)})")

    def _put(self, index: int, name: str, array: np.ndarray) -> dict[str, Any]:
        path = f"{PageServer.TENSORS}/input-{index}"
        text = array.dtype.kind in "OSU"
        body = json.dumps(array.ravel().tolist()).encode() if text else np.ascontiguousarray(array).tobytes()
        spec = {"name": name, "dtype": "string" if text else array.dtype.name, "shape": array.shape}
        if len(body) <= _SMALL:
            return {**spec, "base64": b64encode(body).decode()}
        self.server.tensors[path.partition("/")[2]] = body
        return {**spec, "path": path}

    def _take(self, spec: Mapping[str, Any]) -> np.ndarray:
        body = self.server.tensors[spec["path"].partition("/")[2]] if "path" in spec else b64decode(spec["base64"])
        if spec["dtype"] == "string":
            return np.array(json.loads(body), dtype=object).reshape(spec["shape"])
        return np.frombuffer(body, dtype=spec["dtype"]).reshape(spec["shape"])


class PageRuntime:
    """Holds what every web runtime has: its page, and the page's own clock, which `validators.cells.stopwatch` reads.

    Args:
        session: the page that holds the model.
        facts: what the page module reported after loading.

    Attributes:
        load_seconds: the seconds that loading took, as the page measured them.
    """

    def __init__(self, *, session: Session, facts: dict[str, Any]) -> None:
        self._session = session
        self._facts = facts
        self.load_seconds: float = facts["seconds"]

    @property
    def call_seconds(self) -> float:
        """Returns the seconds of the last call, as the page measured them."""
        seconds: float = self._facts["seconds"]
        return seconds


@contextmanager
def open_session(endpoint: str, module: str, artifact: Path) -> Iterator[Session]:
    """Opens a page that runs `page/MODULE.mjs` on an artifact folder; leaving the context closes it.

    Raises:
        Broken: the browser packages are not installed, or no browser answers at `endpoint`.
    """
    if not PACKAGES.is_dir():
        raise Broken(f"the browser packages are not installed in {PACKAGES}", next_step=PACKAGES_HINT)
    folders = {"page": PAGE, "node_modules": PACKAGES, "artifact": artifact}
    with PageServer(folders) as server, open_page(endpoint) as page:
        page.navigate(server.url(f"page/page.html?module={module}"))
        yield Session(server=server, page=page, browser=page.browser)
