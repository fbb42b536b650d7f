"""Admission: what a `.keras` file is and asks for, before any framework is imported.

The file comes from anywhere, so nothing in it is believed. It is read with the standard library and h5py only, in a
bounded child process (`exporters.admission.job`), and what passes may go to Keras:

1. `examine(path)` proves that the archive is well formed and returns what it declares, a `ModelFacts`.
   `archive` checks the zip, `strict_json` its texts, `config` what the configuration asks for, `signature` the inputs
   and outputs, `weights` the sizes of what is stored.
2. `admit(facts, custom_objects=..., trust_lambda=...)` decides whether this user allows that much.
   `allow_list` knows what is Keras' own.
3. `check_weights(path)` reads every weight: all finite, nothing damaged.

All three raise `exporters.errors.BadInput`, which names the member or the layer.
"""

from exporters.admission.admit import admit
from exporters.admission.examine import check_weights, examine
from exporters.admission.facts import CodeNeed, LambdaNeed, ModelFacts, Refusal

__all__ = ["CodeNeed", "LambdaNeed", "ModelFacts", "Refusal", "admit", "check_weights", "examine"]
