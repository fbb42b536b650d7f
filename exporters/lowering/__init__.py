"""Traces the loaded model into a graph that every converter takes.

* `tracing`: traces the model once for each form (batch, recurrent layers), with its weights as constants.
* `rewrites`: one module for each construct that a target lacks; each names its upstream thread and can be removed.
* `graph`: the traced graph with its names. `rewrite_log`: records the applied rewrites. `patching`: replaces a function
  of TensorFlow in every module through which a Keras calls it.
"""
