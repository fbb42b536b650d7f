"""Decides about a release: all cells and artifacts in, one verdict out. The gate fails closed, and it is pure.

`verdict.judge` decides. Its reasons come from `checked_cells` (each cell by itself), `weight_reasons` (stored weights),
`evidence_quality` (weak evidence, the task metric), `regressions` (the baseline) and `consistency` (records that
contradict each other). `waivers` and `approvals` apply the decisions of people to these reasons.
"""
