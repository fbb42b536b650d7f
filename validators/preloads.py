"""Lists the modules that each preloaded process imports; jobs fork from these processes.

In: nothing. Out: `preloaded_modules()`. TensorFlow and Keras take seconds to import, light runtimes half a second; a
fork takes milliseconds. There are two processes because a machine that only validates has no TensorFlow, and because
the cells of the light runtimes must not find TensorFlow loaded.
"""

from collections.abc import Mapping
from importlib.util import find_spec

TENSORFLOW = "tensorflow"
LIGHT = "runtimes"

_LIGHT = ("ai_edge_litert.interpreter", "ai_edge_litert.compiled_model", "onnxruntime", "websockets.sync.client")


def preloaded_modules() -> Mapping[str, tuple[str, ...]]:
    """Returns the modules of each preloaded process; a runtime that is not installed is left out."""
    light = tuple(module for module in _LIGHT if find_spec(module.partition(".")[0]) is not None)
    # Our job modules are listed too, so that a forked process has nothing left to import.
    return {
        TENSORFLOW: (
            "exporters.jobs.preload_tensorflow",
            "exporters.formats.job",
            "exporters.lowering.tracing.job",
            "validators.cells.job",
            "validators.reference.noise_floor",
        ),
        LIGHT: (
            "validators.cells.job",
            "validators.runtimes.litert",
            "validators.runtimes.litert_gpu",
            "validators.runtimes.litertjs",
            "validators.runtimes.ort",
            "validators.runtimes.ort_web",
            "validators.runtimes.tfjs",
            *light,
        ),
    }
