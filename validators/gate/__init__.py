"""The gate: all cells and artifacts in, one verdict out. It fails closed, and it is pure.

`verdict.judge` decides. Its reasons come from `weight_reasons` (stored weights), `evidence_quality` (weak evidence, the
task metric), `regressions` (the baseline) and `consistency` (records that contradict each other). `waivers` and
`approvals` are what people decided about them.
"""
