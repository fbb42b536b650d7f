"""Reads the inputs and outputs that a model's configuration declares, under canonical names.

In: the parsed `config.json`. Out: specs of the inputs and names of the outputs, or None where they are known only once
the model is built (subclassed models, a Sequential that never saw data).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from exporters.contract import TensorSpec
from exporters.source.keras_version import Generation
from exporters.tensor_names import TreePath, canonical, display_path

_COMPUTE_DTYPE = {"mixed_float16": "float16", "mixed_bfloat16": "bfloat16"}
_FRESH_NAME: Mapping[Generation, str] = {2: "{first}_input", 3: "input_layer"}
"""What Keras calls the first input that it adds itself, before a first layer of this name."""

Config = dict[str, Any]


def inputs(model: Config, *, generation: Generation = 3) -> tuple[TensorSpec, ...] | None:
    """Returns the inputs of a Functional model or a Sequential one whose input shape was saved; else None.

    Args:
        model: the configuration.
        generation: of the Keras that reads it.
    """
    layers = _layers(model)
    if "input_layers" in model["config"]:
        by_name = {_name(layer): layer for layer in layers}
        found = [
            (path, own, _input_spec(by_name.get(own, {}))) for path, own in _leaves(model["config"]["input_layers"])
        ]
    elif layers and model["class_name"] == "Sequential":
        found = [((), *_sequential_input(model, layers[0], generation))]
    else:
        return None
    names = canonical([(path, own) for path, own, _ in found])
    specs = [
        TensorSpec(name=name, dtype=spec[0], shape=spec[1], path=display_path(path))
        for name, (path, _, spec) in zip(names, found, strict=True)
        if spec is not None
    ]
    return tuple(specs) if specs and len(specs) == len(found) else None


def output_names(model: Config) -> tuple[str, ...] | None:
    """Returns the names of the outputs of a Functional or Sequential model; else None."""
    layers = _layers(model)
    if "output_layers" in model["config"]:
        return canonical(list(_leaves(model["config"]["output_layers"]))) or None
    if layers and model["class_name"] == "Sequential":
        return canonical([((), _name(layers[-1]))])
    return None


def _layers(model: Config) -> list[Config]:
    layers = model["config"].get("layers")
    return [layer for layer in layers if isinstance(layer, dict)] if isinstance(layers, list) else []


def _config(layer: Config) -> Config:
    config = layer.get("config")
    return config if isinstance(config, dict) else {}


def _name(layer: Config) -> str:
    return str(_config(layer).get("name", layer.get("name", "")))


def _leaves(structure: Any, path: TreePath = ()) -> Iterator[tuple[TreePath, str]]:
    """Yields the tensors of a structure of `[layer, node, tensor]` triples, a dict's in the order of its keys."""
    if isinstance(structure, dict):
        for key in sorted(structure):
            yield from _leaves(structure[key], (*path, key))
    elif isinstance(structure, list):
        if len(structure) > 1 and isinstance(structure[0], str) and isinstance(structure[1], int):
            yield path, structure[0]
        else:
            for index, item in enumerate(structure):
                yield from _leaves(item, (*path, index))


def _input_spec(layer: Config) -> tuple[str, tuple[int | None, ...]] | None:
    """Reads (dtype, shape) of an InputLayer, written by Keras 3 or 2."""
    config = _config(layer)
    return _spec(config.get("dtype"), config.get("batch_shape", config.get("batch_input_shape")))


def _sequential_input(
    model: Config, first: Config, generation: Generation
) -> tuple[str, tuple[str, tuple[int | None, ...]] | None]:
    if first.get("class_name") == "InputLayer":
        return _name(first), _input_spec(first)
    name = _FRESH_NAME[generation].format(first=_name(first))
    if first.get("class_name") in {"Functional", "Sequential"} and isinstance(first.get("config"), dict):
        within = inputs(first, generation=generation) or ()
        return name, (within[0].dtype, within[0].shape) if len(within) == 1 else None
    build = model.get("build_config")
    shape = build.get("input_shape") if isinstance(build, dict) else None
    if generation == 2:  # noqa: PLR2004 - which says it in two other places as well
        shape = shape or model["config"].get("build_input_shape") or _config(first).get("batch_input_shape")
    return name, _spec(_config(first).get("dtype", "float32"), shape)


def shape_missing(model: Config, *, generation: Generation = 3) -> bool:
    """Tells whether a Sequential cannot be built because its configuration states no input shape."""
    return model["class_name"] == "Sequential" and inputs(model, generation=generation) is None


def _spec(dtype: Any, shape: Any) -> tuple[str, tuple[int | None, ...]] | None:
    if isinstance(dtype, dict):  # a serialized dtype policy
        dtype = _config(dtype).get("name")
    if isinstance(shape, dict):  # a tuple or a TensorShape, as the older writers put it
        shape = shape.get("items")
    if not isinstance(dtype, str) or not isinstance(shape, list):
        return None
    if not all(axis is None or (isinstance(axis, int) and not isinstance(axis, bool)) for axis in shape):
        return None
    return _COMPUTE_DTYPE.get(dtype, dtype), tuple(shape)
