"""Finds the Chromium of this machine, whose pages run the web artifacts and whose package contains a software GPU."""

import itertools
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from exporters.errors import BadInput
from validators.hardware.graphics_cards import device_nodes

CHROMIUM_VARIABLE = "PARITYGATE_CHROMIUM"


CHROMIUM_HINT = (
    "install Chromium (Debian: `apt-get install chromium-headless-shell`; or `playwright install chromium`), "
    f"or name an installed one in {CHROMIUM_VARIABLE}"
)


_SHELLS = ("/usr/lib/chromium/chromium-headless-shell", "chrome-headless-shell")
"""Chromium without windows. A page costs 0.1 s of CPU in addition to its computation, one in a hidden window 0.6 s.
Debian's is named by its program: on PATH is a script that waits for it, and a signal would end only the script."""


_BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


_PLAYWRIGHT_SHELL = "chromium_headless_shell-*/chrome-*/*headless*shell"


_PLAYWRIGHT_BROWSER = "chromium-*/chrome-linux*/chrome"


def find_chromium() -> Path | None:
    """Finds a Chromium: the one PARITYGATE_CHROMIUM names, else one on PATH, else Playwright's download.

    Of several, one without windows (`_SHELLS`) where pages get a software GPU, one with windows where there is a card,
    since cards have been tested with that one.

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
