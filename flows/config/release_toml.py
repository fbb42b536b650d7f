"""Reads `release.toml` and turns mistakes in it into sentences.

In: the file, and pydantic's errors about its values. Out: nested values, and a sentence for every mistake.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from exporters.errors import BadInput
from exporters.source.readers.weights_with_architecture import builder_file, is_builder
from flows.config.policy import unknown


def read(config: Path) -> dict[str, Any]:
    """Reads the values of the file and makes its paths relative to it.

    Raises:
        BadInput: it cannot be read, or is not valid TOML.
    """
    try:
        values = tomllib.loads(config.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--config {config}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"--config {config}: not valid TOML: {error}") from error
    _anchor(values, config.parent)
    return values


def _anchor(values: dict[str, Any], folder: Path) -> None:
    """Makes the file's own paths relative to the file."""
    for section, key in ((values, "model"), (values, "output"), (values, "baseline"), (values.get("samples"), "path")):
        if isinstance(section, dict) and isinstance(section.get(key), str):
            section[key] = str(folder / section[key])
    samples = values.get("samples")
    if isinstance(samples, dict) and isinstance(metric := samples.get("metric"), str) and builder_file(metric):
        samples["metric"] = str(folder / metric)
    architecture = values.get("architecture")
    if isinstance(architecture, str) and (not is_builder(architecture) or builder_file(architecture)):
        values["architecture"] = str(folder / architecture)
    objects = values.get("custom_objects")
    if isinstance(objects, list):
        values["custom_objects"] = [str(folder / o) if str(o).endswith(".py") else o for o in objects]


def merge(values: dict[str, Any], overrides: Mapping[str, Any]) -> None:
    """Puts the overrides that are not None on top of the values, section by section."""
    for key, value in overrides.items():
        if isinstance(value, Mapping):
            section = values.setdefault(key, {})
            if isinstance(section, dict):  # anything else in a section's place is refused when it is validated
                merge(section, value)
        elif value is not None:
            values[key] = value


def faults(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Builds a sentence for every mistake: the key, what was got, what is valid, the near match."""
    return [_fault(fault, model) for fault in error.errors(include_url=False)]


def _fault(fault: Any, model: type[BaseModel]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"]).lstrip(".")
    if fault["type"] == "extra_forbidden":
        return unknown("key", path, _valid_keys(model, fault["loc"][:-1]), prefix=".".join(map(str, fault["loc"][:-1])))
    if fault["type"] == "model_type":
        keys = ", ".join(_valid_keys(model, fault["loc"]))
        return f"{path}: got {fault['input']!r}, valid is a section [{path}] with {keys}"
    message = fault["msg"].removeprefix("Value error, ")
    got = f", got {fault['input']!r}" if fault["type"] != "value_error" and fault["type"] != "missing" else ""
    return f"{path}: {message}{got}" if path else message


def _valid_keys(model: type[BaseModel], section: Sequence[str | int]) -> Sequence[str]:
    inner: Any = model
    for part in section:
        inner = get_args(inner)[0] if isinstance(part, int) else inner.model_fields[part].annotation
    return tuple(inner.model_fields)


def spelled_shape(shape: Any) -> Any:
    """Parses a shape such as `?,32,32,3` into a list; TOML has no null for a free axis."""
    axes = shape.split(",") if isinstance(shape, str) else shape
    if not isinstance(axes, Sequence):
        return shape
    return [_axis(axis) for axis in axes]


def _axis(axis: Any) -> Any:
    text = axis.strip() if isinstance(axis, str) else axis
    return None if text in ("?", "None", "none") else text
