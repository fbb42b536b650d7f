"""Asks each interface of this machine which GPUs the runtimes find; nothing is guessed from files.

Drivers crash, so both functions are jobs of the isolated worker.
"""

from dataclasses import dataclass

from exporters.errors import Broken, Unavailable
from validators.hardware import vulkan
from validators.web.gpu_adapters import adapter_name, is_software
from validators.web.page_session import PAGE, open_session


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuAdapter:
    """Records one adapter that an interface of this machine has, or the reason why it has none.

    Attributes:
        interface: `Vulkan`, `WebGL`, `WebGPU`.
        name: as the driver calls it; None where there is none.
        software: whether it is a program that imitates a card.
        problem: why there is none; None where there is one.
    """

    interface: str
    name: str | None = None
    software: bool = False
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRequest:
    """Names the interfaces to ask: `endpoint` is the shared browser's DevTools address; None means the native ones."""

    endpoint: str | None = None


def probe_native(request: ProbeRequest) -> tuple[GpuAdapter, ...]:
    """Returns what Vulkan's loader finds, as LiteRT's WebGPU accelerator will see it."""
    del request  # every job takes one
    try:
        with vulkan.best_driver():
            found = vulkan.adapters()
    except (Unavailable, Broken) as error:
        return (GpuAdapter(interface="Vulkan", problem=f"{error.message}: {error.next_step}"),)
    return tuple(GpuAdapter(interface="Vulkan", name=each.name, software=each.software) for each in found)


def probe_browser(request: ProbeRequest) -> tuple[GpuAdapter, ...]:
    """Returns what a page in Chromium is given for WebGL and WebGPU."""
    if request.endpoint is None:
        raise Broken("a page needs a browser, and the request names none")
    with open_session(request.endpoint, "probe", PAGE) as session:
        facts = session.load({})
    return tuple(
        GpuAdapter(interface=name, name=adapter_name(info), software=is_software(info))
        if info
        else GpuAdapter(interface=name, problem="Chromium gives its pages none")
        for name, info in facts.items()
        if name != "seconds"  # every page module also reports the time that it took
    )
