"""Installs Chromium for the browser cells: from the system's packages where this is root on Debian or a relative."""

import os
import shutil

from exporters.errors import Broken
from flows.setup.command import call
from flows.setup.step import Say, SetupStep
from validators.hardware.chromium import CHROMIUM_HINT, find_chromium
from validators.runtimes.availability import installed
from validators.web.page_session import PAGE

_APT = ("apt-get", "-q", "-y", "--no-install-recommends")
_PACKAGES = ("chromium-headless-shell", "chromium")
"""Debian's, best first; not every relative of Debian has both."""


def _ready() -> bool:
    """Raises BadInput where PARITYGATE_CHROMIUM names nothing that runs."""
    return find_chromium() is not None


def _install(say: Say) -> None:
    """Installs the first package that the system offers.

    Raises:
        Broken: this is not root, there is no apt-get, or it has no Chromium.
    """
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Broken("there is no Chromium, in which TF.js artifacts are run", next_step=CHROMIUM_HINT)
    say("Chromium, from the system's packages (65 MB, about a minute)")
    for action in (("update",), *(("install", package) for package in _PACKAGES)):
        try:
            call([*_APT, *action], cwd=PAGE, environment={"DEBIAN_FRONTEND": "noninteractive"})
        except Broken as error:  # one broken package source may not matter, and the next package may work
            say(error.message)
        if find_chromium() is not None:
            return
    raise Broken("the system's packages have no Chromium", next_step=CHROMIUM_HINT)


STEP = SetupStep(
    name="Chromium",
    needed=lambda: bool(installed("websockets")),
    ready=_ready,
    install=_install,
)
