"""TF Lite in LiteRT.js in Chromium, on its accelerators `wasm` and `webgpu`.

In: a folder with `model.tflite`. Out: its outputs, as the runtime that web pages load computes them. Tensors are bound
by the names in the file's signature. On `webgpu` half precision is switched off, and operators that the GPU lacks run
on the CPU: how many and which is read from LiteRT's log, as in `validators.runtimes.litert_gpu`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from exporters.errors import Broken, Limited
from exporters.target_limits import limited
from validators.contract import Device, Placement, Tensors
from validators.runtimes.litert_gpu import dynamic_shape, told_by
from validators.text import counted
from validators.web.gpu_adapters import adapter_details, adapter_name, is_software, raise_if_absent
from validators.web.page_session import Session, open_session, package_version

PACKAGE = "@litertjs/core"
TYPES = ("float32", "int32", "uint8")
"""All that a tensor of LiteRT.js can hold."""


@contextmanager
def load(
    artifact: Path,
    signature: Signature,
    device: Device,  # noqa: ARG001 - the accelerator decides the device, and the placement tells it
    options: Mapping[str, str],
) -> Iterator["LiteRtJsRuntime"]:
    """Compiles a flatbuffer in a page of its own.

    Args:
        artifact: folder with `model.tflite`.
        signature: types and shapes; the file's own signature has the canonical names.
        device: not used: each accelerator has one device.
        options: `accelerator` (`wasm` or `webgpu`) and `endpoint` (the DevTools address from `BrowserHost.endpoint`).

    Raises:
        Unavailable: the browser has no WebGPU adapter.
        Limited: LiteRT.js has no such type, or cannot take a dynamic shape.
        Broken: LiteRT.js cannot compile the model (its own message is kept), or the browser is gone.
    """
    if limit := _limit(signature):
        raise limit
    with open_session(options["endpoint"], "litertjs", artifact) as session:
        try:
            facts = session.load({"accelerator": options["accelerator"]})
        except Broken as error:
            raise_if_absent(error)
            if options["accelerator"] == "webgpu" and (refused := dynamic_shape(error.message, signature)):
                raise refused from error
            raise
        yield LiteRtJsRuntime(session=session, facts=facts)


def _limit(signature: Signature) -> Limited | None:
    """What LiteRT.js would refuse only at the first call, or with words that name no tensor."""
    strangers = [spec for spec in (*signature.inputs, *signature.outputs) if spec.dtype not in TYPES]
    if strangers:
        return limited("litertjs-type", ", ".join(f"{spec.name} is {spec.dtype}" for spec in strangers))
    dynamic = [spec for spec in signature.inputs if None in spec.shape]
    if dynamic:
        shown = ", ".join(f"{spec.name} is {[size or '?' for size in spec.shape]}" for spec in dynamic)
        return limited("litertjs-dynamic-batch", shown.replace("'", ""))
    return None


class LiteRtJsRuntime:
    """A compiled model in a page; see `validators.contract.LoadedArtifact`.

    Args:
        session: the page it lives in.
        facts: what LiteRT.js said of itself after loading.
    """

    def __init__(self, *, session: Session, facts: dict[str, Any]) -> None:
        self._session = session
        self._told = told_by("\n".join(facts["log"]))
        self._facts = facts
        self.load_seconds: float = facts["seconds"]

    @property
    def placement(self) -> Placement:
        """Where LiteRT.js says it compiled the model for: a GPU only when an operator of the model went to it."""
        facts, shown = self._facts, self._session.shown
        runtime = f"litertjs {package_version(PACKAGE)}"
        details = {"browser": self._session.browser, "binary": self._session.binaries}
        on_gpu = facts["accelerator"] == "webgpu" and (facts["fully"] or self._told.accelerated)
        if not on_gpu:
            adapter = f"wasm (SIMD, {counted(facts['threads'], 'thread')}), {shown}"
            return Placement(
                device="cpu",
                runtime=runtime,
                adapter=adapter,
                fallbacks=self._told.fallbacks,
                threads=facts["threads"],
                details=details,
            )
        return Placement(
            device="gpu",
            runtime=runtime,
            adapter=f"WebGPU ({adapter_name(facts['adapter'])}), {shown}",
            software=is_software(facts["adapter"]),
            fallbacks=self._told.fallbacks,
            details={
                **details,
                "precision": str(facts["precision"]),
                "shader-f16": "yes" if facts["half"] else "no",
                "fully accelerated": "yes" if facts["fully"] else "no",
                **adapter_details(facts["adapter"]),
            },
        )

    @property
    def call_seconds(self) -> float:
        """Of the last call, as the page saw it."""
        seconds: float = self._facts["seconds"]
        return seconds

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one batch; see `validators.contract.LoadedArtifact.infer`.

        Raises:
            Broken: LiteRT.js raised, WebGPU reported an error, or the GPU's device was lost.
        """
        found, facts = self._session.infer(inputs, [])
        self._facts = {**self._facts, **facts}
        return found
