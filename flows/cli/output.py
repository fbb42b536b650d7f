"""Prints results: records and bytes on stdout, text through a console.

In: results. Out: stdout carries the result, stderr the progress.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

    from flows.review.decisions import Decision


def console(*, stderr: bool = False) -> "Console":
    """Returns the console for the result, or for the progress when `stderr` is set."""
    from rich.console import Console

    return Console(stderr=stderr)


def print_record(record: Any) -> None:
    """Prints a record as JSON."""
    from pydantic import TypeAdapter

    print_bytes(TypeAdapter(type(record)).dump_json(record, indent=1) + b"\n")


def print_decision(decision: "Decision", *, as_json: bool) -> int:
    """Prints the gate's verdict after a person's decision, and on stderr where it is kept; returns the exit code."""
    from flows.review import gate

    if as_json:
        print_record(decision)
    else:
        gate.render(decision.report, console())
    note = f"kept in {decision.attestation}" if decision.attestation else f"not done: {decision.why_not}"
    console(stderr=True).print(safe(note), markup=False, soft_wrap=True)
    return decision.exit_code


def print_bytes(raw: bytes) -> None:
    """Prints bytes unchanged, after everything printed before."""
    sys.stdout.flush()
    sys.stdout.buffer.write(raw)
    sys.stdout.buffer.flush()


def safe(text: str) -> str:
    """Removes terminal control codes from text that comes from a model or another program."""
    from validators.text import printable

    return printable(text)
