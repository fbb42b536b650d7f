"""Tells how this paritygate was installed, where it may keep files, and the commands that complete the installation.

Every hint that names a command calls this module. In a checkout `make setup` installs everything. Elsewhere pip (or uv,
or pipx) installs packages, and `paritygate setup` installs the rest.
"""

import os
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]

SETUP = "paritygate setup"


def checkout() -> Path | None:
    """Returns the root of the repository that this code lies in; None when it was installed from a wheel."""
    return _ROOT if (_ROOT / "pyproject.toml").is_file() else None


def data_folder() -> Path:
    """Returns the user's folder for what `paritygate setup` downloads; it need not exist yet."""
    return Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "paritygate"


def state_folder() -> Path:
    """Returns the folder for databases, logs and pids; it need not exist yet."""
    if root := checkout():
        return root / ".paritygate"
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "paritygate"


def install_command(extra: str) -> str:
    """Returns the command that adds one of paritygate's extras to this environment.

    `make setup` cannot install `ort-cuda`, which replaces `ort` in the same environment.
    """
    if checkout() and extra != "ort-cuda":
        return "make setup"
    # uv and pipx keep a tool in its own environment, marked by a file, and always install it as a whole: another extra
    # replaces the installed ones, so the command names all of them.
    extras = extra if extra == "ort-cuda" else "all"
    if Path(sys.prefix, "uv-receipt.toml").is_file():
        return f"uv tool install 'paritygate[{extras}]'"
    if Path(sys.prefix, "pipx_metadata.json").is_file():
        return f"pipx install --force 'paritygate[{extras}]'"
    return f"pip install 'paritygate[{extra}]'"


def setup_command() -> str:
    """Returns the command that installs what pip cannot: browser packages, the TF.js converter, Prefect's database."""
    return "make setup" if checkout() else SETUP
