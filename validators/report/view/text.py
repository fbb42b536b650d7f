"""Defines what a report's table holds, and how limits, pairs and durations are written.

Names can come from a model that is not trusted; each report escapes them in its own form.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from validators.contract import Tolerance
from validators.report.view.matrix import Shown, mark
from validators.text import counted, number, size


class Name(str):
    """Marks a name of a cell, a file or a part of a model: reports show it as code."""

    __slots__ = ()


class Digest(Name):
    """Marks a SHA-256 in hex; a report without room for it shows the first twelve digits."""

    __slots__ = ()


class Outcome(NamedTuple):
    """Holds a status, which gives the colour, and a short text of ours: `✓ good`."""

    status: Shown
    text: str


Entry = str | int | Outcome | tuple[Name, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Holds a table: a (name, kind) for each column, kind being empty, `number`, `keep` or `wide`; and its rows."""

    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[Entry, ...], ...]


FILTERS: Mapping[str, Callable[..., object]] = {"counted": counted, "mark": mark, "number": number, "size": size}
"""Writes numbers in every template."""


def quoted(names: Iterable[str]) -> str:
    """Lists names for a sentence, between backticks, which every report turns into code."""
    return ", ".join(f"`{name}`" for name in names)


def limit(tolerance: Tolerance | None) -> str:
    """Writes the absolute and the relative part of a tolerance."""
    return f"{number(tolerance.atol)} + {number(tolerance.rtol)}" if tolerance else "exact"


def pairs(values: Mapping[str, object] | None) -> str:
    """Writes `name = value` for each entry, sorted by name."""
    return ", ".join(f"{name} = {value}" for name, value in sorted((values or {}).items()))


def duration(seconds: float) -> str:
    """Writes a duration in the unit that suits it: `31 µs`, `4.2 ms`, `1.3 s`."""
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 1000:  # noqa: PLR2004 - the next unit
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"
