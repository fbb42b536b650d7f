"""Job functions for `tests/contract/test_zoo.py`."""

from collections.abc import Mapping
from typing import Any
from unittest import mock


def lower_under_a_small_limit(request: Mapping[str, Any]) -> dict[str, Any]:
    """Lowers as `exporters.lowering.tracing.job.lower` does, where one protocol buffer holds `limit` bytes."""
    from exporters.lowering.tracing import job, trace

    with mock.patch.object(trace, "_PROTO_LIMIT", request["limit"]):
        return job.lower(request)
