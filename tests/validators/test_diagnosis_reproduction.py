"""A reproduction folder shows the difference by itself: its script runs with the stock library and nothing of ours."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_inner_tensors import ROWS, onnx_file, tflite_file
from tfjs_graphs import dense

from validators.diagnosis.reproduction import ReproductionCase, write

PAGE = Path(__file__).parents[2] / "validators" / "web" / "page"
SUMMARY = 'layer `add` ("""Add""") is wrong'


def exhibit(kind, runtime, artifact, inputs, expected):
    return ReproductionCase(
        format=kind,
        runtime=runtime,
        artifact=artifact,
        what="the whole artifact",
        inputs=inputs,
        output="y",
        expected=expected,
        title=SUMMARY,
        versions={"numpy": np.__version__},
    )


def run(folder, *command, **environment):
    """The folder's script, without anything of paritygate in reach; gives the largest difference it prints."""
    done = subprocess.run(
        command, cwd=folder, env={"PATH": "", **environment}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1].split()[-1])


@pytest.mark.parametrize(
    "case",
    [
        ("onnx", "onnxruntime", onnx_file),
        ("tflite", "litert-xnnpack", tflite_file),
        ("tflite", "litert-reference", tflite_file),
    ],
    ids=lambda case: case[1],
)
@pytest.mark.parametrize("off", [0.0, 0.5])
def test_the_script_prints_how_far_the_artifact_is_off(case, off, tmp_path):
    kind, runtime, make = case
    (tmp_path / "artifact").mkdir()
    make(tmp_path / "artifact")
    expected = np.maximum(2 * ROWS, 0) + ROWS + np.float32(off)
    write(exhibit(kind, runtime, tmp_path / "artifact", {"x": ROWS}, expected), tmp_path / "repro", diagnosis=b"{}")
    assert "paritygate" not in (tmp_path / "repro" / "reproduce.py").read_text("utf-8")
    assert run(tmp_path / "repro", sys.executable, "-P", "reproduce.py") == off


@pytest.mark.parametrize("runtime", ["tfjs-cpu", "tfjs-wasm"])
def test_the_script_for_tfjs_runs_in_node(runtime, tmp_path):
    folder, _, function = dense(tmp_path / "artifact")
    rows = np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3)
    shown = exhibit("tfjs", runtime, folder, {"x": rows}, function(rows) + np.float32(0.25))
    write(shown, tmp_path / "repro", diagnosis=b"{}")
    node = shutil.which("node")
    assert node
    assert run(tmp_path / "repro", node, "reproduce.js", NODE_PATH=str(PAGE / "node_modules")) == pytest.approx(0.25)


def test_the_folder_has_what_an_upstream_issue_needs(tmp_path):
    (tmp_path / "artifact").mkdir()
    onnx_file(tmp_path / "artifact")
    shown = exhibit("onnx", "ort-web-webgpu", tmp_path / "artifact", {"x": ROWS}, ROWS)
    write(shown, tmp_path / "repro", diagnosis=b'{"verdict": "layer"}')
    files = {
        path.relative_to(tmp_path / "repro").as_posix() for path in (tmp_path / "repro").rglob("*") if path.is_file()
    }
    assert files == {
        "README.md",
        "artifact/model.onnx",
        "diagnosis.json",
        "expected.npy",
        "inputs/x.npy",
        "reproduce.py",
        "versions.json",
    }
    readme = (tmp_path / "repro" / "README.md").read_text("utf-8")
    assert f"numpy {np.__version__}" in readme
    assert "for which there is no script" in readme  # the script cannot run there, and says so
    assert json.loads((tmp_path / "repro" / "diagnosis.json").read_text("utf-8"))["verdict"] == "layer"
