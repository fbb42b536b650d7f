"""SavedModel: the inference function saved with its variables.

In: the admitted model. Out: a SavedModel folder with one signature, `serving_default`, whose inputs and outputs
carry the canonical names.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from exporters.contract import Finding, Signature
from exporters.source.keras.graph_function import graph_function
from exporters.weights.weight_layout import WeightLayout

TITLE: str = "SavedModel"
WEIGHTS = WeightLayout(kernels="source", computes=False)


def export(source: Path, destination: Path, options: Mapping[str, Any]) -> Signature:
    """Saves the model's inference function.

    Args:
        source: the model, as admission copied it.
        destination: folder to create.
        options: `model`, a `ModelSource`.

    Raises:
        BadInput: Keras cannot load the model.
    """
    import tensorflow as tf

    from exporters.lowering.rewrites.dynamic_sizes import sizes_as_tensors
    from exporters.source.keras.loading import load
    from exporters.source.keras.model import tensor_specs

    del source
    model = load(options["model"])

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


def constants(artifact: Path) -> dict[str, Any]:
    """Every variable by its place among the objects; counters that no variable is are left out."""
    from exporters.source.readers.checkpoint import SUFFIX, CheckpointWeights

    weights = CheckpointWeights(artifact / "variables" / "variables")
    with weights.rows() as rows:
        own = [row for row in rows if weights.role(row.path) == "weight"]
        return {row.path.removesuffix(SUFFIX): _numbers(row.read(())) for row in own}


def _numbers(array: Any) -> Any:
    """The array itself; NumPy has no bfloat16 of its own."""
    import ml_dtypes

    return array.view(ml_dtypes.bfloat16) if array.dtype.kind == "V" else array


def check(_artifact: Path, _signature: Signature) -> tuple[Finding, ...]:
    """TensorFlow runs whatever TensorFlow traced; there is nothing to look for before it is run."""
    return ()
