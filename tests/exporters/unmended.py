"""Job functions that lower and export as `exporters.jobs` does, with one of our rewrites left out: what it is there for.

The request says which: `without`, a key of `REWRITES`.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any
from unittest import mock

REWRITES = {
    "xla": ("exporters.lowering.trace.xla_wrappers_inlined", nullcontext),
    "signbit": ("exporters.lowering.trace.signbit_in_arithmetic", nullcontext),
    "addition": ("exporters.lowering.trace.additions_as_written", nullcontext),
    "unrolling": ("exporters.jobs._LONGEST_UNROLL", 0),
    "grouped": ("exporters.tfjs.split_grouped_convolutions", lambda graph: graph),
    "fusions": ("exporters.tfjs.mend_fusions", lambda _graph_def: None),
}


def lower(request: Mapping[str, Any]) -> dict[str, Any]:
    from exporters import jobs

    with mock.patch(*REWRITES[request["without"]]):
        return jobs.lower(request)


def export(request: Mapping[str, Any]) -> dict[str, Any]:
    from exporters import jobs, tfjs  # noqa: F401 - what is patched must be there

    with mock.patch(*REWRITES[request["without"]]):
        return jobs.export(request)
