"""Exports one stored Keras model to artifacts. Knows nothing of validation or of Prefect.

The folders; each imports only those listed before it:

* `contract`, `errors`, `tensor_names`, `target_limits`, `toolchain`, `installation`, `process_lifetime`: records,
  errors and tables that every room uses.
* `files`: hashes files, and places them in one step.
* `jobs`: runs a function in a bounded process, and returns its end as a typed result.
* `source`: reads, admits and loads a stored model (Keras 2 and 3).
* `preprocessing`: describes what a model does to text and tables, and runs it without Keras.
* `lowering`: traces the model into one flat graph that every converter takes.
* `weights`: compares an artifact's constants with the source's weights.
* `formats`: one module for each format, and the registry that lists them.
"""

__distribution__ = "paritygate"
