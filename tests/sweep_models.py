"""A model for the sweep's tests that one target cannot express."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def cholesky() -> Any:
    """A model with an operator that TF.js has not got."""
    import keras
    from keras import ops

    x = keras.Input((3, 24), name="x")
    return keras.Model(x, ops.cholesky(ops.matmul(x, ops.transpose(x, (0, 2, 1)))))


def build(request: Mapping[str, Any]) -> str:
    """Job: builds the model `name` and saves it in `folder`; returns its path."""
    path = Path(request["folder"]) / f"{request['name']}.keras"
    globals()[request["name"]]().save(path)
    return str(path)
