"""This machine, as an attestation, a manifest and the doctor name it.

In: the operating system's own records, and the cells that ran. Out: a `Machine`. Nothing heavy is imported.
"""

import platform
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

from validators.contract import Cell
from validators.hardware.graphics_cards import cards
from validators.release.attestations import Machine


def describe(cells: Iterable[Cell]) -> Machine:
    """This machine, with what the cells say of where they ran on it."""
    placements = [cell.placement for cell in cells if cell.placement]
    return Machine(
        host=platform.node() or "unnamed",
        platform=system(),
        processor=processor(),
        cards=tuple(f"{card.name}, driver {card.driver or 'unknown'}" for card in cards()),
        adapters=tuple(sorted({place.where for place in placements})),
        runtimes=tuple(sorted({place.runtime for place in placements})),
    )


def system() -> str:
    """Operating system, machine and Python, in one line."""
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


def today() -> date:
    """The day on which a waiver is in force or not, UTC."""
    return datetime.now(UTC).date()


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
