"""Defines the row of a runtime on one device; `validators.runtimes.registry` lists them all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from validators.contract import Device, Requirement, Runtime
from validators.preloads import LIGHT

Accelerator = Literal["processor", "browser", "vulkan", "cuda"]
"""The driver that a row's device needs: none, the adapter that Chromium chooses, Vulkan's loader, NVIDIA's CUDA."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRow:
    """Describes one runtime on one device.

    Attributes:
        name: the runtime's name everywhere.
        format: the artifacts it runs.
        device: where it is asked to run.
        module: the runtime, a `validators.contract.Runtime`.
        options: settings for `load` that distinguish this row from others of the module.
        settings: the settings that a diagnosis changes, one at a time: the setting in words -> options that change it.
        computes: types the runtime lacks -> the type it computes in instead, whose tolerance then holds. The runtime
            gives the declared type back, so only the tolerance changes.
        adapter: the prefix that the placement's adapter must have; empty where any is accepted.
        required: whether the default policy demands this row.
        on_request: whether this row runs only where the policy or `--runtimes` names it: an additional check that would
            slow down every release where its package is installed.
        tf32: whether products are allowed to round to TF32; such a row runs only when the policy asks for it.
        accelerator: the driver of the device, see `Accelerator`.
        fork_server: name of the fork server that runs its cells, see `validators.preloads`; None for a fresh
            interpreter (a process that touches CUDA must not be a fork).
        npm: the browser packages that the cell's page loads; not empty means that it needs the shared Chromium. The
            first one's version is the runtime's.
        package: import name of the package that contains the runtime.
        distribution: the same package's name on the index, whose version is recorded.
        extra: paritygate's extra that installs it.
        shown: its name in the matrix of the README.
    """

    name: str
    format: str
    device: Device
    module: Runtime
    options: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    computes: Mapping[str, str] = field(default_factory=dict)
    adapter: str = ""
    required: bool = True
    on_request: bool = False
    tf32: bool = False
    accelerator: Accelerator = "processor"
    fork_server: str | None = LIGHT
    npm: tuple[str, ...] = ()
    package: str
    distribution: str
    extra: str
    shown: str

    @property
    def browser(self) -> bool:
        """Tells whether the cell needs the shared Chromium."""
        return bool(self.npm)

    @property
    def requirement(self) -> Requirement:
        """Returns the requirement by which a policy demands this row."""
        return Requirement(format=self.format, runtime=self.name, device=self.device)
