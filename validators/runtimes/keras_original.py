"""Runs the original model in Keras on CUDA, which shows the effect of only the hardware on the numbers.

In: the admitted model. Out: a runtime. The reference runs the same operators on the CPU; TensorFlow's graph
optimizers stay off, so nothing but the device differs.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from exporters.contract import Signature
from exporters.source.keras.graph_function import graph_function
from exporters.source.keras.loading import load as load_original
from exporters.source.keras.model import SourceModel, tensor_specs
from exporters.source.model_source import ModelSource
from validators.contract import Device, Placement, Tensors
from validators.runtimes.tensorflow_device import Watch, watching


class KerasRuntime:
    """Runs the original's inference function."""

    def __init__(self, model: SourceModel, watch: Watch) -> None:

        @graph_function
        def infer(**inputs: Any) -> dict[str, Any]:
            return model.call(inputs)

        # Traced once, with the shapes that the model declares: samples of another size must not make another graph.
        self._infer = infer.get_concrete_function(**tensor_specs(model.signature.inputs))
        self._watch = watch

    @property
    def placement(self) -> Placement:
        """Returns the place where all calls ran; raises Broken when TensorFlow has not reported it."""
        return self._watch.placement()

    def infer(self, inputs: Tensors) -> dict[str, np.ndarray]:
        """Runs one inference call, random layers neutral; text has the form of the reference."""
        import tensorflow as tf

        outputs = self._infer(**{name: tf.constant(array) for name, array in inputs.items()})
        self._watch.note(outputs.values())
        return {name: np.asarray(tensor) for name, tensor in outputs.items()}


@contextmanager
def load(artifact: Path, signature: Signature, device: Device, options: Mapping[str, str]) -> Iterator[KerasRuntime]:
    """Loads the original.

    Args:
        artifact: not used, `options` name the model.
        signature: not used, the model file has the same one.
        device: `gpu` needs a fresh process, in which TensorFlow has not run anything.
        options: `model`, a `ModelSource` as JSON; `tf32`: `on` to let products round to TF32.

    Raises:
        BadInput: Keras cannot load the model.
    """
    del artifact, signature
    import tensorflow as tf

    with watching(device, options) as watch:
        # Only the device may differ from the reference, so no graph optimizer may rewrite the operators.
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        model = load_original(TypeAdapter(ModelSource).validate_json(options["model"]))
        yield KerasRuntime(model, watch)
