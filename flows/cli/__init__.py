"""The command line: one module for each command of `paritygate`, which registers itself when it is imported.

A command's heavy imports happen inside it, so that `--help` answers at once.
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
