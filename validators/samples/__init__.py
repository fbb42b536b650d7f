"""Provides the samples of a release: the user's own rows, and rows that are generated so that faults show.

* `user_samples`: the user's `.npz` or folder of `.npy`, checked against the model's inputs before anything is exported.
* `sample_sets`: the sets there are, their batches and their lengths of dynamic axes.
* `input_domains`: the range that each input's values come from, as the loaded model implies it (`lookup_tables` finds
  the tables that an input is looked up in; `value_ranges` holds the ranges).
* `generated`: the arrays of a set. `tensor_files`: arrays as files. `feeding`: a whole set through a runtime.
"""

from validators.samples.generated import WORDS, generate
from validators.samples.sample_sets import misfit, plan, sequences, static_shapes
from validators.samples.user_samples import UserSamples, check_samples, fixed_batch, read_samples

__all__ = [
    "WORDS",
    "UserSamples",
    "check_samples",
    "fixed_batch",
    "generate",
    "misfit",
    "plan",
    "read_samples",
    "sequences",
    "static_shapes",
]
