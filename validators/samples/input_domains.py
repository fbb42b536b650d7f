"""Finds the values that a model's inputs are meant for, as its first layers imply them.

In: a loaded model. Out: a `Range` for every input about which something is known. From an input the graph is followed
through layers that only move or drop values, into the layer that implies a range: a `Rescaling` by 1/255 expects
bytes, an `Embedding` of 1000 rows expects whole numbers below 1000, and so does a layer with such a table inside; a
`Normalization` or a first `BatchNormalization` stores the mean and variance of its training data.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from exporters.contract import TensorSpec
from exporters.source.keras.model import SourceModel
from exporters.source.keras.user_code import is_of_keras
from validators.samples.lookup_tables import rows_looked_up
from validators.samples.value_ranges import Range, between

_PASSES = frozenset(
    (
        *("ActivityRegularization", "AlphaDropout", "Cast", "CenterCrop", "Dropout", "ExpandDims", "Flatten"),
        *("GaussianDropout", "GaussianNoise", "GetItem", "Identity", "InputLayer", "Masking", "Permute"),
        *("RandomBrightness", "RandomContrast", "RandomCrop", "RandomFlip", "RandomRotation", "RandomTranslation"),
        *("RandomZoom", "RepeatVector", "Reshape", "Resizing", "Squeeze"),
        *(
            f"{kind}{rank}D"
            for kind in ("Cropping", "SpatialDropout", "UpSampling", "ZeroPadding")
            for rank in (1, 2, 3)
        ),
    )
)
"""Layers and operations that do not change values."""
_LOG = logging.getLogger("paritygate")
_SEQUENCE_OF_VECTORS = 3  # axes; floating inputs with this rank or more are no indices
_SIGMAS = 3
"""Standard deviations on both sides of a mean: 0.3 % of a layer's training data are beyond them."""


def ranges_of(model: SourceModel) -> Mapping[str, Range]:
    """Returns the ranges that the model's own layers imply; no entry for an input of unknown range."""
    import keras

    found: dict[str, Range] = {}
    tensors = keras.tree.flatten(model.graph.input)
    for spec, tensor in zip(model.signature.inputs, tensors, strict=True):
        if spec.dtype == "string":
            continue
        implied = [known for use in _first_uses(model.graph, tensor) for known in _ranges_of_use(use, spec)]
        implied = [known for known in implied if _fits(known, spec.shape[1:])]
        if not implied:
            continue
        whole = [known for known in implied if known.whole]
        # An index into two tables must be within the smaller one.
        found[spec.name] = min(whole, key=lambda known: float(known.high)) if whole else implied[0]
    return found


def _fits(known: Range, row: tuple[int | None, ...]) -> bool:
    """Tells whether the ends broadcast against a row of the input without changing its shape."""
    shape = tuple(1 if length is None else length for length in row)
    try:
        return np.broadcast_shapes(known.low.shape, known.high.shape, shape) == shape
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Use:
    """A layer that takes an input, with its graph, that input in the graph, and the layer's outputs."""

    layer: Any
    graph: Any
    start: Any
    outputs: Sequence[Any]


def _first_uses(graph: Any, start: Any) -> Iterator[_Use]:
    """Yields the layers that an input reaches through layers that pass its values on."""
    consumers = list(_consumers(graph))
    pending, seen = [start], set()
    while pending:
        at = pending.pop()
        for layer, inputs, outputs in consumers:
            position = next((i for i, each in enumerate(inputs) if each is at), None)
            if position is None or (id(layer), id(at)) in seen:
                continue
            seen.add((id(layer), id(at)))
            if type(layer).__name__ in _PASSES:
                pending += outputs
            elif hasattr(layer, "layers") and getattr(layer, "inputs", None):
                yield from _first_uses(getattr(layer, "_functional", None) or layer, _input_of(layer, position))
            else:
                yield _Use(layer=layer, graph=graph, start=start, outputs=outputs)


def _input_of(nested: Any, position: int) -> Any:
    inner = getattr(nested, "_functional", None) or nested
    return inner.inputs[min(position, len(inner.inputs) - 1)]


def _consumers(graph: Any) -> Iterator[tuple[Any, list[Any], list[Any]]]:
    """Yields every call of a layer or operation in a functional graph: (layer, its inputs, its outputs)."""
    import keras

    for nodes in graph._nodes_by_depth.values():  # noqa: SLF001 - how both Keras keep their graph
        for node in nodes:
            if node.is_input:
                continue
            if hasattr(node, "operation"):
                yield node.operation, list(node.input_tensors), list(node.output_tensors)
            else:
                yield node.layer, list(node.keras_inputs), keras.tree.flatten(node.outputs)


