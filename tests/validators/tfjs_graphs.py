"""Hand-written TF.js graph models, for tests that need a known operator rather than a trained model."""

import json
from pathlib import Path

import numpy as np

from exporters.contract import Signature, TensorSpec

TYPES = {"float32": "DT_FLOAT", "int32": "DT_INT32", "int64": "DT_INT64", "bool": "DT_BOOL", "string": "DT_STRING"}


class Graph:
    """A TF.js graph model under construction; every node is a row of `model.json`."""

    def __init__(self):
        self.nodes, self.weights, self.inputs, self.outputs = [], {}, {}, {}

    def node(self, name, op, *inputs, **attributes):
        self.nodes.append({"name": name, "op": op, "input": list(inputs), "attr": attributes})
        return name

    def placeholder(self, name, dtype, *shape):
        dims = [{"size": str(-1 if size is None else size)} for size in shape]
        attributes = {"dtype": {"type": TYPES[dtype]}, "shape": {"shape": {"dim": dims}}}
        self.inputs[name] = {"name": f"{name}:0", "dtype": TYPES[dtype], "tensorShape": {"dim": dims}}
        return self.node(name, "Placeholder", **attributes)

    def const(self, name, array):
        self.weights[name] = array
        return self.node(name, "Const", dtype={"type": TYPES[array.dtype.name]})

    def output(self, key, tensor):
        self.outputs[key] = {"name": tensor}

    def write(self, folder: Path, shards: int = 2) -> Path:
        folder.mkdir()
        body = b"".join(array.tobytes() for array in self.weights.values())
        cut = -(-len(body) // shards) or 1
        paths = [f"group1-shard{i + 1}of{shards}.bin" for i in range(shards)]
        for index, path in enumerate(paths):
            (folder / path).write_bytes(body[index * cut : (index + 1) * cut])
        specs = [{"name": n, "shape": list(a.shape), "dtype": a.dtype.name} for n, a in self.weights.items()]
        model = {
            "format": "graph-model",
            "signature": {"inputs": self.inputs, "outputs": self.outputs},
            "modelTopology": {"node": self.nodes, "library": {}, "versions": {"producer": 1}},
            "weightsManifest": [{"paths": paths, "weights": specs}],
        }
        (folder / "model.json").write_text(json.dumps(model))
        return folder


def spec(name, dtype, *shape, native):
    return TensorSpec(name=name, dtype=dtype, shape=shape, native=native)


def signature(inputs, outputs):
    return Signature(inputs=tuple(inputs), outputs=tuple(outputs))


def dense(folder):
    """relu(x @ kernel + bias), weights in two shards."""
    rng = np.random.default_rng(1)
    kernel, bias = rng.normal(size=(3, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    graph = Graph()
    graph.placeholder("x", "float32", None, 3)
    graph.const("kernel", kernel)
    graph.const("bias", bias)
    graph.node("product", "MatMul", "x", "kernel", transpose_a={"b": False}, transpose_b={"b": False})
    graph.node("sum", "AddV2", "product", "bias")
    graph.node("Identity", "Relu", "sum")
    graph.output("y", "Identity:0")
    names = signature(
        [spec("x", "float32", None, 3, native="x:0")], [spec("y", "float32", None, 4, native="Identity:0")]
    )
    return graph.write(folder), names, lambda x: np.maximum(x @ kernel + bias, 0)
