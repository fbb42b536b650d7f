"""Bisects for the shortest prefix of the model whose new export fails.

In: one call's inputs and the experiments. Out: the layer from which on new exports fail. This finds what the artifact's
own tensors do not show: a runtime that goes wrong only where it fuses, or an artifact that does not run at all.
"""

from collections.abc import Callable
from dataclasses import dataclass

from flows.diagnose.experiments import Experiments
from flows.diagnose.failing_call import FailingCall
from flows.diagnose.isolated_layer import Reexport, try_reexport
from validators.diagnosis.contract import Call, Part


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPrefix:
    """Records the model from its inputs up to one call, exported again."""

    call: Call
    part: Part
    reexport: Reexport


def first_failing_prefix(
    experiments: Experiments, failing: FailingCall, run_step: Callable[[str, Callable[[], Reexport]], Reexport]
) -> ModelPrefix | str:
    """Returns the shortest prefix that fails, or a sentence that says why there is none.

    Args:
        experiments: exports and runs.
        failing: the call whose inputs are fed.
        run_step: runs one new export under a name that a person sees.
    """
    calls = experiments.layer_calls(failing.inputs)
    tried: dict[int, ModelPrefix] = {}

    def fails(number: int) -> bool:
        call = calls[number]
        part = experiments.cut_part(failing.inputs, [call.number], until=True)
        reexport = run_step(f"a new export up to {call.layer}", lambda: try_reexport(experiments, part))
        tried[number] = ModelPrefix(call=call, part=part, reexport=reexport)
        return reexport.wrong

    if not calls:
        return "the model has no layers that are called one by one"
    low, high = 0, len(calls) - 1
    if not fails(high):
        refused = tried[high].part.refused
        agrees = "a new export up to the last layer agrees: today's exporter makes another artifact of this model"
        return f"the model was not exported again: {refused}" if refused else agrees
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fails(middle) else (middle + 1, high)
    return tried[low]