def _ranges_of_use(use: _Use, spec: TensorSpec) -> Iterator[Range]:
    """Yields the ranges that a layer implies, by its attributes or by the tables in it that values are looked up in."""
    known = _range_of_layer(use.layer)
    if known is not None:
        yield known
    elif _may_look_up(use.layer) and (spec.dtype.startswith(("int", "uint")) or len(spec.shape) < _SEQUENCE_OF_VECTORS):
        for rows in _rows_looked_up(use):
            yield _below(rows, f"layer {use.layer.name} looks it up in a table of {rows} rows")


def _rows_looked_up(use: _Use) -> list[int]:
    """Returns the rows of the tables in a layer; none where it cannot be traced separately, which is no fault."""
    try:
        return rows_looked_up(use.graph, use.start, use.outputs)
    except Exception as error:  # noqa: BLE001 - the user's code may raise anything; the whole model is traced next
        _LOG.warning("the tables of layer %s are not known: %s: %s", use.layer.name, type(error).__name__, error)
        return []


def _may_look_up(layer: Any) -> bool:
    """Tells whether a layer may contain a table: any layer of the user's, and a layer around an `Embedding`."""
    if not is_of_keras(layer):
        return True
    inner = layer._flatten_layers(include_self=False) if hasattr(layer, "_flatten_layers") else ()  # noqa: SLF001
    return any("Embedding" in type(each).__name__ for each in inner)


def _range_of_layer(layer: Any) -> Range | None:
    """Returns the range that a layer's own attributes imply; None where they imply none."""
    kind = type(layer).__name__
    if kind == "TimeDistributed":
        return _range_of_layer(layer.layer)
    return _RANGES[kind](layer) if kind in _RANGES else None


def _below(rows: int, why: str) -> Range:
    return between(0, rows - 1, whole=True, why=why)


def _embedding(layer: Any) -> Range:
    rows = int(layer.input_dim)
    return _below(rows, f"layer {layer.name} is a table of {rows} rows")


def _encoding(layer: Any) -> Range | None:
    rows = getattr(layer, "num_tokens", None)
    if not rows:
        return None
    return _below(int(rows), f"layer {layer.name} knows {rows} categories")


def _rescaling(layer: Any) -> Range | None:
    scale, offset = np.asarray(layer.scale, np.float64), np.asarray(layer.offset, np.float64)
    if not np.all(scale):
        return None
    lowest = np.where(offset == 0, 0.0, -1.0)
    ends = (lowest - offset) / scale, (1.0 - offset) / scale
    return between(np.minimum(*ends), np.maximum(*ends), why=f"layer {layer.name} rescales it to [0, 1] or [-1, 1]")


def _normalization(layer: Any) -> Range | None:
    if getattr(layer, "mean", None) is None or getattr(layer, "variance", None) is None:
        return None
    return _around(layer, np.asarray(layer.mean), np.asarray(layer.variance))


def _batch_normalization(layer: Any) -> Range | None:
    if layer.axis not in (-1, len(layer.moving_mean.shape)) and not isinstance(layer.axis, int | list):
        return None
    return _around(layer, np.asarray(layer.moving_mean), np.asarray(layer.moving_variance))


def _around(layer: Any, mean: np.ndarray, variance: np.ndarray) -> Range | None:
    mean, sigma = mean.astype(np.float64), np.sqrt(np.maximum(variance.astype(np.float64), 0.0))
    if mean.ndim > 1 and mean.shape[0] == 1:
        mean, sigma = mean[0], sigma[0]  # its first axis is the batch
    if not (np.isfinite(mean).all() and np.isfinite(sigma).all() and sigma.any()):
        return None
    why = f"layer {layer.name} remembers the mean and variance of what it was shown"
    return between(mean - _SIGMAS * sigma, mean + _SIGMAS * sigma, why=why)


def _discretization(layer: Any) -> Range | None:
    boundaries = np.asarray(getattr(layer, "bin_boundaries", None) or (), np.float64)
    if not boundaries.size:
        return None
    width = float(np.ptp(boundaries)) or 1.0
    why = f"layer {layer.name} sorts it into bins"
    return between(boundaries.min() - width / 4, boundaries.max() + width / 4, why=why)


_RANGES: Mapping[str, Callable[[Any], Range | None]] = {
    "Embedding": _embedding,
    "ReversibleEmbedding": _embedding,
    "CategoryEncoding": _encoding,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "BatchNormalization": _batch_normalization,
    "Discretization": _discretization,
}
