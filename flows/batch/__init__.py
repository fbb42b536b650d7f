"""Releases many models: `paritygate sweep`, and the Prefect flows `nightly`, `fleet` and `watch`.

`loop` is the one loop over models. A sweep runs it without Prefect: `flows.config.model_folder` finds the models,
`sweep_record` reads from `sweep.json` which models need no release and records all others, `sweep_run` releases them on
threads of this process, `outcomes` turns each release into one state per format, `sweep_display` and `sweep_report`
show them. `loop_in_prefect` does the same for `nightly` (in the flow's own process) and `fleet` (on the workers of a
pool). `watch` releases the best checkpoint of a training run; `checkpoints` finds it, `watch_record` records it.
"""

from flows.batch.outcomes import FormatState, states_of
from flows.batch.sweep_display import shown
from flows.batch.sweep_record import RECORD, Sweep, SweptModel
from flows.batch.sweep_report import render
from flows.batch.sweep_run import sweep

__all__ = ["RECORD", "FormatState", "Sweep", "SweptModel", "render", "shown", "states_of", "sweep"]
