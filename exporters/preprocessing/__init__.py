"""Preprocessing: what a model does to text and tables before its numeric core, described exactly and run without Keras.

No target but SavedModel has text or lookup tables. Such a model is split at the last operator that needs them:

`tape` notes the calls of preprocessing layers while the model is traced; `split` finds the tensors that the numeric
core starts from; `layers` and `glue` (with `patterns`) write down how they come about, as `steps`, through a `writer`;
`description` is the file that ships beside the core; `interpreter` runs it with Python and NumPy alone, hashes included
(`hashes`); `proof` holds the interpreter against the model's own half over `probes` before anything is exported.
`words` says what a model knows, for samples that mean something to it.
"""
