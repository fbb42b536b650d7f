"""The command line: `paritygate release | sweep | verify | gate | approve | waive | submit | inspect | doctor`.

One module for each command, which registers itself when it is imported; a command's heavy imports happen inside it, so
that `--help` answers at once.
"""

from flows.cli import approve, doctor, gate, inspect, release, submit, sweep, verify, waive
from flows.cli.app import app, main

__all__ = ["app", "approve", "doctor", "gate", "inspect", "main", "release", "submit", "sweep", "verify", "waive"]
