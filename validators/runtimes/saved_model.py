"""Runs SavedModel in TensorFlow, loaded without Keras, on the CPU or on CUDA.

In: a SavedModel folder. Out: a runtime. The worker's process may have Keras imported; while the model loads and runs,
an import of Keras fails, so that an artifact which needs Keras is detected.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from exporters.contract import Signature
from validators.contract import Device, Placement, Tensors
from validators.runtimes.tensorflow_device import Watch, watching

_SIGNATURE_KEY = "serving_default"


class SavedModelRuntime:
    """Runs the serving function of a loaded SavedModel."""

    def __init__(self, function: Any, watch: Watch) -> None:
        self._function = function
        self._watch = watch

    @property
    def placement(self) -> Placement:
        """Returns the place where all calls ran; raises Broken when TensorFlow has not reported it."""
        return self._watch.placement()

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs the serving function once; text comes back as `str`."""
        import tensorflow as tf

        outputs = self._function(**{name: tf.constant(array) for name, array in inputs.items()})
        self._watch.note(outputs.values())
        return {name: _array(tensor) for name, tensor in outputs.items()}


def _array(tensor: Any) -> np.ndarray:
    array: np.ndarray = tensor.numpy()
    if array.dtype == object:
        # Bytes that are not UTF-8 must stay different from each other.
        text = [value.decode(errors="surrogateescape") for value in array.reshape(-1).tolist()]
        return np.array(text, dtype=object).reshape(array.shape)
    return array


@contextmanager
def load(
    artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]
) -> Iterator[SavedModelRuntime]:
    """Loads the serving function of a SavedModel.

    Args:
        artifact: the folder.
        signature: not used, the names in the SavedModel are the canonical ones.
        device: `gpu` needs a fresh process, in which TensorFlow has not run anything.
        options: `tf32`: `on` to let products round to TF32.
    """
    del signature
    import tensorflow as tf

    with watching(device, options) as watch, mock.patch.dict(sys.modules, {"keras": None, "tf_keras": None}):
        model = tf.saved_model.load(str(artifact))
        yield SavedModelRuntime(model.signatures[_SIGNATURE_KEY], watch)
