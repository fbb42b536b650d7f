"""Defines what a runtime provides: a module that loads an artifact, and a loaded artifact that infers."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from exporters.contract import Signature
from validators.contract.placement import Device, Placement

Tensors = Mapping[str, np.ndarray]
"""Canonical name -> array."""


class LoadedArtifact(Protocol):
    """Infers with a loaded artifact. Tensors go in and out under canonical names."""

    @property
    def placement(self) -> Placement:
        """Returns the place where inference ran, as the runtime reports it after a call, never the request's."""
        ...

    def infer(self, inputs: Tensors, /) -> dict[str, np.ndarray]:
        """Runs one batch.

        Returns:
            Every output the artifact has, also ones the signature does not know, under canonical names where the
            artifact's signature maps them and native names where it does not.
        """
        ...


@runtime_checkable
class Runtime(Protocol):
    """Describes everything that the module of a runtime provides; what differs between its rows is in the registry.

    The registry refers to the module itself, and mypy compares it with this protocol. Heavy packages are imported
    inside of the functions.
    """

    def load(
        self, artifact: Path, signature: Signature, device: Device, options: Mapping[str, str], /
    ) -> AbstractContextManager[LoadedArtifact]:
        """Loads the artifact; leaving the context frees it.

        Args:
            artifact: folder of the artifact.
            signature: canonical and native names, types and shapes.
            device: where it is asked to run.
            options: of the row, overridden by what a diagnosis changes.

        Raises:
            Unavailable: this machine has no such device.
            Limited: the runtime cannot run this artifact, for a reason that `exporters.target_limits` names.
        """
        ...
