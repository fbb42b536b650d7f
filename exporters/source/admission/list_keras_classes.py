"""Writes `keras_classes.txt`, the list of what belongs to Keras, from the installed Keras.

In: the installed Keras. Out: the list on stdout; run it by hand when the supported Keras moves and read the difference:

    KERAS_BACKEND=tensorflow python -m exporters.source.admission.list_keras_classes >
    exporters/source/admission/keras_classes.txt

What is listed: every class that a model's configuration may name, under each public name that Keras' loader or the
older versions of its writer use, every function that Keras' loader finds by its bare name, and every saveable class
below `keras.src`. What is not: loaders, downloaders, callbacks, data sets, and the layers that `allow_list.REFUSED`
names, which bring code or files of another framework along.
"""

import importlib
import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any

from exporters.source.admission.allow_list import REFUSED

CLASS_MODULES = (
    "keras",
    "keras._legacy.layers",
    "keras._legacy.losses",
    "keras.constraints",
    "keras.dtype_policies",
    "keras.initializers",
    "keras.layers",
    "keras.losses",
    "keras.metrics",
    "keras.models",
    "keras.optimizers",
    "keras.optimizers.schedules",
    "keras.quantizers",
    "keras.random",
    "keras.regularizers",
)
"""Public modules whose classes describe models."""

FUNCTION_MODULES = (
    "keras.activations",
    "keras.constraints",
    "keras.initializers",
    "keras.losses",
    "keras.metrics",
    "keras.regularizers",
)
"""Public modules whose functions a configuration may name (keras.src.saving.serialization_lib.BUILTIN_MODULES)."""

_LOADERS = {"deserialize", "get", "serialize"}
_SINGLE = (("class", "keras.utils", "FeatureSpace"),)
"""Single classes of modules that hold other things too."""


def _members(module: str) -> Iterator[tuple[str, Any]]:
    """Yields the module's public attributes where it can be imported, and what Keras registered under its name."""
    from keras.src.api_export import REGISTERED_NAMES_TO_OBJS

    for name, value in REGISTERED_NAMES_TO_OBJS.items():
        parent, _, own = name.rpartition(".")
        if parent == module:
            yield own, value
    if "._legacy" not in module:  # registered names only; nothing to import
        yield from vars(importlib.import_module(module)).items()


def _public() -> Iterator[tuple[str, str, str]]:
    for module in CLASS_MODULES:
        yield from (
            ("class", module, name)
            for name, value in _members(module)
            if isinstance(value, type) and hasattr(value, "from_config")
        )
    for module in FUNCTION_MODULES:
        yield from (
            ("function", module, name)
            for name, value in _members(module)
            if isinstance(value, FunctionType) and name not in _LOADERS and not name.startswith("_")
        )
    yield from _SINGLE


def _saveable(base: type) -> Iterator[type]:
    children: list[type] = base.__subclasses__()
    for child in children:
        yield child
        yield from _saveable(child)


def _internal() -> Iterator[tuple[str, str, str]]:
    """Yields operations and layers that Keras writes under their private module, which moves between versions."""
    from keras.src.saving.keras_saveable import KerasSaveable

    base: type = KerasSaveable
    for child in _saveable(base):
        if child.__module__.startswith("keras.src."):
            yield "class", "keras.src", child.__name__


def rows() -> list[str]:
    """Returns the lines of the list: `class|function MODULE NAME`, sorted."""
    found = {row for row in (*_public(), *_internal()) if row[2] not in REFUSED}
    return [" ".join(row) for row in sorted(found)]


def main() -> None:
    """Prints the list with its header."""
    keras: ModuleType = importlib.import_module("keras")
    sys.stdout.write(
        f"# Keras {keras.__version__}, by exporters/source/admission/list_keras_classes.py: KIND MODULE NAME\n"
    )
    sys.stdout.write("# The module keras.src stands for every module below it.\n")
    sys.stdout.writelines(f"{row}\n" for row in rows())


if __name__ == "__main__":
    main()
