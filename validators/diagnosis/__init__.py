"""Diagnosis: which layer of a model is the first that an artifact gets wrong, and what shows it.

The way of a diagnosis: `opened` writes a copy of the artifact whose outputs are all the tensors inside it (one module
for each format: `open_onnx`, `open_tflite`, `open_tfjs`, `open_saved_model`), `taps` runs that copy in the cell's own
runtime, `tape` runs the original layer by layer, `match` finds a layer's output among the artifact's tensors, `search`
decides (pure), `shares` tells layers apart that the artifact computes in one operator. Then `part` makes the suspect
alone: cut out of the artifact, and exported anew. `reproduction` writes what goes to an upstream issue.
"""
