"""Job functions for `tests/contract/test_zoo.py`."""

from dataclasses import dataclass
from unittest import mock

from exporters.lowering.tracing.job import Lowered, LowerRequest, lower


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallLimit:
    request: LowerRequest
    limit: int


def lower_under_a_small_limit(request: SmallLimit) -> Lowered:
    """Lowers where one protocol buffer holds `limit` bytes."""
    from exporters.lowering.tracing import trace

    with mock.patch.object(trace, "_PROTO_LIMIT", request.limit):
        return lower(request.request)
