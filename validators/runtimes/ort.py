"""ONNX in ONNX Runtime, on its CPU execution provider.

In: a folder with `model.onnx`. Out: a runtime; names in the file are the canonical ones, but for outputs that
are called like an input.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from validators.contract import Device, Placement, Tensors

FILE = "model.onnx"
_PROVIDERS: Mapping[Device, str] = {"cpu": "CPUExecutionProvider"}


class OrtRuntime:
    """An inference session."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session = session
        canonical = {spec.native: spec.name for spec in signature.outputs}
        self._outputs = {output.name: canonical.get(output.name, output.name) for output in session.get_outputs()}

    @property
    def placement(self) -> Placement:
        import onnxruntime

        provider = self._session.get_providers()[0]
        device: Device = "cpu" if provider == "CPUExecutionProvider" else "gpu"
        return Placement(device=device, runtime=f"onnxruntime {onnxruntime.__version__}", adapter=provider)

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """One run of the session, every output it has."""
        arrays = self._session.run(list(self._outputs), dict(inputs))
        return dict(zip(self._outputs.values(), arrays, strict=True))


@contextmanager
def load(artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]) -> Iterator[OrtRuntime]:
    """Opens a session on the provider of the device alone, so that nothing can fall back unseen."""
    del options
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # errors; warnings about unused initializers say nothing of the numbers
    session = onnxruntime.InferenceSession(str(artifact / FILE), settings, providers=[_PROVIDERS[device]])
    yield OrtRuntime(session, signature)
