"""Runs ONNX in ONNX Runtime, on its CPU or its CUDA execution provider.

In: a folder with `model.onnx`. Out: a runtime; names in the file are the canonical ones, except for outputs that
have the name of an input.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from validators.contract import Device, Placement, Tensors
from validators.hardware.graphics_cards import allow_tf32, cards

FILE = "model.onnx"
_CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_NO_WORK = {"Constant", "Identity", "MemcpyFromHost", "MemcpyToHost"}  # carry values and compute nothing


class OrtRuntime:
    """Runs an inference session."""

    def __init__(self, session: Any, signature: Signature, asked: Device) -> None:
        self._session = session
        self._asked = asked
        canonical = {spec.native: spec.name for spec in signature.outputs}
        names: list[str] = [output.name for output in session.get_outputs()]
        self._outputs = {name: canonical.get(name, name) for name in names}

    @property
    def placement(self) -> Placement:
        """Returns the providers that the session assigned computing nodes to; without such nodes, the CPU."""
        import onnxruntime

        nodes = self._nodes()
        providers = {provider for provider, op in nodes if op not in _NO_WORK} or {_CPU}
        device: Device = "gpu" if _CUDA in providers else "cpu"
        wanted = self._asked == "gpu"
        return Placement(
            device=device,
            runtime=f"onnxruntime {onnxruntime.__version__}",
            adapter=_with_card(_CUDA) if device == "gpu" else ", ".join(sorted(providers)),
            fallbacks={op: count for (on, op), count in sorted(nodes.items()) if on == _CPU} if wanted else {},
            details=self._settings() if wanted else {},
        )

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs the session once; returns every output that it has."""
        arrays = self._session.run(list(self._outputs), dict(inputs))
        return dict(zip(self._outputs.values(), arrays, strict=True))

    def _nodes(self) -> Counter[tuple[str, str]]:
        """Counts the session's nodes of each (provider, operator), bodies of loops and branches included."""
        parts = self._session.get_provider_graph_assignment_info()
        return Counter((part.ep_name, node.op_type) for part in parts for node in part.get_nodes())

    def _settings(self) -> dict[str, str]:
        """Returns the settings that matter for the numbers, as the CUDA provider reports them."""
        import onnxruntime

        found = cards()
        facts = {
            "built for": f"CUDA {onnxruntime.cuda_version or 'none'}",
            "driver": found[0].driver if found else "none",
        }
        options = self._session.get_provider_options().get(_CUDA)
        if options is None:
            return facts
        return {
            "TF32": {"0": "off", "1": "on"}[options["use_tf32"]],
            "float16": "off, but where the model asks for it",
            "convolution algorithms": options["cudnn_conv_algo_search"],
            **facts,
        }


def _with_card(provider: str) -> str:
    found = cards()
    return f"{provider} ({found[0].name})" if found else provider


@contextmanager
def load(artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]) -> Iterator[OrtRuntime]:
    """Opens a session.

    Args:
        artifact: folder with `model.onnx`.
        signature: canonical and native names.
        device: `cpu` allows only the CPU provider, so that no node can run elsewhere unnoticed. `gpu` puts the CUDA
            provider first; nodes without a CUDA kernel run on the CPU, as they do for a user, and are counted.
        options: `tf32`: `on` to let products round to TF32; `optimizer`: `off` or `basic` instead of all its levels;
            `threads`: how many, instead of one for each core.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    levels = onnxruntime.GraphOptimizationLevel
    settings.graph_optimization_level = {
        "off": levels.ORT_DISABLE_ALL,
        "basic": levels.ORT_ENABLE_BASIC,
        "all": levels.ORT_ENABLE_ALL,
    }[options.get("optimizer", "all")]
    settings.intra_op_num_threads = int(options.get("threads", "0"))
    settings.log_severity_level = 3  # errors; warnings about unused initializers do not concern the numbers
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = _cuda(options) if device == "gpu" else []
    session = onnxruntime.InferenceSession(
        str(artifact / FILE),
        settings,
        providers=[*providers, _CPU],
        enable_fallback=0,  # else a run that fails on CUDA is silently done again on the CPU
    )
    yield OrtRuntime(session, signature, device)


def _cuda(options: Mapping[str, str]) -> list[tuple[str, dict[str, str]]]:
    """Returns the CUDA provider with its settings; none where this build lacks it, which the placement reports."""
    import onnxruntime

    tf32 = options.get("tf32") == "on"
    allow_tf32(allowed=tf32)
    if _CUDA not in onnxruntime.get_available_providers():
        return []
    onnxruntime.preload_dlls()  # CUDA and cuDNN from their wheels, which no loader path names
    chosen = {
        "device_id": "0",
        "use_tf32": "1" if tf32 else "0",
        # The default times every algorithm and keeps the fastest: another one on another day, with other numbers.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    return [(_CUDA, chosen)]
