"""Parses the JSON object that describes a model, as Keras' older writers and `to_json` write it.

In: its bytes, from an HDF5 attribute, a `model.json` or a SavedModel's metadata. Out: the configuration that `survey`
walks and Keras builds from.
"""

from typing import Any

from exporters.source import strict_json

_OUTER = ("keras_version", "backend")
"""Keys that `to_json` of Keras 2 adds to the class and its configuration."""


def parse(where: str, data: bytes) -> dict[str, Any]:
    """Returns the JSON object in the text.

    Raises:
        BadInput: see `exporters.source.strict_json.parse_object`.
    """
    strict_json.check_size(where, len(data))
    return strict_json.parse_object(where, data)


def described(parsed: dict[str, Any]) -> dict[str, Any]:
    """Returns the model's own part, with a Sequential's layers where all later versions store them.

    Up to Keras 2.2.2 the configuration of a Sequential was the bare list of its layers.
    """
    model = {key: value for key, value in parsed.items() if key not in _OUTER}
    if isinstance(model.get("config"), list):
        model["config"] = {"name": "sequential", "layers": model["config"]}
    for layer in _layers(model):
        if isinstance(layer, dict) and isinstance(layer.get("config"), list):
            layer.update(described(layer))
    return model


def _layers(model: dict[str, Any]) -> list[Any]:
    config = model.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    return layers if isinstance(layers, list) else []
