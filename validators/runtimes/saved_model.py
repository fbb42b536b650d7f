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
from exporters.errors import Broken
from validators.contract import Device, Placement, Tensors

_SIGNATURE_KEY = "serving_default"


class SavedModelRuntime:
    """A loaded SavedModel's serving function."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self._ran_on: set[str] = set()

    @property
    def placement(self) -> Placement:
        """Where the outputs of all calls came to lie; raises Broken when TensorFlow has not said so."""
        import tensorflow as tf

        if not self._ran_on:
            raise Broken("TensorFlow does not say on which device the outputs of the SavedModel were computed")
        device: Device = "cpu" if self._ran_on == {"CPU"} else "gpu"
        return Placement(device=device, runtime=f"tensorflow {tf.__version__}", adapter=", ".join(sorted(self._ran_on)))

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """One call of the serving function; text comes back as `str`."""
        import tensorflow as tf

        outputs = self._function(**{name: tf.constant(array) for name, array in inputs.items()})
        self._ran_on |= _devices_of(outputs.values())
        return {name: _array(tensor) for name, tensor in outputs.items()}


def _devices_of(tensors: Any) -> set[str]:
    """Where tensors live, by TensorFlow's own word: `/job:localhost/.../device:CPU:0`."""
    return {match[1] for tensor in tensors if (match := re.search(r"device:(\w+):", tensor.device or ""))}


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
    # The SavedModel's own names are the canonical ones; where it runs, TensorFlow decides and the placement tells.
    del signature, device, options
    import tensorflow as tf

    with mock.patch.dict(sys.modules, {"keras": None, "tf_keras": None}):
        model = tf.saved_model.load(str(artifact))
        yield SavedModelRuntime(model.signatures[_SIGNATURE_KEY])
