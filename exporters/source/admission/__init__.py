"""Finds out what a stored model is and asks for, before any framework is imported.

The files come from anywhere, so nothing in them is trusted. They are read with the standard library and h5py only, in
a bounded child process (`exporters.source.admission.job`), and what passes may go to Keras:

1. `examine(path)` proves that the files are well formed and returns what they declare, a `ModelFacts`.
   `exporters.source.readers` open the file; `config` checks what the configuration asks for, `declared_signature` the
   inputs and outputs, `weight_check` the sizes of what is stored.
2. `admit(facts, custom_objects=..., trust_lambda=...)` decides whether this user allows that much.
   `allow_list` lists what belongs to Keras.
3. `check_weights(path)` reads every weight: all finite, nothing damaged.

All three raise `exporters.errors.BadInput`, which names the member or the layer.
"""

from exporters.source.admission.decision import admit
from exporters.source.admission.examination import check_weights, examine
from exporters.source.facts import CodeNeed, ModelFacts

__all__ = ["CodeNeed", "ModelFacts", "admit", "check_weights", "examine"]
