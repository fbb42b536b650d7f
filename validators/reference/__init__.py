"""The reference: what the original answers over every sample set, and how far its own rounding goes.

`job` computes it in Keras, float32 on the CPU. `usable_sets` drops the sets that cannot serve as evidence,
`output_variation` measures how far outputs vary. `noise_floor` computes the same in float64, over `extra_rows` too.
"""
