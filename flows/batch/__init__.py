"""`paritygate sweep`: a whole shelf of models, one release for each, and one table of what came of them.

The way of a sweep: `shelf` finds the model files and gives each release its name, `ledger` knows which of them are
settled already, `engine` releases the others with a few shared processes, `states` turns each release into one state
per format, `ledger` writes `sweep.json` after every model, `progress` and `report` show it.
"""

from flows.batch.outcomes import FormatState, State, states_of
from flows.batch.sweep_display import shown
from flows.batch.sweep_record import RECORD, Record, Sweep
from flows.batch.sweep_report import render
from flows.batch.sweep_run import sweep

__all__ = ["RECORD", "FormatState", "Record", "State", "Sweep", "render", "shown", "states_of", "sweep"]
