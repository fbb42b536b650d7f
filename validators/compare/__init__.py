"""Compares tensors. Pure: no I/O, no clock, no logging.

`outputs` compares all outputs of a call: names first, then each tensor. `tolerance` decides how far each may differ
from the reference, `distances` measures, `error_histogram` and `top_k` describe the errors, `task_metric` measures the
user's own task.
"""
