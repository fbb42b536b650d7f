"""Records where a cell runs: the device asked for, and the place that the runtime reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Device = Literal["cpu", "gpu"]


Gpu = Literal["any", "hardware", "off"]
"""Devices that count as a GPU: any adapter, only a real card, or none, so that no GPU cell runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Records the place where a cell really ran, as the runtime itself reports it.

    Attributes:
        device: `cpu` or `gpu`.
        runtime: name and version, e.g. `onnxruntime 1.31.1`.
        adapter: the execution provider, delegate, backend or card, e.g. `XNNPACK`, `wasm (SIMD, 2 threads)`,
            `WebGPU (SwiftShader Device)`.
        software: whether the adapter is a program that imitates a card (SwiftShader, llvmpipe).
        fallbacks: operators that the CPU ran although a GPU was asked for -> how many of each.
        threads: how many the runtime computes with on the processor; None where it chooses and does not say.
        details: further settings that matter for the numbers, as text.
    """

    device: Device
    runtime: str
    adapter: str
    software: bool = False
    fallbacks: Mapping[str, int] = field(default_factory=dict)
    threads: int | None = None
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """Names the adapter for a person: `CPUExecutionProvider`, `software WebGPU (SwiftShader Device)`."""
        return f"software {self.adapter}" if self.software else self.adapter


TEXTURE_PRECISION = "texture precision"
"""Key of `Placement.details` under which a WebGL runtime says `float32` or `half`."""
