"""Jobs about the model in float64."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporters.source.model_source import ModelSource


def grouped(request: Mapping[str, Any]) -> dict[str, Any]:
    """Job: how many calls of a model's float64 graph XLA compiles, and how far its answers lie from float32 ones."""
    import numpy as np
    import tensorflow as tf

    from exporters.source.keras.float64 import in_float64
    from exporters.source.keras.loading import load
    from exporters.source.keras.model import tensor_specs

    model = load(ModelSource(path=Path(request["model"])))
    (given,) = model.signature.inputs
    rows = np.random.default_rng(3).normal(size=[n or 3 for n in given.shape]).astype(np.float32)
    narrow = model.call({given.name: tf.constant(rows)})
    double = in_float64(model)
    traced = tf.function(lambda **inputs: double.call(inputs)).get_concrete_function(
        **tensor_specs(double.signature.inputs)
    )
    wide = traced(**{given.name: tf.constant(rows, tf.float64)})
    graph = traced.graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    return {
        "compiled": sum(node.attr["_XlaMustCompile"].b for node in nodes),
        "types": sorted({array.dtype.name for array in wide.values()}),
        "distance": max(float(np.abs(wide[name] - narrow[name].numpy()).max()) for name in wide),
    }
