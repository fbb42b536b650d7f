"""Chooses the GPU that a browser gets, and reads which one it got.

In: this machine's device nodes, and later what a page read back from WebGPU or WebGL. Out: Chromium's flags; and for a
placement the adapter's name and whether it is a program that imitates a card.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from exporters.errors import Broken, Unavailable
from validators.hardware.graphics_cards import imitated

NO_GPU = "Chromium gives its pages no GPU here"
"""Beginning of the message of `raise_if_absent`."""

_ABSENT = re.compile(r"no (?:WebGPU adapter|WebGL2 context)")
_NEXT_STEP = (
    "Run on a machine with a GPU and its Vulkan driver, or with a Chromium that contains SwiftShader "
    "(`paritygate doctor` names the one in use)"
)


def gpu_flags(cards: Sequence[Path]) -> list[str]:
    """Returns Chromium's flags for WebGL and WebGPU, headless: on the card through Vulkan, else on SwiftShader.

    Args:
        cards: what `validators.hardware.graphics_cards.device_nodes` found.
    """
    card = ["--use-angle=vulkan", "--disable-vulkan-surface", "--ignore-gpu-blocklist"]
    # All three on the same SwiftShader: otherwise a page that draws a WebGPU canvas kills the GPU process, and TF.js
    # draws one wherever it reads a tensor back at once.
    imitated = [
        *("--use-angle=swiftshader", "--use-vulkan=swiftshader", "--use-webgpu-adapter=swiftshader"),
        # WGSL promises zeros in workgroup memory. As a Vulkan extension SwiftShader keeps that promise by a store for
        # each element, and one tiled matrix product compiled for three seconds; without it, Dawn writes a loop.
        "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
    ]
    return [
        # WebGPU counts as unsafe on Linux, and so does SwiftShader, which replaces a card without a driver.
        "--enable-unsafe-webgpu",
        "--enable-unsafe-swiftshader",
        "--enable-features=Vulkan",
        # Without it an adapter reports only its vendor.
        "--enable-webgpu-developer-features",
        *(card if cards else imitated),
        # The pages are not shown: painted on SwiftShader, two empty ones took up to a second of CPU time. Not
        # `--disable-gpu-compositing`: with that, TF.js on WebGPU reads zeros wherever it reads a tensor back at once.
        "--disable-gpu-rasterization",
        # A cell that kills the GPU process must not take the GPU of the next ones away: by default, an address whose
        # page lost its context gets no other one, and after a few crashes no page gets any.
        "--disable-domain-blocking-for-3d-apis",
        "--disable-gpu-process-crash-limit",
    ]


def adapter_name(info: Mapping[str, Any]) -> str:
    """Returns the adapter's description of itself, else its vendor and architecture.

    Args:
        info: as `described` in `page/webgpu.mjs` returns it: texts, empty where the browser hides them.
    """
    words = info["description"] or f"{info['vendor']} {info['architecture']} {info['device']}"
    return " ".join(str(words).split()) or "unnamed adapter"


def is_software(info: Mapping[str, Any]) -> bool:
    """Tells whether an adapter is a program that imitates a card.

    Args:
        info: as for `adapter_name`; `fallback` is `GPUAdapterInfo.isFallbackAdapter`.
    """
    words = " ".join(str(info[key]) for key in ("vendor", "architecture", "device", "description"))
    return imitated(kind="CPU" if info["fallback"] else "", name=words)


def adapter_details(info: Mapping[str, Any]) -> dict[str, str]:
    """Returns what an adapter reports of itself, for `Placement.details`; empty values are left out."""
    return {f"adapter {key}": "yes" if value is True else str(value) for key, value in info.items() if value}


def raise_if_absent(error: Broken) -> None:
    """Turns a page's error that it has no GPU into `Unavailable`; other errors pass.

    Args:
        error: what the page threw.

    Raises:
        Unavailable: Chromium gives its pages no such GPU on this machine.
    """
    if _ABSENT.search(error.message):
        raise Unavailable(f"{NO_GPU}: {error.message}", next_step=_NEXT_STEP) from error
