"""Job functions for the tests of runtimes that need TensorFlow."""

import importlib
import sys
from pathlib import Path
from typing import Any


def saved_model_without_keras(request: dict[str, Any]) -> dict[str, Any]:
    """Job: runs a SavedModel of `twins` and tries to import Keras meanwhile."""
    import numpy as np

    from exporters.contract import Signature
    from validators.runtimes import saved_model

    nothing = Signature(inputs=(), outputs=())
    with saved_model.load(Path(request["folder"]), nothing, "cpu", {}) as runtime:
        outputs = runtime.infer({name: np.ones((2, 4), np.float32) for name in ("zeta", "alpha")})
        try:
            importlib.import_module("keras")
            raised = ""
        except ImportError as error:
            raised = type(error).__name__
    return {"keras": raised, "outputs": sorted(outputs), "keras_afterwards": sys.modules["keras"] is not None}
