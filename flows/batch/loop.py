"""Loops over models for `sweep`, `nightly` and `fleet`; an engine's two functions release them.

Engines: threads of this process (`sweep_run`), tasks of a Prefect flow (`nightly`), workers of a pool (`fleet`).
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

_Model = TypeVar("_Model")
_Run = TypeVar("_Run", bound=Hashable)
_End = TypeVar("_End")


@dataclass(frozen=True, slots=True)
class EndedModel(Generic[_End]):
    """Holds the end of a model that needs no run, or whose run is over already."""

    end: _End


def work_through(
    models: Sequence[_Model],
    *,
    start: Callable[[_Model], _Run | EndedModel[_End]],
    ended: Callable[[Sequence[_Run]], Mapping[_Run, _End]] = lambda _: {},
    at_once: int = 1,
) -> Iterator[tuple[_Model, _End]]:
    """Releases models in their order, and yields each with its end as soon as that is known.

    Args:
        models: two of them may share a run, when their files are equal; both get its end.
        start: starts the run of one model; a failure to start is an end too.
        ended: waits a moment and returns those of the runs that have ended by then.
        at_once: the most runs at one time.
    """
    waiting = deque(models)
    under_way: dict[_Run, list[_Model]] = {}
    while waiting or under_way:
        while waiting and len(under_way) < at_once:
            model = waiting.popleft()
            begun = start(model)
            if isinstance(begun, EndedModel):
                yield model, begun.end
            else:
                under_way.setdefault(begun, []).append(model)
        if under_way:
            for run, end in ended(tuple(under_way)).items():
                for model in under_way.pop(run):
                    yield model, end
