"""Installs the npm packages of the browser cells: TF.js, ONNX Runtime Web, LiteRT.js.

In: `package-lock.json`, whose every entry carries a SHA-512. Out: `PACKAGES`, next to the pages in a checkout, else in
the user's data folder, because an installed package may be read-only. npm checks the hashes and runs no scripts; what
no page loads is deleted afterwards (235 MB become 60).
"""

import shutil
from hashlib import sha256

from exporters.errors import Broken
from flows.setup.command import call, program
from flows.setup.step import Say, SetupStep
from validators.runtimes.availability import installed
from validators.web.page_session import PACKAGES, PAGE

_FILES = ("package.json", "package-lock.json", "prune.mjs", ".npmrc")
_STAMP = PACKAGES / ".ready"
_NPM = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
_NPM_HINT = "Install Node 20 with npm (Debian: `apt-get install npm`), and run this again."


def _lock_digest() -> str:
    return sha256((PAGE / "package-lock.json").read_bytes() + (PAGE / "prune.mjs").read_bytes()).hexdigest()


def _ready() -> bool:
    return _STAMP.is_file() and _STAMP.read_text("utf-8").strip() == _lock_digest()


def _install(say: Say) -> None:
    """Installs exactly what the lock names.

    Raises:
        Broken: there is no npm, or it failed.
        OSError: the folder cannot be written.
    """
    npm, node = program("npm"), program("node")
    if npm is None or node is None:
        raise Broken("npm is not installed, and the browser packages come from its registry", next_step=_NPM_HINT)
    say(f"browser packages, into {PACKAGES} (a few seconds)")
    folder = PACKAGES.parent
    if folder != PAGE:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FILES:
            shutil.copyfile(PAGE / name, folder / name)
    call([npm, "ci", *_NPM], cwd=folder, next_step="Node 20 or newer is needed; npm has to reach its registry.")
    call([node, "prune.mjs"], cwd=folder)
    _STAMP.write_text(_lock_digest(), "utf-8")


STEP = SetupStep(
    name="browser packages",
    needed=lambda: bool(installed("websockets")),
    ready=_ready,
    install=_install,
)
