"""Finds the layer that a failed cell's artifact gets wrong: `paritygate diagnose`.

`target` finds the release, the cell and the model. `investigation` decides what to run next, `experiments` runs it.
`failing_call`, `isolated_layer` and `prefix_bisection` are its steps. `result` defines the record of what was found,
`display` prints it.
"""

from flows.diagnose.display import render
from flows.diagnose.investigation import diagnose
from flows.diagnose.result import Diagnosis
from flows.diagnose.target import ModelLoading

__all__ = ["Diagnosis", "ModelLoading", "diagnose", "render"]
