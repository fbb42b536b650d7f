"""SavedModel in TensorFlow, loaded without Keras.

In: a SavedModel folder. Out: a runtime. The worker's process has Keras imported; while the model loads and runs,
importing it again fails, so that an artifact which secretly needs Keras is found out.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from exporters.contract import Signature
from validators.contract import Device, Placement, Tensors

_SIGNATURE_KEY = "serving_default"


class SavedModelRuntime:
    """A loaded SavedModel's serving function."""

    def __init__(self, function: Any, device: Device) -> None:
        self._function = function
        self._ran_on: Device = device

    @property
    def placement(self) -> Placement:
        import tensorflow as tf

        return Placement(device=self._ran_on, runtime=f"tensorflow {tf.__version__}", adapter=self._ran_on.upper())

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """One call of the serving function; text comes back as `str`."""
        import tensorflow as tf

        outputs = self._function(**{name: tf.constant(array) for name, array in inputs.items()})
        self._ran_on = _device_of(outputs.values(), self._ran_on)
        return {name: _array(tensor) for name, tensor in outputs.items()}


def _device_of(tensors: Any, otherwise: Device) -> Device:
    """Where the outputs live, by TensorFlow's own word: `/job:localhost/.../device:CPU:0`."""
    kinds = {match[1] for t in tensors if (match := re.search(r"device:(\w+):", t.device or ""))}
    return ("gpu" if "GPU" in kinds else "cpu") if kinds else otherwise


def _array(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.numpy()
    if array.dtype == object:
        text = [value.decode(errors="surrogateescape") for value in array.reshape(-1).tolist()]
        return np.array(text, dtype=object).reshape(array.shape)
    return array


@contextmanager
def load(
    artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]
) -> Iterator[SavedModelRuntime]:
    """Loads the serving function of a SavedModel."""
    del signature, options  # the SavedModel's own names are the canonical ones
    import tensorflow as tf

    with mock.patch.dict(sys.modules, {"keras": None, "tf_keras": None}):
        model = tf.saved_model.load(str(artifact))
        yield SavedModelRuntime(model.signatures[_SIGNATURE_KEY], device)
