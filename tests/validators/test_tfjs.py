"""TF.js graph models in a real Chromium, on hand-written graphs: what comes back is compared with NumPy."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from exporters.contract import Signature, TensorSpec
from exporters.errors import BadInput, Broken
from validators.runtimes import tfjs
from validators.web.browser import BrowserHost, find_chromium
from validators.web.session import PACKAGES, open_session

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


@pytest.fixture(scope="module")
def host():
    if find_chromium() is None or not PACKAGES.is_dir():
        pytest.fail("these tests need Chromium and the browser packages: run `make setup`")
    with BrowserHost() as started:
        yield started


@pytest.fixture(params=["wasm", "cpu"])
def options(request, host):
    return {"backend": request.param, "endpoint": host.endpoint()}


@pytest.fixture
def run(options):
    def run_once(folder, names, inputs):
        with tfjs.load(folder, names, "cpu", options) as runtime:
            return runtime.infer(inputs), runtime.placement

    return run_once


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


@pytest.mark.slow
def test_both_backends_agree_with_numpy_at_several_batch_sizes_and_say_where_they_ran(tmp_path, options):
    folder, names, expected = dense(tmp_path / "model")
    rng = np.random.default_rng(2)
    with tfjs.load(folder, names, "cpu", options) as runtime:
        for batch in (1, 2, 5):
            x = rng.normal(size=(batch, 3)).astype(np.float32)
            found = runtime.infer({"x": x})
            assert list(found) == ["y"]
            assert found["y"].dtype == np.float32
            np.testing.assert_allclose(found["y"], expected(x), rtol=1e-6, atol=1e-6)
        placement = runtime.placement
    assert placement.device == "cpu"
    assert placement.runtime == "tfjs 4.22.0"
    assert re.fullmatch(r"(wasm \(SIMD, \d+ threads?\)|cpu), Chromium \d+", placement.adapter)
    assert placement.adapter.startswith(options["backend"])
    assert placement.details["call"] == "execute"
    assert ("binary" in placement.details) == (options["backend"] == "wasm")
