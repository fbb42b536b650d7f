"""Job functions that lower and export with one of our rewrites left out.

The request says which: `without`, a rewrite of `exporters.lowering.tracing.trace` by its function's name, or a key of
`OTHERS`.
"""

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from unittest import mock

from exporters.formats.job import Exported, ExportRequest, export
from exporters.lowering.tracing.job import Lowered, LowerRequest, lower

OTHERS = {
    "unrolling": ("exporters.lowering.tracing.job._LONGEST_UNROLL", 0),
    "loops_over_tensors": ("exporters.lowering.tracing.trace.loops_over_tensors", lambda _loops: nullcontext()),
    "mixed_in_float32": ("exporters.lowering.tracing.trace.mixed_in_float32", lambda _model: nullcontext()),
    "grouped": ("exporters.formats.tfjs.split_grouped_convolutions", lambda graph: graph),
    "pad_in_numbers": ("exporters.formats.tfjs.pad_in_numbers", lambda graph: graph),
    "keep_zeros_out_of_pools": ("exporters.formats.onnx.keep_zeros_out_of_pools", lambda _graph: None),
    "elu_in_arithmetic": ("exporters.formats.tflite.elu_in_arithmetic", lambda graph: graph),
    "outputs_apart": ("exporters.formats.tflite._distinct_outputs", lambda outputs, _sources: dict(outputs)),
    "fusions": ("exporters.formats.tfjs.replace_unsupported_fusions", lambda _graph_def: None),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LowerWithout:
    request: LowerRequest
    without: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportWithout:
    request: ExportRequest
    without: str


def lower_without(request: LowerWithout) -> Lowered:
    with _left_out(request.without):
        return lower(request.request)


def export_without(request: ExportWithout) -> Exported:
    with _left_out(request.without):
        return export(request.request)


def _left_out(name: str) -> Any:
    from exporters.formats import (
        onnx,  # noqa: F401 - what is patched by name must be imported
        tfjs,  # noqa: F401 - what is patched by name must be imported
        tflite,  # noqa: F401 - what is patched by name must be imported
    )
    from exporters.lowering.tracing import trace

    if name in OTHERS:
        return mock.patch(*OTHERS[name])
    kept = tuple(rewrite for rewrite in trace._REWRITES if rewrite.__name__ != name)
    assert len(kept) == len(trace._REWRITES) - 1, f"there is no rewrite {name}"
    return mock.patch.object(trace, "_REWRITES", kept)
