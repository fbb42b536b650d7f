"""Exports to SavedModel: the inference function saved with its variables.

In: the admitted model. Out: a SavedModel folder with one signature, `serving_default`, whose inputs and outputs
have the canonical names.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.contract import Finding, Signature
from exporters.formats.contract import ExportSource, Options
from exporters.source.keras.graph_function import graph_function
from exporters.weights.weight_layout import WeightLayout

if TYPE_CHECKING:
    import numpy as np

TITLE: str = "SavedModel"
WEIGHTS = WeightLayout(kernels="source", computes=False)


def export(source: ExportSource, destination: Path, _options: Options) -> Signature:
    """Saves the model's inference function.

    Args:
        source: its `model` is loaded; it needs no lowered graph.
        destination: folder to create.

    Raises:
        BadInput: Keras cannot load the model.
    """
    import tensorflow as tf

    from exporters.lowering.rewrites.dynamic_sizes import sizes_as_tensors
    from exporters.source.keras.loading import load
    from exporters.source.keras.model import tensor_specs

    model = load(source.model)

    @graph_function
    def serve(**inputs: Any) -> dict[str, Any]:
        return model.call(inputs)

    with sizes_as_tensors():  # saving traces the model's own layers as well
        signature = serve.get_concrete_function(**tensor_specs(model.signature.inputs))
        tf.saved_model.save(model.trackable(serve), str(destination), signatures={"serving_default": signature})
    return Signature(
        inputs=tuple(replace(spec, native=spec.name) for spec in model.signature.inputs),
        outputs=tuple(replace(spec, native=spec.name) for spec in model.signature.outputs),
    )


def constants(artifact: Path) -> "dict[str, np.ndarray]":
    """Reads every variable, by its path in the object graph; entries that are no weight, as counters, are left out."""
    from exporters.source.readers.checkpoint import SUFFIX, CheckpointWeights

    weights = CheckpointWeights(artifact / "variables" / "variables")
    with weights.rows() as rows:
        variables = [row for row in rows if weights.role(row.path) == "weight"]
        return {row.path.removesuffix(SUFFIX): _numbers(row.read(())) for row in variables}


def _numbers(array: "np.ndarray") -> "np.ndarray":
    """Returns the array as numbers: NumPy has no bfloat16, which a checkpoint reads as raw bytes (kind `V`)."""
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16) if array.dtype.kind == "V" else array


def check(_artifact: Path, _signature: Signature) -> tuple[Finding, ...]:
    """Finds nothing: TensorFlow runs every graph that it traced."""
    return ()
