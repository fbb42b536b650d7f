"""Tells for every row of the registry whether this machine can run it, or what is missing and how to get it.

In: a row. Out: an empty string, or one sentence that ends in a command. Nothing heavy is imported: packages, drivers
and libraries are looked up, not loaded.
"""

import os
from collections.abc import Callable, Mapping
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path

from exporters.installation import install_command
from exporters.toolchain import versions
from validators.contract import Gpu
from validators.hardware.graphics_cards import VISIBLE, cards, has_hardware, installed_cards
from validators.runtimes.row import Accelerator, RuntimeRow
from validators.text import counted

ELSEWHERE = "on a machine that has one, `paritygate verify RELEASE_DIR --device gpu --attest` adds these cells"

_CUDNN = ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")
"""The wheels that contain cuDNN and require the rest of CUDA that a runtime loads."""


def remedy(extra: str) -> str:
    """Returns the command that brings one of paritygate's extras."""
    return install_command(extra)


def installed(distribution: str) -> str:
    """Returns the version of a package as installed; empty when it is not."""
    return versions([distribution]).get(distribution, "")


def missing(row: RuntimeRow, *, gpu: Gpu = "any") -> str:
    """Returns the reason why this machine cannot run the row, with the remedy; empty when it can.

    Args:
        row: of the registry.
        gpu: the policy's rule for adapters: under `hardware` a program that imitates a card does not count.
    """
    if row.device == "gpu" and gpu == "hardware" and not has_hardware():
        return f"policy.gpu asks for a real card and this machine has only software adapters: {ELSEWHERE}"
    if row.accelerator == "cuda" and not cards():
        return no_card()
    if find_spec(row.package) is None:
        return f"the package {row.distribution} is not installed: {remedy(row.extra)}"
    lacks = _LACKING.get(row.accelerator)
    if lacks and (lacking := lacks(row)):
        return lacking
    return _browser_missing(row) if row.browser else ""


def no_card() -> str:
    """Returns the reason why CUDA finds no card here, with the remedy."""
    if hidden := installed_cards():
        return (
            f"{VISIBLE}={os.environ.get(VISIBLE)} hides the {counted(len(hidden), 'NVIDIA card')} of this machine: "
            f"unset it, or name one, e.g. {VISIBLE}={hidden[0].uuid}"
        )
    return f"this machine has no NVIDIA card, or no driver for it: {ELSEWHERE}"


def _cuda_missing(row: RuntimeRow) -> str:
    """Returns the reason why the installed package cannot use CUDA; builds with and without it have one import name."""
    return _ort_cuda_missing(row) if row.package == "onnxruntime" else _tensorflow_cuda_missing()


def _ort_cuda_missing(row: RuntimeRow) -> str:
    if not _ort_has_cuda():
        return (
            "the installed onnxruntime was built without CUDA, and both builds cannot be side by side: "
            f"pip uninstall --yes onnxruntime onnxruntime-gpu, then {remedy(row.extra)}"
        )
    return "" if _has_cudnn() else f"ONNX Runtime's CUDA libraries are not installed: {remedy(row.extra)}"


def _tensorflow_cuda_missing() -> str:
    wanted = f"pip install 'tensorflow[and-cuda]=={installed('tensorflow') or '2.21.*'}'"
    if installed("tensorflow-cpu"):
        return f"tensorflow-cpu is built without CUDA: pip uninstall --yes tensorflow-cpu, then {wanted}"
    # cuDNN for CUDA 12 and for CUDA 13 are two wheels with the same files.
    problem = "TensorFlow's CUDA libraries are not installed; in an environment without paritygate[ort-cuda]"
    return "" if _has_cudnn() else f"{problem}: {wanted}"


_LACKING: Mapping[Accelerator, Callable[[RuntimeRow], str]] = {"cuda": _cuda_missing}
"""For each accelerator that needs more than its package: finds what is missing."""


def _ort_has_cuda() -> bool:
    spec = find_spec("onnxruntime")
    folders = (spec.submodule_search_locations or ()) if spec else ()
    return any(list(Path(folder, "capi").glob("*onnxruntime_providers_cuda.*")) for folder in folders)


def _has_cudnn() -> bool:
    """Tells whether cuDNN is installed, as a wheel or where the loader looks."""
    folders = filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep))
    return (
        any(map(installed, _CUDNN))
        or any(list(Path(folder).glob("libcudnn.so*")) for folder in folders)
        or find_library("cudnn") is not None
    )


def _browser_missing(row: RuntimeRow) -> str:
    from validators.hardware.chromium import CHROMIUM_HINT, find_chromium
    from validators.web.page_session import PACKAGES_HINT, package_version

    if find_chromium() is None:
        return f"there is no Chromium: {CHROMIUM_HINT}"
    if lacking := [package for package in row.npm if package_version(package) is None]:
        return f"the browser packages {', '.join(lacking)} are not installed: {PACKAGES_HINT}"
    return ""
