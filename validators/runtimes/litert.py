"""Runs TF Lite in LiteRT's interpreter: with the XNNPACK delegate, or with the reference kernels.

In: a folder with `model.tflite`. Out: a runtime. Tensors are bound by the names in the file's signature, since the
order of `get_input_details()` is not the model's (tensorflow#61065).
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from exporters.contract import Signature
from validators.contract import Device, Placement, Tensors

FILE = "model.tflite"
SIGNATURE_KEY = "serving_default"


class LiteRtRuntime:
    """Runs a loaded flatbuffer."""

    def __init__(self, interpreter: Any, kernels: str, threads: int) -> None:
        self._interpreter = interpreter
        self._runner = interpreter.get_signature_runner(SIGNATURE_KEY)
        self._kernels = kernels
        self._threads = threads

    @property
    def placement(self) -> Placement:
        """Reads LiteRT's execution plan; where XNNPACK can take no operator, the adapter's name says so."""
        operators = [op["op_name"] for op in self._interpreter._get_ops_details()]  # noqa: SLF001 - no public reader
        delegated = operators.count("DELEGATE")
        remaining = len(operators) - delegated
        details = {"delegate partitions": str(delegated), "operators in the plan": str(remaining)}
        if delegated:  # even if XNNPACK was not asked for: the plan is the only thing that LiteRT reports
            adapter = "XNNPACK"
        elif self._kernels == "reference":
            adapter = "reference kernels"
            details["kernels"] = "as asked for: LiteRT does not report which kernels its operators use"
        elif self._kernels == "optimised":
            adapter = "optimised kernels"
        else:
            adapter = "optimised kernels (XNNPACK took nothing)"
        return Placement(
            device="cpu",
            runtime=f"ai-edge-litert {metadata.version('ai-edge-litert')}",
            adapter=adapter,
            threads=self._threads,
            details=details,
        )

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one call of the signature; the runner resizes dynamic inputs to the batch that it gets."""
        return {name: np.array(value) for name, value in self._runner(**inputs).items()}


@contextmanager
def load(artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]) -> Iterator[LiteRtRuntime]:
    """Loads a flatbuffer.

    Args:
        artifact: folder with `model.tflite`.
        signature: not used, the file's signature has the canonical names.
        device: `cpu`.
        options: `kernels`: `xnnpack`, `reference`, or `optimised` for LiteRT's without a delegate; `threads`: how
            many, instead of one.
    """
    del signature, device
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    resolver = {
        "xnnpack": OpResolverType.BUILTIN,
        "optimised": OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        "reference": OpResolverType.BUILTIN_REF,
    }[options["kernels"]]
    threads = int(options.get("threads", "1"))
    interpreter = Interpreter(
        model_path=str(artifact / FILE),
        experimental_op_resolver_type=resolver,
        num_threads=threads,
    )
    yield LiteRtRuntime(interpreter, options["kernels"], threads)
