"""Asks each interface of this machine which GPUs the runtimes find; nothing is guessed from files.

In: nothing, or the shared browser's address. Out: adapters by interface. Drivers crash, so both functions are jobs of
the isolated worker.
"""

from collections.abc import Mapping
from typing import Any

from exporters.errors import Broken, Unavailable
from validators.hardware import vulkan
from validators.web.gpu_adapters import adapter_name, is_software
from validators.web.page_session import PAGE, open_session


def native(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lists the adapters that Vulkan's loader finds, as LiteRT's WebGPU accelerator will see them.

    Returns:
        `interface`, `name`, `software` of each adapter; `problem` says why there is none.
    """
    del request
    try:
        with vulkan.best_driver():
            found = vulkan.adapters()
    except (Unavailable, Broken) as error:
        return [_absent("Vulkan", f"{error.message}: {error.next_step}")]
    return [{"interface": "Vulkan", "name": a.name, "software": a.software, "problem": ""} for a in found]


def browser(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Lists the adapters that a page in Chromium gets for WebGL and WebGPU.

    Args:
        request: `endpoint`, the browser's DevTools address.

    Returns:
        As `native`.
    """
    with open_session(request["endpoint"], "probe", PAGE) as session:
        adapters = session.load({})
    return [
        {"interface": name, "name": adapter_name(info), "software": is_software(info), "problem": ""}
        if info
        else _absent(name, "Chromium gives its pages none")
        for name, info in adapters.items()
        if name != "seconds"  # the page's own time, which every module reports
    ]


def _absent(interface: str, problem: str) -> dict[str, Any]:
    return {"interface": interface, "name": "", "software": False, "problem": problem}
