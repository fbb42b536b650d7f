"""Runs ONNX in ONNX Runtime Web in Chromium, on its providers `wasm` and `webgpu`.

In: a folder with `model.onnx` and, for a large model, its weight files. Out: its outputs, as the runtime that web pages
load computes them.

ORT runs operators without a WebGPU kernel on the CPU, and does not say so. Its log names the provider of every node and
every shader that a call started: the first becomes the placement's fallbacks, the second decides the device.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from validators.contract import Device, Placement, Tensors
from validators.text import counted
from validators.web.gpu_adapters import adapter_details, adapter_name, is_software
from validators.web.page_session import PageRuntime, Session, open_session

FILE = "model.onnx"
_WIDE = ("int64", "uint64")


@contextmanager
def load(artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]) -> Iterator["OrtWebRuntime"]:  # noqa: ARG001 - the provider decides the device, and the placement reports it
    """Opens a session in a new page, with the settings that users get by default.

    Args:
        artifact: folder with `model.onnx`.
        signature: canonical names; the native ones are those in the file.
        device: not used: each provider has one device.
        options: `provider` (`wasm` or `webgpu`) and `endpoint` (the DevTools address from `BrowserHost.endpoint`).

    Raises:
        Unavailable: the browser has no WebGPU adapter.
        Broken: ORT cannot load the model (its message is kept), or the browser is gone.
    """
    # A page cannot list a folder, so it gets the names of the weight files.
    external = sorted(path.name for path in artifact.iterdir() if path.name != FILE)
    with open_session(options["endpoint"], "ort", artifact) as session:
        facts = session.load({"provider": options["provider"], "external": "\n".join(external)})
        yield OrtWebRuntime(session=session, signature=signature, facts=facts)


class OrtWebRuntime(PageRuntime):
    """Runs an inference session in a page; see `validators.contract.LoadedArtifact`.

    Args:
        session: the page that holds it.
        signature: canonical and native names.
        facts: what ORT reported after loading.
    """

    def __init__(self, *, session: Session, signature: Signature, facts: dict[str, Any]) -> None:
        super().__init__(session=session, facts=facts)
        self._inputs = {spec.name: spec.native for spec in signature.inputs}
        self._outputs = {spec.native: spec.name for spec in signature.outputs}
        self._wide = any(spec.dtype in _WIDE for spec in (*signature.inputs, *signature.outputs))

    @property
    def placement(self) -> Placement:
        """Returns the place where ORT ran the last call: the GPU only if the call started a shader there."""
        facts, shown = self._facts, self._session.shown
        runtime = f"onnxruntime-web {facts['version']}"
        details = {
            "browser": self._session.browser,
            "binary": self._session.binaries,
            "graph optimization": "all",
        }
        if facts["adapter"] is None:
            adapter = f"wasm (SIMD, {counted(facts['threads'], 'thread')}), {shown}"
            return Placement(device="cpu", runtime=runtime, adapter=adapter, threads=facts["threads"], details=details)
        return Placement(
            device="gpu" if facts["programs"] else "cpu",
            runtime=runtime,
            adapter=f"WebGPU ({adapter_name(facts['adapter'])}), {shown}",
            software=is_software(facts["adapter"]),
            fallbacks=facts["on_cpu"],
            details={
                **details,
                **adapter_details(facts["adapter"]),
                "shaders": f"{facts['programs']} started by the last call",
                "shader-f16": "yes" if facts["half"] else "no",
                **({"int64": "indices are read as int32 on the GPU, arithmetic is the CPU's"} if self._wide else {}),
            },
        )

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one batch; see `validators.contract.LoadedArtifact.infer`.

        Raises:
            Broken: ORT raised (its message is kept), or the GPU's device was lost.
        """
        feeds = {self._inputs[name]: array for name, array in inputs.items()}
        outputs, self._facts = self._session.infer(feeds, [])
        return {self._outputs.get(native, native): array for native, array in outputs.items()}
