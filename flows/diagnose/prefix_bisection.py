"""Beginnings of the model, exported anew: bisected for the first that fails.

In: one call's inputs and the laboratory. Out: the layer from which on new exports fail. For what the artifact's own
tensors do not show: a runtime that goes wrong only where it fuses, an artifact that does not run at all.
"""

from collections.abc import Callable
from dataclasses import dataclass

from flows.diagnose.experiments import Laboratory
from flows.diagnose.failing_call import Sampled
from flows.diagnose.isolated_layer import Trial, try_anew
from validators.diagnosis.contract import Call, Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Beginning:
    """The model from its inputs up to one call, exported anew."""

    call: Call
    part: Part
    trial: Trial


def first_failing(
    laboratory: Laboratory, sampled: Sampled, told: Callable[[str, Callable[[], Trial]], Trial]
) -> Beginning | str:
    """The first beginning that fails, or why none is named.

    Args:
        laboratory: exports and runs.
        sampled: what is fed.
        told: runs one trial under a name that a person sees.
    """
    calls = laboratory.calls(sampled.inputs)
    tried: dict[int, Beginning] = {}

    def fails(number: int) -> bool:
        call = calls[number]
        part = laboratory.part(sampled.inputs, [call.number], until=True)
        trial = told(f"a new export up to {call.layer}", lambda: try_anew(laboratory, part))
        tried[number] = Beginning(call=call, part=part, trial=trial)
        return trial.wrong

    if not calls:
        return "the model has no layers that are called one by one"
    low, high = 0, len(calls) - 1
    if not fails(high):
        refused = tried[high].part.refused
        agrees = (
            "a new export up to the last layer agrees: the artifact is not what the exporter makes of the model today"
        )
        return f"the model was not exported anew: {refused}" if refused else agrees
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle + 1, high)
    return tried[low]
