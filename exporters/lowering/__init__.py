"""Lowering: from the model to a graph that every converter takes.

`trace` runs the model's inference once, symbolically, with its weights as constants, and writes a `Graph`: a GraphDef
with canonical inputs and outputs. `xla` leaves out the wrappers that converters refuse. The forms a model is lowered
into (free or fixed batch, recurrent layers as a loop or written out) are rows of `exporters.formats.registry.FORMS`.
"""
