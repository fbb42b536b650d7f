"""`paritygate diagnose` on real artifacts with one wrong layer: it names the layer and shows it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.diagnose import ONNX, XNNPACK, Faults
from flows.pipeline.run import Shared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def faults(bench):
    folder = bench.folder / "diagnose"
    folder.mkdir()
    shared = Shared(fork_servers=bench.workers._fork_servers, browser=bench.browser, cores=3, memory=8 << 30)
    return Faults(folder, shared, formats=("onnx", "tflite"))


def difference(folder):
    """What the stand-alone script prints, run without paritygate to be found."""
    done = subprocess.run(
        [sys.executable, "-P", "reproduce.py"], cwd=folder, capture_output=True, text=True, check=True, env={"PATH": ""}
    )
    return float(done.stdout.splitlines()[-1].split()[-1])


def test_a_batch_norm_folded_into_a_convolution_is_told_from_it(faults, tmp_path):
    found = faults.diagnosed("cnn", "norm1", "one variance +0.3", XNNPACK, tmp_path / "repro")
    assert (found.verdict, found.suspects[0].layer) == ("layer", "norm1")
    assert {suspect.layer for suspect in found.suspects} == {"conv1", "norm1", "relu1"}
    assert any("alone and fed the original's own inputs, is off" in text for text in found.confirmed)
    assert any("exported anew, the layer alone agrees" in text for text in found.confirmed)
    assert {switch.status for switch in found.switches} == {"failed"}
    script = (found.reproduction / "reproduce.py").read_text("utf-8")
    assert "paritygate" not in script
    assert difference(found.reproduction) > 1e-3 * np.abs(np.load(found.reproduction / "expected.npy")).max()


def test_the_command_names_the_layer_and_leaves_the_release_alone(faults, call, tmp_path):
    wrong = faults.planted("cnn", "conv2", "transposed kernel", ONNX)
    before = {path: path.read_bytes() for path in wrong.rglob("*") if path.is_file()}
    model = faults.model("cnn")
    code, out, _ = call("diagnose", wrong, ONNX, "--model", model, "-o", tmp_path / "repro", "--json")
    found = json.loads(out)
    assert (code, found["verdict"], [s["layer"] for s in found["suspects"]]) == (0, "layer", ["conv2"])
    assert {path: path.read_bytes() for path in wrong.rglob("*") if path.is_file()} == before
    assert difference(tmp_path / "repro") > 1e-2
    assert {path.name for path in (tmp_path / "repro").iterdir()} >= {"layer.keras", "artifact", "README.md"}


def test_a_cell_that_passes_says_so(faults, call, tmp_path):
    model, target = faults.model("cnn"), tmp_path / "repro"
    code, out, _ = call("diagnose", faults.release("cnn"), ONNX, "--model", model, "-o", target)
    assert (code, out.partition("  ")[0]) == (0, "AGREES")
    assert not target.exists()


def test_an_artifact_that_does_not_load_is_told_from_a_converter_that_breaks(faults, tmp_path):
    wrong = faults.planted("cnn", "conv2", "transposed kernel", ONNX)
    (wrong / "artifacts/onnx/default/model.onnx").write_bytes(b"no model")
    found = faults.diagnose(wrong, "cnn", ONNX, tmp_path / "repro")
    assert (found.status, found.verdict) == ("errored", "unknown")
    assert any("a new export up to the last layer agrees" in text for text in found.inferred)
