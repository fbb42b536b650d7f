"""Compares every constant of an artifact with the source's weights, without running anything.

`source_weights` records the original's weights, while the reference has it loaded. Each exporter module reads back
what its artifact stores (`constants`). `match` finds each source weight there: bit by bit in a `layouts` of the format
(`exact_matches`), folded with a normalization (`folding`, `batch_norm_constants`) or added to others (`weight_sums`).
A constant that is close to a source weight (`similarity`), or at the place of another one (`swapped_weights`), is a
difference.
"""
