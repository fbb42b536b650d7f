"""Lists what belongs to Keras: the names in a configuration that may reach Keras without the user's code.

In: `keras_classes.txt` and `keras2_classes.txt` in this folder. Out: `origin`, which tells of a (kind, module, name)
whether Keras owns it, only claims to, or the user does. Keras itself is never imported to answer.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from exporters.source.keras_version import Generation

LISTS: Mapping[Generation, Path] = {
    2: Path(__file__).with_name("keras2_classes.txt"),
    3: Path(__file__).with_name("keras_classes.txt"),
}
INTERNAL = "keras.src"

SPECIAL = frozenset(
    {
        "__bytes__",
        "__ellipsis__",
        "__keras_tensor__",
        "__numpy__",
        "__slice__",
        "__tensor__",
        "__tuple__",
        "__typespec__",
    }
)
"""Plain data that Keras writes as if it were an object. `__lambda__`, which is code, is not among them."""

REFUSED = {
    "TFSMLayer": "runs a SavedModel from another folder, which is no part of this file",
    "TorchModuleWrapper": "unpickles a PyTorch module, which runs code",
    "JaxLayer": "runs a JAX function that the file does not hold",
    "FlaxLayer": "runs a Flax module that the file does not hold",
    "ReloadedLayer": "runs a SavedModel from another folder, which is no part of this file",
    "TensorFlowOpLayer": "runs a raw TensorFlow operation, which may read and write files",
    "DenseFeatures": "computes feature columns, which may read files",
    "SequenceFeatures": "computes feature columns, which may read files",
    "ClassMethod": "calls a method of TensorFlow by its name",
    "InstanceMethod": "calls a method of a tensor by its name",
    "InstanceProperty": "reads an attribute of a tensor by its name",
}
"""Classes of Keras that bring another framework's code or files along, and why no option allows them."""

PLAIN_DATA: Mapping[Generation, frozenset[str]] = {2: frozenset({"__bytes__", "__numpy__", "__tensor__"}), 3: SPECIAL}
"""The names that each Keras reads as data. `__typespec__` makes tf_keras import the module that it names."""

Origin = Literal["keras", "spoofed", "custom"]


@cache
def _listed(generation: Generation) -> frozenset[tuple[str, str, str]]:
    lines = LISTS[generation].read_text("utf-8").splitlines()
    return frozenset((kind, module, name) for kind, module, name in (s.split() for s in lines if not s.startswith("#")))


@cache
def _names(generation: Generation, kind: str) -> frozenset[str]:
    return frozenset(name for listed, _, name in _listed(generation) if listed == kind)


def origin(kind: Literal["class", "function"], module: str | None, name: str, *, generation: Generation = 3) -> Origin:
    """Finds out who owns a class or function.

    Args:
        kind: what the configuration calls it.
        module: the module it names; None when it names none; "" for the old style without modules, where Keras
            looks the name up among its own.
        name: the class's or function's name.
        generation: of the Keras that reads the configuration.

    Returns:
        `keras` for a name in the list; `spoofed` for a name that claims a module of Keras and is not in the list; else
        `custom`.
    """
    if module == "" or (kind, module) == ("function", "builtins"):  # how Keras writes functions known by bare name
        return "keras" if name in _names(generation, kind) else "custom"
    if module is None:
        return "custom"
    if generation == 2:  # noqa: PLR2004 - tf_keras writes its own name instead of keras
        module = module.removeprefix("tf_") if module.split(".")[0] == "tf_keras" else module
    elif module == INTERNAL or module.startswith(f"{INTERNAL}."):
        module = INTERNAL
    if (kind, module, name) in _listed(generation):
        return "keras"
    return "spoofed" if module.split(".")[0] == "keras" else "custom"


def is_activation(name: str, *, generation: Generation = 3) -> bool:
    """Tells whether a bare string names one of Keras' activation functions."""
    return ("function", "keras.activations", name) in _listed(generation)


def is_operation(name: str) -> bool:
    """Tells whether a name is that of a TensorFlow function which computes on tensors and does nothing else."""
    return ("operation", "tensorflow", name) in _listed(2)
