"""Runs TF Lite in LiteRT.js in Chromium, on its accelerators `wasm` and `webgpu`.

In: a folder with `model.tflite`. Out: its outputs, as the runtime that web pages load computes them. Tensors are bound
by the names in the file's signature. On `webgpu` half precision is switched off, and operators that the GPU lacks run
on the CPU; LiteRT's log names and counts them, as in `validators.runtimes.litert_log`.
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
from validators.runtimes.litert_log import dynamic_shape, parse_log
from validators.text import counted
from validators.web.gpu_adapters import adapter_details, adapter_name, is_software
from validators.web.page_session import PageRuntime, Session, open_session, package_version

PACKAGE = "@litertjs/core"
TYPES = ("float32", "int32", "uint8")
"""All types that a tensor of LiteRT.js can have."""


@contextmanager
def load(
    artifact: Path,
    signature: Signature,
    device: Device,  # noqa: ARG001 - the accelerator decides the device, and the placement reports it
    options: Mapping[str, str],
) -> Iterator["LiteRtJsRuntime"]:
    """Compiles a flatbuffer in a new page.

    Args:
        artifact: folder with `model.tflite`.
        signature: types and shapes; the file's signature has the canonical names.
        device: not used: each accelerator has one device.
        options: `accelerator` (`wasm` or `webgpu`) and `endpoint` (the DevTools address from `BrowserHost.endpoint`).

    Raises:
        Unavailable: the browser has no WebGPU adapter.
        Limited: LiteRT.js has no such type, or cannot take a dynamic shape.
        Broken: LiteRT.js cannot compile the model (its message is kept), or the browser is gone.
    """
    if limit := _limit(signature):
        raise limit
    with open_session(options["endpoint"], "litertjs", artifact) as session:
        try:
            facts = session.load({"accelerator": options["accelerator"]})
        except Broken as error:
            if options["accelerator"] == "webgpu" and (refused := dynamic_shape(error.message, signature)):
                raise refused from error
            raise
        yield LiteRtJsRuntime(session=session, facts=facts)


def _limit(signature: Signature) -> Limited | None:
    """Finds a limit that LiteRT.js would report only at the first call, or without the name of the tensor."""
    unsupported = [spec for spec in (*signature.inputs, *signature.outputs) if spec.dtype not in TYPES]
    if unsupported:
        return limited("litertjs-type", ", ".join(f"{spec.name} is {spec.dtype}" for spec in unsupported))
    dynamic = [spec for spec in signature.inputs if None in spec.shape]
    if dynamic:
        shown = ", ".join(f"{spec.name} is {[size or '?' for size in spec.shape]}" for spec in dynamic)
        return limited("litertjs-dynamic-batch", shown.replace("'", ""))
    return None


class LiteRtJsRuntime(PageRuntime):
    """Runs a compiled model in a page; see `validators.contract.LoadedArtifact`.

    Args:
        session: the page that holds the model.
        facts: what LiteRT.js reported after loading.
    """

    def __init__(self, *, session: Session, facts: dict[str, Any]) -> None:
        super().__init__(session=session, facts=facts)
        self._log = parse_log("\n".join(facts["log"]))

    @property
    def placement(self) -> Placement:
        """Returns the device that LiteRT.js compiled the model for: a GPU only when an operator went to it."""
        facts, shown = self._facts, self._session.shown
        runtime = f"litertjs {package_version(PACKAGE)}"
        details = {"browser": self._session.browser, "binary": self._session.binaries}
        on_gpu = facts["accelerator"] == "webgpu" and (facts["fully"] or self._log.accelerated)
        if not on_gpu:
            adapter = f"wasm (SIMD, {counted(facts['threads'], 'thread')}), {shown}"
            return Placement(
                device="cpu",
                runtime=runtime,
                adapter=adapter,
                fallbacks=self._log.fallbacks,
                threads=facts["threads"],
                details=details,
            )
        return Placement(
            device="gpu",
            runtime=runtime,
            adapter=f"WebGPU ({adapter_name(facts['adapter'])}), {shown}",
            software=is_software(facts["adapter"]),
            fallbacks=self._log.fallbacks,
            details={
                **details,
                "precision": str(facts["precision"]),
                "shader-f16": "yes" if facts["half"] else "no",
                "fully accelerated": "yes" if facts["fully"] else "no",
                **adapter_details(facts["adapter"]),
            },
        )

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one batch; see `validators.contract.LoadedArtifact.infer`.

        Raises:
            Broken: LiteRT.js raised, WebGPU reported an error, or the GPU's device was lost.
        """
        outputs, facts = self._session.infer(inputs, [])
        self._facts = {**self._facts, **facts}
        return outputs
