"""Records the original's weights by name and layer, and which of them belong to a batch normalization.

In: a loaded model, in the job of the reference. Out: a folder with `weights.json` and the bytes of all weights in
`weights.bin`, which every export's check reads.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from exporters.lowering.rewrites.mixed_precision import layers_of
from exporters.source.keras.model import SourceModel
from exporters.source.keras.user_code import is_of_keras

_INDEX, _BYTES = "weights.json", "weights.bin"
_STATISTICS = ("gamma", "beta", "moving_mean", "moving_variance")
_LEAST_DEVIATION = 1e-7  # keras.config.epsilon(), the lower bound of Normalization's divisor
_LONGEST = 1 << 16  # channels; longer constants are no factors of channels


@dataclass(frozen=True, kw_only=True)
class SourceWeight:
    """Holds one weight of the original.

    Attributes:
        name: the layer's path and the variable's own name, `conv2d/kernel`.
        layer: name of the layer that owns it.
        array: its values.
        as_is: whether the layer is one of Keras' own, which use their kernels unchanged.
    """

    name: str
    layer: str
    array: np.ndarray
    as_is: bool = True

    @cached_property
    def varied(self) -> bool:
        """Tells whether it has at least two different values; a uniform one resembles too many constants."""
        return self.array.size > 1 and bool((self.array != self.array.flat[0]).any())


@dataclass(frozen=True, kw_only=True)
class Normalization:
    """Holds the vectors of a batch normalization of the original, in float64.

    Attributes:
        layer: its name.
        inverse: the factor, gamma / sqrt(variance + epsilon).
        centre: the value that is subtracted after that, mean * inverse.
        beta: the value that is added then; zeros where the layer has none.
    """

    layer: str
    inverse: np.ndarray
    centre: np.ndarray
    beta: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceWeights:
    """Holds the parts of the original that a converter may store.

    Attributes:
        weights: all of them.
        normalizations: its batch normalizations.
        scales: float64 vectors that other layers multiply with: `Rescaling`, `Normalization`, and where requested,
            constants of the traced graph.
    """

    weights: tuple[SourceWeight, ...]
    normalizations: tuple[Normalization, ...]
    scales: tuple[np.ndarray, ...] = ()


def write_weights(model: SourceModel, folder: Path) -> None:
    """Writes the weights of a loaded model into a new folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, normalizations, offset = [], [], 0
    scales: list[list[float]] = []
    with (folder / _BYTES).open("wb") as stream:
        for layer, variables in _owned(model):
            for name, array in variables:
                rows.append((name, layer.name, is_of_keras(layer), array.dtype.name, array.shape, offset))
                offset += stream.write(np.ascontiguousarray(array).tobytes())
            if statistics := _statistics(layer):
                normalizations.append((layer.name, float(layer.epsilon), statistics))
            scales += _scales(layer)
    index = {"weights": rows, "normalizations": normalizations, "scales": scales}
    (folder / _INDEX).write_text(json.dumps(index), "utf-8")


def read_weights(folder: Path) -> SourceWeights:
    """Reads the folder that `write_weights` wrote; arrays stay in the file until they are used."""
    import ml_dtypes  # noqa: F401 - makes bfloat16 a type that NumPy knows by name

    index = json.loads((folder / _INDEX).read_text("utf-8"))
    weights = tuple(
        SourceWeight(
            name=name, layer=layer, as_is=as_is, array=_mapped(folder / _BYTES, np.dtype(dtype), shape, offset)
        )
        for name, layer, as_is, dtype, shape, offset in index["weights"]
    )
    return SourceWeights(
        weights=weights,
        normalizations=tuple(_normalization(*row) for row in index["normalizations"]),
        scales=tuple(np.asarray(scale, "float64") for scale in index["scales"]),
    )


def _mapped(path: Path, dtype: np.dtype, shape: Sequence[int], offset: int) -> np.ndarray:
    if 0 in shape:
        return np.zeros(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "r", offset, tuple(shape)))


