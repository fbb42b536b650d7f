"""The command line: one module for each command of `paritygate`.

A command registers itself when its module is imported. Its heavy imports happen inside the function, so that `--help`
answers at once. `app` is the program, `options` holds flags that several commands share, `output` prints.
"""

from flows.cli import (
    approve,
    compare,
    diagnose,
    doctor,
    fleet,
    gate,
    inspect,
    release,
    server,
    setup,
    submit,
    sweep,
    verify,
    waive,
)
from flows.cli.app import app, main

__all__ = [
    "app",
    "approve",
    "compare",
    "diagnose",
    "doctor",
    "fleet",
    "gate",
    "inspect",
    "main",
    "release",
    "server",
    "setup",
    "submit",
    "sweep",
    "verify",
    "waive",
]
