"""Installs the TF.js converter without the packages that it demands and never uses here.

tensorflowjs 4.22 asks for decision forests (which pin TensorFlow 2.19), JAX, Flax, TensorFlow Hub and packaging 23, so
pip cannot resolve it with a current TensorFlow. The extra `export` leaves it out; this step adds the one wheel that
`converter.lock` names by its hash. `exporters.formats.tfjs_stubs` stands in for the missing packages at run time.
"""

import importlib.util
import re
import sys
from pathlib import Path

from exporters.errors import Broken
from flows.setup.command import call, program
from flows.setup.step import Say, SetupStep
from validators.runtimes.availability import installed

LOCK = Path(__file__).with_name("converter.lock")
_PACKAGE = "tensorflowjs"
_OPTIONS = ("--quiet", "--no-deps", "--require-hashes", "--only-binary", ":all:", "-r", str(LOCK))


def locked_version() -> str:
    """Returns the converter's version in the lock.

    Raises:
        ValueError: the lock does not name it.
    """
    pin = re.search(rf"^{_PACKAGE}==(\S+)", LOCK.read_text("utf-8"), re.MULTILINE)
    if pin is None:
        msg = f"{LOCK} pins no {_PACKAGE}"
        raise ValueError(msg)
    return pin[1]


def _installers() -> list[list[str]]:
    """Lists the commands that may install it: uv and pip may use different indexes, and uv's tools have no pip."""
    uv = program("uv")
    commands = [[uv, "pip", "install", "--python", sys.executable, *_OPTIONS]] if uv else []
    if importlib.util.find_spec("pip"):
        commands.append([sys.executable, "-P", "-m", "pip", "install", *_OPTIONS])
    return commands


def _install(say: Say) -> None:
    """Installs the locked wheel into this environment.

    Raises:
        Broken: there is neither uv nor pip, or none of them could.
    """
    say(f"the TF.js converter, {_PACKAGE} {locked_version()}")
    failures: list[Broken] = []
    for command in _installers():
        try:
            # Not in the user's working directory: uv reads a pyproject.toml there.
            call(command, cwd=Path(sys.prefix), next_step=f"{sys.prefix} has to be writable.")
        except Broken as error:
            failures.append(error)
        else:
            return
    if failures:
        raise failures[-1]
    raise Broken(
        f"neither uv nor pip is there to install {_PACKAGE} into {sys.prefix}",
        next_step="`python -m ensurepip` in that environment, or uv on the PATH.",
    )


STEP = SetupStep(
    name="TF.js converter",
    needed=lambda: bool(installed("tensorflow")),
    ready=lambda: installed(_PACKAGE) == locked_version(),
    install=_install,
)
