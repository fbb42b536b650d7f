"""`paritygate sweep`: a whole shelf of models, one release for each, and one table of what came of them.

The way of a sweep: `shelf` finds the model files and gives each release its name, `ledger` knows which of them are
settled already, `engine` releases the others with a few shared processes, `states` turns each release into one state
per format, `ledger` writes `sweep.json` after every model, `progress` and `report` show it.
"""

from flows.sweep.engine import sweep
from flows.sweep.ledger import RECORD, Record, Sweep
from flows.sweep.progress import shown
from flows.sweep.report import render
from flows.sweep.states import FormatState, State, states_of

__all__ = ["RECORD", "FormatState", "Record", "State", "Sweep", "render", "shown", "states_of", "sweep"]
