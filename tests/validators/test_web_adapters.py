"""Which GPU a browser gets by what the machine has, and what is made of what it says it got."""

from pathlib import Path

import pytest

from exporters.errors import Broken, Unavailable
from validators.web import browser_process
from validators.web.gpu_adapters import (
    adapter_details,
    adapter_name,
    gpu_flags,
    is_software,
    raise_if_absent,
)

CARD = [Path("/dev/nvidia0")]


def info(**told):
    return {"vendor": "", "architecture": "", "device": "", "description": "", "fallback": False, **told}


def test_a_card_is_reached_through_vulkan_and_a_machine_without_one_gets_swiftshader():
    assert "--use-angle=vulkan" in gpu_flags(CARD)
    assert not any("=swiftshader" in flag for flag in gpu_flags(CARD))
    imitated = {"--use-angle=swiftshader", "--use-vulkan=swiftshader", "--use-webgpu-adapter=swiftshader"}
    assert imitated < set(gpu_flags([]))
    assert "--use-angle=vulkan" not in gpu_flags([])
    assert {"--enable-unsafe-webgpu", "--disable-gpu-process-crash-limit"} < set(gpu_flags([])) & set(gpu_flags(CARD))


@pytest.mark.parametrize("cards", [[], CARD])
def test_chromium_is_started_for_what_this_machine_has(tmp_path, monkeypatch, cards):
    monkeypatch.setattr(browser_process, "device_nodes", lambda: cards)
    assert set(gpu_flags(cards)) < set(browser_process.launch_flags(tmp_path))


@pytest.mark.parametrize(
    ("told", "name", "software"),
    [
        (info(vendor="nvidia", architecture="hopper", description="NVIDIA H200"), "NVIDIA H200", False),
        (info(vendor="nvidia", architecture="hopper"), "nvidia hopper", False),
        (info(vendor="google", architecture="swiftshader"), "google swiftshader", True),
        (info(description="llvmpipe (LLVM 15.0.6, 256 bits)"), "llvmpipe (LLVM 15.0.6, 256 bits)", True),
        (info(description="Microsoft Basic Render Driver"), "Microsoft Basic Render Driver", True),
        (info(fallback=True), "unnamed adapter", True),
    ],
)
def test_an_adapter_is_named_by_its_own_words_and_known_for_an_imitation(told, name, software):
    assert adapter_name(told) == name
    assert is_software(told) is software


def test_what_an_adapter_keeps_to_itself_is_left_out_of_the_details():
    told = info(vendor="google", fallback=True)
    assert adapter_details(told) == {"adapter vendor": "google", "adapter fallback": "yes"}


@pytest.mark.parametrize("message", ["no WebGPU adapter: requestAdapter gave null", "no WebGL2 context: ..."])
def test_a_page_without_a_gpu_makes_the_cell_unavailable_with_the_way_to_get_one(message):
    with pytest.raises(Unavailable, match=message) as caught:
        raise_if_absent(Broken(message))
    assert "SwiftShader" in caught.value.next_step
    raise_if_absent(Broken("Kernel 'Einsum' not registered for backend 'webgpu'"))
