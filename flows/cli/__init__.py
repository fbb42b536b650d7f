"""The command line: `paritygate release | sweep | verify | gate | submit | inspect | doctor`.

One module for each command, which registers itself when it is imported; a command's heavy imports happen inside it, so
that `--help` answers at once.
"""

from flows.cli import doctor, gate, inspect, release, submit, sweep, verify
from flows.cli.app import app, main

__all__ = ["app", "doctor", "gate", "inspect", "main", "release", "submit", "sweep", "verify"]
