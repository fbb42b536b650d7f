"""The one loop over models, behind `sweep`, `nightly` and `fleet`; an engine's two functions release them.

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
class Ended(Generic[_End]):
    """The end of a model that needs no run, or whose run is over already."""

    end: _End


def work_through(
    models: Sequence[_Model],
    *,
    start: Callable[[_Model], _Run | Ended[_End]],
    ended: Callable[[Sequence[_Run]], Mapping[_Run, _End]] = lambda _: {},
    at_once: int = 1,
) -> Iterator[tuple[_Model, _End]]:
    """Releases models in their order, and yields each with its end as soon as that is known.

    Args:
        models: two of them may be one run, as files with equal content are; both get its end.
        start: begins with one model; its failure is an end too.
        ended: waits a moment and returns those of the runs that have ended by then.
        at_once: how many runs are under way at most.
    """
    waiting = deque(models)
    under_way: dict[_Run, list[_Model]] = {}
    while waiting or under_way:
        while waiting and len(under_way) < at_once:
            model = waiting.popleft()
            begun = start(model)
            if isinstance(begun, Ended):
                yield model, begun.end
            else:
                under_way.setdefault(begun, []).append(model)
        if under_way:
            for run, end in ended(tuple(under_way)).items():
                for model in under_way.pop(run):
                    yield model, end
