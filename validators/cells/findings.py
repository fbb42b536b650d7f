"""Finds what a user should know about a cell although it does not decide parity, each with its way out.

In: a row of the registry and the place where its cell ran. Out: findings for the report. A runtime that could not run
the artifact at all is not a finding: that cell is `limited`, with a row of `exporters.target_limits`.
"""

from collections.abc import Iterator

from exporters.contract import Finding
from validators.contract import TEXTURE_PRECISION, Placement
from validators.runtimes.row import RuntimeRow
from validators.text import operators

PARTIAL = "partial acceleration"
HALF_TEXTURES = "half-precision textures"


def findings(row: RuntimeRow, placement: Placement) -> tuple[Finding, ...]:
    """Returns the findings of one cell that ran."""
    return tuple(_findings(row, placement))


def _findings(row: RuntimeRow, placement: Placement) -> Iterator[Finding]:
    # A cell that asked for a GPU and ran on the CPU fails (`wrong device`); this is about some of the operators.
    if row.device == placement.device == "gpu" and placement.fallbacks:
        yield Finding(
            code=PARTIAL,
            blocking=False,
            message=f"the CPU ran {operators(placement.fallbacks)} of this artifact",
            way_out="The numbers hold. For speed, replace these operators, or ship the format whose runtime has them.",
        )
    if placement.details.get(TEXTURE_PRECISION) == "half":
        yield Finding(
            code=HALF_TEXTURES,
            blocking=False,
            message="this WebGL keeps tensors in 16-bit textures: it cannot render to 32-bit ones",
            way_out="Use webgpu or wasm there: every device without EXT_color_buffer_float does the same.",
        )
