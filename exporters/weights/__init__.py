"""The weights themselves: every constant of an artifact held against the source's weights, without running anything.

`source` notes what the original holds, while the reference has it loaded. Each exporter module reads back what its
artifact stores (`constants`). `match` finds each source weight there: bit by bit in a `layouts` of the format, or
folded with a normalization (`folding`). What is close to a source weight and not it, is a difference.
"""
