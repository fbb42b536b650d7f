"""Computes the reference: the original's answers over every sample set, and its rounding error.

`job` computes it in Keras, float32 on the CPU. `usable_sets` drops the sets that cannot serve as evidence,
`output_variation` measures how far outputs vary. `noise_floor` computes the same in float64, over `extra_rows` too.
"""
