"""Talks to Prefect. Nothing below this room imports it.

`release` and `validate` are flows; `tasks` runs the pipeline's stages as tasks. `server` runs the embedded server,
`submit` and `bundle` hand a model to another one through `storage`. `run_monitor`, `artifacts` and `approval` are what
a person sees in the UI. `model_concurrency` and `gpu_concurrency` keep runs apart, `remote_cells` has cells proven by
the workers of a pool.
"""
