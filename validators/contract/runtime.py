"""Defines what a runtime provides: a way to load an artifact, and a loaded artifact that infers."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import numpy as np

from exporters.contract import Signature
from validators.contract.placement import Device, Placement

Tensors = Mapping[str, np.ndarray]
"""Canonical name -> array."""


class Runtime(Protocol):
    """A loaded artifact, ready to infer. Tensors go in and out under canonical names."""

    @property
    def placement(self) -> Placement:
        """Where inference ran, read back from the runtime after a call, never echoed from the request."""

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one batch.

        Returns:
            Every output the artifact has, also ones the signature does not know, under canonical names where the
            artifact's signature maps them and native names where it does not.
        """


class Load(Protocol):
    """A runtime's way in, named by a registry row."""

    def __call__(
        self, artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]
    ) -> AbstractContextManager[Runtime]:
        """Loads the artifact; leaving the context frees it.

        Raises:
            Unavailable: this machine has no such device.
        """
