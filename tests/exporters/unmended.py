"""Job functions that lower and export as `exporters.jobs` does, with one of our rewrites left out.

The request says which: `without`, a rewrite of `exporters.lowering.trace` by its function's name, or a key of `OTHERS`.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from unittest import mock

OTHERS = {
    "unrolling": ("exporters.jobs._LONGEST_UNROLL", 0),
    "loops_over_tensors": ("exporters.lowering.trace.loops_over_tensors", lambda _loops: nullcontext()),
    "mixed_in_float32": ("exporters.lowering.trace.mixed_in_float32", lambda _model: nullcontext()),
    "grouped": ("exporters.tfjs.split_grouped_convolutions", lambda graph: graph),
    "pad_in_numbers": ("exporters.tfjs.pad_in_numbers", lambda graph: graph),
    "keep_zeros_out_of_pools": ("exporters.onnx.keep_zeros_out_of_pools", lambda _graph: None),
    "elu_in_arithmetic": ("exporters.tflite.elu_in_arithmetic", lambda graph: graph),
    "outputs_apart": ("exporters.tflite._apart", lambda outputs, _sources: dict(outputs)),
    "fusions": ("exporters.tfjs.mend_fusions", lambda _graph_def: None),
}


def lower(request: Mapping[str, Any]) -> dict[str, Any]:
    from exporters import jobs

    with _left_out(request["without"]):
        return jobs.lower(request)


def export(request: Mapping[str, Any]) -> dict[str, Any]:
    from exporters import jobs

    with _left_out(request["without"]):
        return jobs.export(request)


def _left_out(name: str) -> Any:
    from exporters import onnx, tfjs, tflite  # noqa: F401 - what is patched by name must be imported
    from exporters.lowering import trace

    if name in OTHERS:
        return mock.patch(*OTHERS[name])
    kept = tuple(rewrite for rewrite in trace._REWRITES if rewrite.__name__ != name)
    assert len(kept) == len(trace._REWRITES) - 1, f"there is no rewrite {name}"
    return mock.patch.object(trace, "_REWRITES", kept)
