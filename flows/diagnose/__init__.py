"""`paritygate diagnose`: which layer a failed cell's artifact gets wrong.

The way of it: `subject` finds the release, the cell and the model; `laboratory` runs jobs on them; `investigation`
decides what to run next; `record` is what came of it and `display` how a person reads it.
"""

from flows.diagnose.display import render
from flows.diagnose.investigation import diagnose
from flows.diagnose.result import Diagnosis

__all__ = ["Diagnosis", "diagnose", "render"]
