"""Finds the first layer of a model that an artifact gets wrong, and the proof for it.

The steps of a diagnosis, in order:

* `inner_tensors` writes a copy of the artifact whose outputs are all its inner tensors (one module for each format).
* `tensor_capture` runs that copy in the cell's runtime and stores the tensors.
* `layer_recorder` runs the original layer by layer.
* `tensor_match` finds a layer's output among the artifact's tensors.
* `search` decides which layer is wrong (pure); `fused_layers` separates layers that the artifact computes in one
  operator. `layer_comparison` is the job that runs both.
* `submodel` isolates the suspect: cut out of the artifact, and exported again as a model.
* `reproduction` writes the folder for an upstream issue.
"""
