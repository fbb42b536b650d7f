"""Runs another program of the set-up and turns its failure into a sentence."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from exporters.errors import Broken

_LAST_LINES = 5


def program(name: str) -> str | None:
    """Finds a program: first next to this environment's Python, where pip puts programs, then on PATH."""
    return shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)


def call(
    command: Sequence[str], *, cwd: Path, environment: Mapping[str, str] | None = None, next_step: str = ""
) -> None:
    """Runs a program to its end, without its output.

    Args:
        command: the program and its arguments.
        cwd: where it runs.
        environment: variables to add to this process's.
        next_step: the way out, for the error.

    Raises:
        Broken: it failed; the error carries the last lines that it wrote.
    """
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        words = "\n".join(done.stdout.strip().splitlines()[-_LAST_LINES:])
        raise Broken(f"`{' '.join(command)}` failed with exit code {done.returncode}:\n{words}", next_step=next_step)
