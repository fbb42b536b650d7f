"""Writes artifacts: one module for each format, all with the same functions (`export`, `check`, `constants`).

`registry` lists every variant of every format; `job` runs one exporter in a worker process. `tfjs_fusions` and
`tfjs_stubs` hold the workarounds for TF.js' converter.
"""
