"""Job: an artifact that was tampered with, held against the weights of the original again."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from benchmarks.planted.stored import by_ulps, overwrite, through
from exporters.contract import WeightsRecord
from exporters.formats.registry import EXPORTERS
from exporters.weights.match import match
from exporters.weights.source_weights import read_weights


def tampered(request: Mapping[str, Any]) -> Any:
    """Changes one constant of an artifact and matches it anew.

    Args:
        request: `format`, `artifact` (folder, free to be changed), `weights`, `like` (part of
            the name of a source weight), and `ulps` or `dtype`.
    """
    exporter = next(row.exporter for row in EXPORTERS if row.format == request["format"])
    folder = Path(request["artifact"])
    source = read_weights(Path(request["weights"]))
    own = next(weight for weight in source.weights if request["like"] in weight.name)
    good = {name: array for name, array in exporter.constants(folder).items() if array.size == own.array.size}
    stored = next(array for array in good.values() if np.isin(np.sort(array, axis=None), own.array).all())
    change = by_ulps(request["ulps"]) if "ulps" in request else through(request["dtype"])
    overwrite(folder, stored, change)
    record = match(exporter.WEIGHTS, source, exporter.constants(folder))
    return TypeAdapter(WeightsRecord).dump_python(record, mode="json")


def vectors(request: Mapping[str, Any]) -> list[list[float]]:
    """The vectors that a source takes from a graph.

    Args:
        request: `constants`: name -> values, each a float32 constant of the graph.
    """
    import tensorflow as tf

    from exporters.weights.source_weights import SourceWeights, with_constants

    with tf.Graph().as_default() as graph:
        for name, values in request["constants"].items():
            tf.constant(values, tf.float32, name=name)
    found = with_constants(SourceWeights(weights=(), normalizations=()), graph.as_graph_def())
    return [scale.tolist() for scale in found.scales]
