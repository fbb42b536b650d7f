"""A model of many large shards loads: more of them than a browser opens connections."""

import json

import numpy as np
import pytest

from exporters.contract import Signature, TensorSpec
from validators.runtimes import tfjs
from validators.web.browser import BrowserHost

SHARDS, SHARD = 12, 4 << 20


def node(name, op, inputs=(), shape=()):
    attr = {"dtype" if op == "Placeholder" else "T": {"type": "DT_FLOAT"}}
    if op == "Placeholder":
        attr["shape"] = {"shape": {"dim": [{"size": str(n)} for n in shape]}}
    return {"name": name, "op": op, "input": list(inputs), "attr": attr}


@pytest.mark.slow
def test_more_large_shards_than_connections_load(tmp_path):
    length = SHARDS * SHARD // 4
    tensor = {"name": "x:0", "dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": "1"}]}}
    model = {
        "format": "graph-model",
        "signature": {"inputs": {"x": tensor}, "outputs": {"y": tensor | {"name": "y:0"}}},
        "modelTopology": {
            "versions": {"producer": 1},
            "node": [
                node("x", "Placeholder", shape=[1]),
                node("y", "Identity", ["x"]),
            ],
        },
        "weightsManifest": [
            {
                "paths": [f"shard{i}.bin" for i in range(SHARDS)],
                "weights": [
                    {"name": "w", "shape": [length], "dtype": "float32"},
                ],
            }
        ],
    }
    raw = np.zeros(length, np.float32).tobytes()
    for i in range(SHARDS):
        (tmp_path / f"shard{i}.bin").write_bytes(raw[i * SHARD : (i + 1) * SHARD])
    (tmp_path / "model.json").write_text(json.dumps(model))
    signature = Signature(
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1,), native="x:0"),),
        outputs=(TensorSpec(name="y", dtype="float32", shape=(1,), native="y:0"),),
    )
    with BrowserHost() as browser:
        options = {"backend": "wasm", "endpoint": browser.endpoint()}
        with tfjs.load(tmp_path, signature, "cpu", options) as runtime:
            assert runtime.infer({"x": np.ones(1, np.float32)})["y"].tolist() == [1.0]
