"""Finds the Vulkan adapters of this machine, and gives a native runtime the best one.

In: nothing but the machine. Out: the adapters by name, and a process in which Vulkan's loader finds the best of them:
a card with its driver where there is one, else SwiftShader, the software GPU in Chromium's package. Chromium also
contains the loader, for machines without the system's.

Vulkan's structures and functions: https://registry.khronos.org/vulkan/specs/latest/html/vkspec.html
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from exporters.errors import Broken, Unavailable
from validators.hardware.chromium import CHROMIUM_HINT, find_chromium
from validators.hardware.graphics_cards import imitated

LOADER = "libvulkan.so.1"
SOFTWARE_DRIVER = "vk_swiftshader_icd.json"
DRIVER_VARIABLES = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
"""The variables that name the drivers' manifests to the loader; the second is the older name, which it still reads."""
WAY = (
    "For a software GPU, "
    f"{CHROMIUM_HINT}. For a card, install its Vulkan driver and the loader (Debian: `apt-get install libvulkan1`; "
    "NVIDIA containers: NVIDIA_DRIVER_CAPABILITIES=all)."
)

_SUCCESS, _INCOMPATIBLE_DRIVER = 0, -9
_INSTANCE_CREATE_INFO = 1
_KINDS = ("Other", "Integrated GPU", "Discrete GPU", "Virtual GPU", "CPU")  # VkPhysicalDeviceType, by its values
_PROPERTIES_BYTES = 4096  # VkPhysicalDeviceProperties takes 824


@dataclass(frozen=True, slots=True, kw_only=True)
class VulkanAdapter:
    """One adapter.

    Attributes:
        name: as its driver reports it.
        software: whether it is a program that imitates a card.
    """

    name: str
    software: bool


class _InstanceCreateInfo(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int32),
        ("next", ctypes.c_void_p),
        ("flags", ctypes.c_uint32),
        ("application", ctypes.c_void_p),
        ("layer_count", ctypes.c_uint32),
        ("layers", ctypes.c_void_p),
        ("extension_count", ctypes.c_uint32),
        ("extensions", ctypes.c_void_p),
    )


class _Properties(ctypes.Structure):
    """The first fields of VkPhysicalDeviceProperties."""

    _fields_ = (
        ("api_version", ctypes.c_uint32),
        ("driver_version", ctypes.c_uint32),
        ("vendor", ctypes.c_uint32),
        ("device", ctypes.c_uint32),
        ("type", ctypes.c_int32),
        ("name", ctypes.c_char * 256),
        ("rest", ctypes.c_char * _PROPERTIES_BYTES),
    )


def software_driver() -> Path | None:
    """Returns the manifest of the SwiftShader in the package of this machine's Chromium; None without one."""
    return _in_chromium_package(SOFTWARE_DRIVER)


def adapters() -> tuple[VulkanAdapter, ...]:
    """Returns the adapters that Vulkan's loader finds in the current environment.

    Raises:
        Unavailable: there is no loader.
        Broken: the loader fails for another reason than that no driver is installed.
    """
    vulkan = _loader()
    instance = ctypes.c_void_p()
    wanted = _InstanceCreateInfo(type=_INSTANCE_CREATE_INFO)
    result = vulkan.vkCreateInstance(ctypes.byref(wanted), None, ctypes.byref(instance))
    if result == _INCOMPATIBLE_DRIVER:  # the loader returns it where there is no driver at all
        return ()
    if result != _SUCCESS:
        raise Broken(f"Vulkan's loader gives no instance: vkCreateInstance returned {result}", next_step=WAY)
    try:
        count = ctypes.c_uint32()
        vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), None)
        devices = (ctypes.c_void_p * count.value)()
        vulkan.vkEnumeratePhysicalDevices(instance, ctypes.byref(count), devices)
        return tuple(_described(vulkan, device) for device in devices[: count.value])
    finally:
        vulkan.vkDestroyInstance(instance, None)


@contextmanager
def best_driver() -> Iterator[None]:
    """Sets up an environment in which Vulkan finds a card, or SwiftShader on a machine without one, while active.

    Drivers that the user named in the loader's own variables are not changed.

    Raises:
        Unavailable: there is no loader, or no driver.
    """
    _loader()
    if any(os.environ.get(variable) for variable in DRIVER_VARIABLES):
        yield
        return
    found = adapters()
    driver = software_driver()
    if driver and all(adapter.software for adapter in found):
        # Also where the system has its own software adapter: Mesa's lacks features that Dawn, LiteRT's WebGPU, needs.
        with mock.patch.dict(os.environ, dict.fromkeys(DRIVER_VARIABLES, str(driver))):
            yield
        return
    if not found:
        raise Unavailable(
            "Vulkan finds neither a card with its driver nor a software GPU on this machine", next_step=WAY
        )
    yield


def _loader() -> ctypes.CDLL:
    """Loads the system's loader, else Chromium's; later requests for it by name in this process get the same one."""
    try:
        return ctypes.CDLL(LOADER)
    except OSError:
        bundled = _in_chromium_package(LOADER)
        if bundled is None:
            raise Unavailable(f"Vulkan's loader, {LOADER}, is not on this machine", next_step=WAY) from None
        return ctypes.CDLL(str(bundled))


def _in_chromium_package(name: str) -> Path | None:
    """Finds a file of Chromium's package: next to its executable, or in `lib` where that is a script in `bin`."""
    chromium = find_chromium()
    if chromium is None:
        return None
    program = chromium.resolve()
    folders = (program.parent, program.parent.parent / "lib" / program.name)
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def _described(vulkan: ctypes.CDLL, device: int | None) -> VulkanAdapter:
    properties = _Properties()
    vulkan.vkGetPhysicalDeviceProperties(ctypes.c_void_p(device), ctypes.byref(properties))
    name, kind = properties.name.decode(errors="replace"), dict(enumerate(_KINDS)).get(properties.type, "")
    return VulkanAdapter(name=name, software=imitated(kind=kind, name=name))
