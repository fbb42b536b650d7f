"""Job functions for the tests of the CUDA rows."""

import importlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any


def settings(request: dict[str, Any]) -> dict[str, Any]:
    """Job: loads a SavedModel for a device and tells what TensorFlow was asked for, on a machine with two cards."""
    from unittest import mock

    import numpy as np
    import tensorflow as tf

    from validators.runtimes import saved_model

    one, two = (mock.Mock(spec=["name"], name=name) for name in ("one", "two"))
    one.name, two.name = "card one", "card two"
    with (
        mock.patch.object(tf.config, "list_physical_devices", return_value=[one, two]),
        mock.patch.object(tf.config, "set_visible_devices") as visible,
        mock.patch.object(tf.config.experimental, "set_memory_growth") as growth,
        saved_model.load(Path(request["folder"]), None, request["device"], request["options"]) as runtime,
    ):
        runtime.infer({name: np.ones((2, 4), np.float32) for name in ("zeta", "alpha")})
        placement = runtime.placement
    return {
        "visible": [[[card.name for card in call.args[0]], call.args[1]] for call in visible.call_args_list],
        "growing": [[call.args[0].name, call.args[1]] for call in growth.call_args_list],
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "override": os.environ.get("NVIDIA_TF32_OVERRIDE"),
        "details": dict(placement.details),
    }


def planned_and_run(request: dict[str, Any]) -> dict[str, Any]:
    """Job: runs a model with a branch in ONNX Runtime; tells the plan and, by the profile, what ran."""
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, save

    def value(name: str, kind: int = TensorProto.FLOAT, shape: Any = None) -> Any:
        return helper.make_tensor_value_info(name, kind, shape)

    then = helper.make_graph([helper.make_node("Sin", ["m"], ["t"])], "then", [], [value("t")])
    other = helper.make_graph([helper.make_node("Sin", ["m"], ["e"])], "other", [], [value("e")])
    nodes = [
        helper.make_node("Tan", ["x"], ["m"]),
        helper.make_node("If", ["yes"], ["i"], then_branch=then, else_branch=other),
        helper.make_node("Shape", ["i"], ["s"]),
        helper.make_node("Expand", ["i", "s"], ["y"]),
    ]
    inputs = [value("x", shape=["n", 4]), value("yes", TensorProto.BOOL, [])]
    graph = helper.make_graph(nodes, "branch", inputs, [value("y")])
    folder = Path(request["folder"])
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(folder / "model.onnx")
    )

    from exporters.contract import Signature
    from validators.runtimes import ort

    feed = {"x": np.ones((2, 4), np.float32), "yes": np.array(True)}
    with ort.load(folder, Signature(inputs=(), outputs=()), "gpu", {}) as runtime:
        runtime.infer(feed)
        planned = dict(runtime.placement.fallbacks)
        falls_back = runtime._session._enable_fallback
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    session.run(None, feed)
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    ran = Counter(event["args"]["op_name"] for event in events if event.get("cat") == "Node")
    return {"planned": planned, "ran": ran, "falls_back": falls_back}


def environment(_request: dict[str, Any]) -> dict[str, str | None]:
    """Job: what it sees of its environment."""
    return {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "KERAS_BACKEND")}


def imports(request: dict[str, Any]) -> list[str]:
    """Job: imports modules of runtimes; tells which heavy packages that brought."""
    import sys

    for name in request["modules"]:
        importlib.import_module(name)
    return sorted({"tensorflow", "keras", "onnxruntime"} & set(sys.modules))
