"""Imports the TF.js converter with empty modules in place of packages that it imports and never calls here.

tensorflowjs 4.22 imports decision forests, TensorFlow Hub, JAX and tf_keras at the top of its modules; decision forests
pins TensorFlow 2.19, so installing them would hold everything else back, and tf_keras, which is installed, takes half a
second. `paritygate setup` installs tensorflowjs without them. Removable when tensorflowjs imports them where it uses
them; its last release is 4.22.
"""

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

from exporters.errors import Broken
from exporters.installation import setup_command

_UNUSED = (
    "tf_keras",
    "tensorflow_decision_forests",
    "tensorflow_hub",
    "jax",
    "jax.experimental",
    "jax.experimental.jax2tf",
)


def conversion_module() -> Any:
    """Imports `tensorflowjs.converters.tf_saved_model_conversion_v2` while empty modules replace unused packages.

    Only the converter's modules keep the empty modules: a later `import tf_keras` gets the real package.

    Raises:
        Broken: tensorflowjs is not installed.
    """
    if importlib.util.find_spec("tensorflowjs") is None:
        raise Broken("the TF.js converter is not installed", next_step=f"`{setup_command()}` installs it.")
    import keras  # noqa: F401 - first: Keras has an optional import of `jax` and would take the empty module for it

    # A package that is imported already stays as it is.
    stubs = {name: ModuleType(name) for name in _UNUSED if name not in sys.modules}
    for name, stub in stubs.items():
        sys.modules[name] = stub
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, stub)
    try:
        return importlib.import_module("tensorflowjs.converters.tf_saved_model_conversion_v2")
    finally:
        for name in stubs:
            del sys.modules[name]
