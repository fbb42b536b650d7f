"""Lists the forms in which a model is traced: its batch, and the way its recurrent layers are written."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

Recurrence = Literal["loop", "known", "unrolled"]


RECURRENCES: tuple[Recurrence, ...] = get_args(Recurrence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Defines the settings of one trace.

    Attributes:
        batch: fixed length of the first axis; None keeps it free.
        recurrence: `loop` for all recurrent layers; `known`: a loop for LSTM, GRU and SimpleRNN, which the target has
            operators for, the others (ConvLSTM, custom cells) written out; `unrolled`: all written out. Only layers
            whose time axis is static and not too long can be written out; any other becomes a loop over plain
            tensors.
    """

    batch: int | None = None
    recurrence: Recurrence = "loop"


FORMS: Mapping[str, Form] = {
    "known": Form(recurrence="known"),  # ONNX: tf2onnx knows these three loops and writes others that no runtime loads
    "unrolled": Form(recurrence="unrolled"),  # TF Lite, TF.js: no loop that they would have to run
    "batch1": Form(batch=1),
}