def _owned(model: SourceModel) -> Iterator[tuple[Any, list[tuple[str, np.ndarray]]]]:
    """Yields every layer with its own numeric variables, each variable once, without states of random generators."""
    seen: set[int] = set()
    for layer in layers_of(model):
        variables = []
        for variable in _variables(layer):
            if id(variable) in seen or "seed_generator" in variable.name:
                continue
            seen.add(id(variable))
            array = np.asarray(variable)
            if array.dtype.kind in "biufcV":
                variables.append((_name(layer, variable), array))
        if getattr(layer, "lora_enabled", False):  # the layer computes with the sum of the stored weights
            variables.append((f"{layer.name}/kernel with LoRA", np.asarray(layer.kernel)))
        yield layer, variables


def _variables(layer: Any) -> Iterator[Any]:
    """Yields the layer's own variables, in Keras 2 or 3; without the tables of lookup layers, which have no dtype."""
    for names in (
        ("_trainable_variables", "_trainable_weights"),
        ("_non_trainable_variables", "_non_trainable_weights"),
    ):
        variables = next((found for name in names if (found := getattr(layer, name, None))), ())
        yield from (variable for variable in variables if hasattr(variable, "dtype"))


def _name(layer: Any, variable: Any) -> str:
    """Returns `layer/kernel`, with the layers around it in Keras 3."""
    path = getattr(variable, "path", "") or variable.name.partition(":")[0]
    return str(path) if "/" in path else f"{layer.name}/{path}"


def _statistics(layer: Any) -> dict[str, list[float]]:
    """Returns the statistics of a batch normalization of Keras 2 or 3; empty for any other layer."""
    if "BatchNormalization" not in {each.__name__ for each in type(layer).__mro__}:
        return {}
    statistics = {name: getattr(layer, name, None) for name in _STATISTICS}
    if statistics["moving_mean"] is None or statistics["moving_variance"] is None:
        return {}
    return {name: np.asarray(value, "float64").tolist() for name, value in statistics.items() if value is not None}


def _scales(layer: Any) -> Iterator[list[float]]:
    """Yields the vectors that a `Rescaling` or `Normalization` multiplies with; a single number is left out."""
    kinds = {each.__name__ for each in type(layer).__mro__}
    if "Rescaling" in kinds:
        yield from _vector(layer.scale)
    if "Normalization" in kinds and getattr(layer, "variance", None) is not None:
        yield from _vector(1.0 / np.maximum(np.sqrt(np.asarray(layer.variance, "float64")), _LEAST_DEVIATION))


def with_constants(source: SourceWeights, graph_def: Any) -> SourceWeights:
    """Adds the constant vectors of the traced graph to the source: the model's code may multiply with them.

    Args:
        source: the original's weights.
        graph_def: a lowered graph.
    """
    import tensorflow as tf

    nodes = [*graph_def.node, *(node for function in graph_def.library.function for node in function.node_def)]
    tensors = [node.attr["value"].tensor for node in nodes if node.op == "Const"]
    arrays = [tf.make_ndarray(tensor) for tensor in tensors if tf.as_dtype(tensor.dtype).is_floating]
    found = [vector for array in arrays for vector in _vector(array)]
    return replace(source, scales=(*source.scales, *(np.asarray(vector) for vector in found)))


def _vector(values: Any) -> Iterator[list[float]]:
    array = np.asarray(values)
    if 1 < array.size <= _LONGEST and max(array.shape) == array.size:
        yield array.astype("float64").reshape(-1).tolist()


def _normalization(layer: str, epsilon: float, statistics: Mapping[str, Sequence[float]]) -> Normalization:
    mean, variance = (np.asarray(statistics[name], "float64") for name in ("moving_mean", "moving_variance"))
    gamma = np.asarray(statistics.get("gamma", np.ones_like(mean)), "float64")
    inverse = gamma / np.sqrt(variance + epsilon)
    beta = np.asarray(statistics.get("beta", np.zeros_like(mean)), "float64")
    return Normalization(layer=layer, inverse=inverse, centre=mean * inverse, beta=beta)
