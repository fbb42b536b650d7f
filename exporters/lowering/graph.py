"""Holds a lowered graph: one flat GraphDef with its weights as constants, and the names of its inputs and outputs.

In: the graph from `exporters.lowering.tracing`, or the folder that an earlier job saved. Out: the same, for converters.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.contract import Signature
from exporters.lowering.rewrite_log import record_rewrite

if TYPE_CHECKING:  # every module of a format imports this one, and the command line all of these
    from exporters.preprocessing.description import Preprocessing

_GRAPH = "graph.pb"
_SIGNATURE = "signature.json"
_REWRITES = "rewrites.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Holds a frozen TensorFlow graph, its signature and the steps before it.

    Attributes:
        graph_def: the `GraphDef`; weights are `Const` nodes.
        signature: canonical names; `native` is the tensor in the graph, `node:0`.
        rewrites: names of the rewrites that were applied while it was traced (`exporters.lowering.rewrite_log`).
        preprocessing: the steps from the model's inputs to the graph's, where the graph is the core of a split model.
    """

    graph_def: Any
    signature: Signature
    rewrites: tuple[str, ...] = ()
    preprocessing: "Preprocessing | None" = None

    def save(self, folder: Path) -> None:
        """Writes the graph and its signature into a new folder."""
        from pydantic import TypeAdapter

        folder.mkdir(parents=True)
        (folder / _GRAPH).write_bytes(self.graph_def.SerializeToString(deterministic=True))
        (folder / _SIGNATURE).write_bytes(TypeAdapter(Signature).dump_json(self.signature, indent=1))
        (folder / _REWRITES).write_text(json.dumps(self.rewrites), "utf-8")
        if self.preprocessing:
            self.preprocessing.write(folder)

    @classmethod
    def read(cls, folder: Path) -> "Graph":
        """Reads the folder that `save` wrote, and records the rewrites of its trace again."""
        from pydantic import TypeAdapter
        from tensorflow.core.framework import graph_pb2

        graph_def = graph_pb2.GraphDef.FromString((folder / _GRAPH).read_bytes())
        signature = TypeAdapter(Signature).validate_json((folder / _SIGNATURE).read_bytes())
        rewrites = tuple(json.loads((folder / _REWRITES).read_text("utf-8")))
        for name in rewrites:
            record_rewrite(name)
        return cls(graph_def=graph_def, signature=signature, rewrites=rewrites)

    def imported(self) -> Any:
        """Imports the graph as a `tf.Graph`; a function of it would take ten times as long to build."""
        import tensorflow as tf

        imported = tf.Graph()
        with imported.as_default():
            tf.graph_util.import_graph_def(self.graph_def, name="")
        return imported
