"""Draws the distances of a release as one SVG, for pages that cannot run scripts: Prefect shows it with the verdict."""

import base64
import math
from collections.abc import Callable
from dataclasses import dataclass

from validators.release.manifest import Manifest
from validators.report.html.page import templates
from validators.report.view import view
from validators.report.view.matrix import mark
from validators.report.view.release import MatrixRow
from validators.text import number

_WIDTH, _LEFT, _RIGHT = 960, 330, 860
_TOP, _STEP, _BOTTOM = 80, 22, 44
_ZERO = 12  # pixels left of the scale, the place of what is exactly equal
_MOST_TICKS = 8
_TONES = {"RELEASED": "#116329", "REFUSED": "#a40e26", "BROKEN": "#6639ba", "AWAITING": "#7d4e00"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    label: str
    distance: str
    passed: bool
    y: int
    x: float
    band: tuple[float, float] | None


def svg(manifest: Manifest) -> str:
    """Draws a row for every cell that was compared."""
    shown = view(manifest)
    rows = [row for row in shown.matrix if row.line.max_abs is not None]
    low, high = _decades(rows)

    def place(value: float) -> float:
        if value <= 0:
            return _LEFT - _ZERO
        return round(_LEFT + (math.log10(value) - low) / (high - low) * (_RIGHT - _LEFT), 1)

    step = -(-(high - low) // _MOST_TICKS)
    return (
        templates()
        .get_template("distances.svg.j2")
        .render(
            title=f"{shown.headline} {manifest.model.name}",
            tone=_TONES[shown.headline],
            width=_WIDTH,
            height=_TOP + _STEP * len(rows) + _BOTTOM,
            left=_LEFT,
            ticks=[(place(10.0**exponent), f"1e{exponent:+03d}") for exponent in range(low, high + 1, step)],
            rows=[
                _Row(
                    label=f"{mark(row.line.status)} {row.line.label}",
                    distance=number(row.line.max_abs),
                    passed=row.line.status == "passed",
                    y=_TOP + _STEP * index,
                    x=place(row.line.max_abs or 0.0),
                    band=_band(row, place(10.0**low), place),
                )
                for index, row in enumerate(rows)
            ],
        )
    )


def address(manifest: Manifest) -> str:
    """Gives the chart as a `data:` address."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg(manifest).encode()).decode()}"


def _values(row: MatrixRow) -> list[float]:
    closest = row.closest
    values = [row.line.max_abs, closest and closest.noise, closest and closest.tolerance and closest.tolerance.atol]
    return [value for value in values if value]


def _decades(rows: list[MatrixRow]) -> tuple[int, int]:
    """Gives the exponents of the scale's ends: whole decades around everything shown."""
    values = [math.log10(value) for row in rows for value in _values(row)] or [-7.0]
    low = math.floor(min(values))
    return low, max(math.ceil(max(values)), low + 1)


def _band(row: MatrixRow, edge: float, place: Callable[[float], float]) -> tuple[float, float] | None:
    closest = row.closest
    if closest is None or closest.tolerance is None or not closest.tolerance.atol:
        return None
    return place(closest.noise) if closest.noise else edge, place(closest.tolerance.atol)
