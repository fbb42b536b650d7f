"""Finds the operators that tensors of a TensorFlow graph are computed from."""

from collections.abc import Iterable, Iterator
from typing import Any


def upstream(tensors: Iterable[Any]) -> Iterator[Any]:
    """Yields all operators that tensors depend on, including those that compute them."""
    seen: set[str] = set()
    pending = [tensor.op for tensor in tensors]
    while pending:
        operator = pending.pop()
        if operator.name not in seen:
            seen.add(operator.name)
            yield operator
            pending += [tensor.op for tensor in operator.inputs]
