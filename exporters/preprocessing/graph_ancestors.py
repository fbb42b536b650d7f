"""What comes before a tensor in a graph.

In: tensors of a TensorFlow graph. Out: the operators that they are computed from.
"""

from collections.abc import Iterable, Iterator
from typing import Any


def upstream(tensors: Iterable[Any]) -> Iterator[Any]:
    """All operators that tensors depend on, their own among them."""
    seen: set[str] = set()
    pending = [tensor.op for tensor in tensors]
    while pending:
        operator = pending.pop()
        if operator.name not in seen:
            seen.add(operator.name)
            yield operator
            pending += [tensor.op for tensor in operator.inputs]
