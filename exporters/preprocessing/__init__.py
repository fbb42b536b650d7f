"""Describes exactly what a model does to text and tables before its numeric core, and runs it without Keras.

No target but SavedModel has text or lookup tables. Such a model is split at the last operator that needs them:

* `call_recorder` records the calls of preprocessing layers while the model is traced.
* `graph_split` finds the tensors that the numeric core starts from, through `graph_ancestors`.
* `layers` and `operators` (with `literal_patterns`) describe the computation of these tensors as `steps`, through a
  `step_builder`. `description` is the file that ships with the core.
* `interpreter` runs it with Python and NumPy only, hashes included (`string_hashing`).
* `verification` compares the interpreter with the model's own half over `trial_inputs` before anything is exported.
* `vocabularies` tells which entries a model knows, so that samples contain them.
"""
