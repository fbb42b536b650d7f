"""The export layer: from one stored Keras model to artifacts. Knows nothing of validation or of Prefect.

A tour, in the order the data goes:

* `admission` looks at the file before any framework sees it, and refuses what is damaged or needs code.
* `keras_model` loads it, `names` gives its tensors their canonical names.
* `lowering` traces it into flat graphs.
* `saved_model`, `tflite`, `tfjs`, `onnx`: one exporter each, one row each in `registry`; `limits` explains what a
  target cannot express.
* `store` hashes and places what they wrote; `contract` holds the records that cross the border; `errors` what can
  go wrong.
* `isolation` runs every one of these jobs (`jobs`) in a bounded process of its own.
"""
