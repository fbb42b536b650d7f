"""What a cell brings to light that does not decide parity: named findings, each with its way out.

In: a row of the registry and where its cell ran. Out: findings for the report. A runtime that could not run the
artifact at all is no lint: that is `limited`, with a row of `exporters.limits`.
"""

from collections.abc import Iterator, Mapping

from exporters.contract import Finding
from validators.contract import Placement
from validators.registry import RuntimeRow

PARTIAL = "partial acceleration"
HALF_TEXTURES = "half-precision textures"
TEXTURE_PRECISION = "texture precision"
"""Key of `Placement.details` under which a WebGL runtime says `float32` or `half`."""


def findings(row: RuntimeRow, placement: Placement) -> tuple[Finding, ...]:
    """The findings of one cell that ran."""
    return tuple(_findings(row, placement))


def _findings(row: RuntimeRow, placement: Placement) -> Iterator[Finding]:
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


def operators(counts: Mapping[str, int]) -> str:
    """`2 Shape, 1 Gather`: the most frequent first."""
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{count} {name}" for name, count in ranked)
