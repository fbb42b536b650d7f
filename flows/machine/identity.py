"""Describes this machine for attestations, manifests and the doctor.

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
    """Describes this machine, with the adapters and runtimes that the cells used on it."""
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
    """Returns operating system, machine and Python in one line."""
    return f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"


def today() -> date:
    """Returns today's date in UTC, by which waivers expire."""
    return datetime.now(UTC).date()


def processor() -> str:
    """Returns the processor's name as the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
