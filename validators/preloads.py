"""Lists the modules that each fork server imports before jobs fork from it.

In: nothing. Out: `preloaded_modules()`. TensorFlow and Keras take seconds to import, the light runtimes half a second
each; a fork takes milliseconds. There are two servers because a machine that only validates has no TensorFlow, and
because the cells of the light runtimes must not find it loaded.
"""

from collections.abc import Mapping
from importlib.util import find_spec

TENSORFLOW = "tensorflow"
LIGHT = "runtimes"

_LIGHT = ("ai_edge_litert.interpreter", "ai_edge_litert.compiled_model", "onnxruntime", "websockets.sync.client")


def preloaded_modules() -> Mapping[str, tuple[str, ...]]:
    """Returns name of the fork server -> its modules; a runtime that is not installed is left out."""
    light = tuple(module for module in _LIGHT if find_spec(module.partition(".")[0]) is not None)
    # Our job modules are listed too, so that a forked process has nothing left to import. Those of the cells bring the
    # registry, which brings the module of every runtime.
    return {
        TENSORFLOW: (
            "exporters.jobs.preload_tensorflow",
            "exporters.formats.job",
            "exporters.lowering.tracing.job",
            "validators.cells.job",
            "validators.reference.noise_floor",
        ),
        LIGHT: ("validators.cells.job", *light),
    }
