"""The preloaded processes that jobs fork from: what each imports once.

In: nothing. Out: `hosts()`. TensorFlow and Keras take seconds to import, the light runtimes half a second each; a
fork takes milliseconds. The two are apart because a machine that only validates has no TensorFlow, and because the
cells of the light runtimes must not find it loaded.
"""

from collections.abc import Mapping
from importlib.util import find_spec

TENSORFLOW = "tensorflow"
LIGHT = "runtimes"

_LIGHT = ("ai_edge_litert.interpreter", "ai_edge_litert.compiled_model", "onnxruntime", "websockets.sync.client")


def hosts() -> Mapping[str, tuple[str, ...]]:
    """Modules by host; a runtime that is not installed is left out."""
    light = tuple(module for module in _LIGHT if find_spec(module.partition(".")[0]) is not None)
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
