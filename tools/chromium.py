"""Sees to it that a Chromium is there for the TF.js cells; `make setup` runs it.

Out: exit 0 when one is found, or was installed from the system's packages (root on Debian and its kin); else exit 1
and a line on stderr that says what to install.
"""

import os
import shutil
import subprocess
import sys

from exporters.errors import BadInput
from validators.hardware.chromium import CHROMIUM_HINT, find_chromium

APT = ("apt-get", "-q", "-y", "--no-install-recommends")
PACKAGES = ("chromium-headless-shell", "chromium")
"""Debian's, best first; not every relative of Debian has both."""


def say(text: str) -> None:
    """Writes a line of progress."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def install() -> None:
    """Installs Debian's package; shows apt's last lines where something fails (one broken source need not matter)."""
    say("Chromium, from the system's packages (65 MB, about a minute)")
    _apt("update")
    any(_apt("install", package) for package in PACKAGES)


def _apt(*action: str) -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run = subprocess.run(
        [*APT, *action], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if run.returncode:
        say(f"apt-get {' '.join(action)} failed:\n" + "\n".join(run.stdout.splitlines()[-5:]))
    return not run.returncode


def main() -> int:
    """Finds a Chromium, installs one if it may, else says how."""
    try:
        found = find_chromium()
        if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
            install()
            found = find_chromium()
    except BadInput as error:
        say(str(error))
        return 1
    if found is None:
        say(f"no Chromium or Chrome found, and TF.js artifacts are proven in one: {CHROMIUM_HINT}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
