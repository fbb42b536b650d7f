"""Job functions for the tests of LiteRT's GPU: what native code does only once in a process, each in a fresh one."""

import os
from pathlib import Path
from typing import Any


def refusal(request: dict[str, Any]) -> dict[str, str]:
    """Job: loads and runs `tflite/VARIANT` once with `environment` set, and tells what it raised."""
    os.environ.update(request["environment"])
    import numpy as np
    from pydantic import TypeAdapter

    from exporters.contract import Signature
    from exporters.errors import ParitygateError
    from validators.runtimes import litert_gpu

    signature = TypeAdapter(Signature).validate_python(request["signature"])
    try:
        with litert_gpu.load(Path(request["folder"]), signature, "gpu", {}) as loaded:
            loaded.infer({s.name: np.ones((1, *s.shape[1:]), s.dtype) for s in signature.inputs})
    except ParitygateError as error:
        kind, limit = type(error).__name__, getattr(error, "limit", "")
        return {"kind": kind, "limit": limit, "message": error.message, "next_step": error.next_step}
    return {"kind": "none", "limit": "", "message": "", "next_step": ""}
