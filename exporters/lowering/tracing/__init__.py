"""Traces a loaded model into flat graphs: `job` runs in a worker, `forms` names the forms, `trace` makes one graph.

`numeric_core` cuts the graph of a model whose text or tables are described by `exporters.preprocessing`.
"""
