"""The samples of a release: what the user brings, and what is drawn so that faults show.

* `given`: the user's `.npz` or folder of `.npy`, checked against the model's inputs before anything is exported.
* `sets`: which sample sets there are, in which batches and at which lengths of dynamic axes.
* `domains`: from what a loaded model says of its inputs, the range that each is drawn from; `ranges` holds the ranges.
* `drawn`: the arrays of a set.
"""

from validators.samples.generated import WORDS, generate
from validators.samples.sample_sets import SEEDED_BATCHES, misfit, plan, sequences, static_shapes
from validators.samples.user_samples import UserSamples, check_samples, fixed_batch, read_samples

__all__ = [
    "SEEDED_BATCHES",
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
