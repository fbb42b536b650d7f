"""The digits model goes through every cell that a machine without a card can run; the CUDA cells say what they lack."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from validators.hardware.graphics_cards import cards

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"
NINE = {
    "tfjs/default tfjs-webgl gpu": "WebGL",
    "tfjs/default tfjs-webgpu gpu": "WebGPU",
    "onnx/default ort-web-webgpu gpu": "WebGPU",
    "tflite/batch1 litert-webgpu gpu": "WebGPU",
    "tflite/batch1 litertjs-webgpu gpu": "WebGPU",
    "tfjs/default tfjs-wasm cpu": "wasm",
    "tfjs/default tfjs-cpu cpu": "cpu",
    "onnx/default ort-web-wasm cpu": "wasm",
    "tflite/batch1 litertjs-wasm cpu": "wasm",
}
CUDA = {
    "original/default keras gpu",
    "saved_model/default tensorflow gpu",
    "onnx/default onnxruntime gpu",
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    out = tmp_path_factory.mktemp("digits") / "digits.release"
    command = [sys.executable, "-m", "flows.cli", "release", str(DIGITS / "digits.keras"), "-o", str(out)]
    given = ["--samples", str(DIGITS / "samples.npz"), "--no-prefect", "--json"]
    done = subprocess.run([*command, *given], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def cells(manifest):
    return {f"{c['format']}/{c['variant']} {c['runtime']} {c['device']}": c for c in manifest["cells"]}


@pytest.mark.slow
@pytest.mark.parametrize("key", NINE)
def test_every_gpu_and_web_cell_that_needs_no_card_of_nvidia_passes_over_all_samples(manifest, cells, key):
    cell = cells[key]
    assert (cell["status"], cell["message"]) == ("passed", "")
    place = cell["placement"]
    assert place["device"] == cell["device"]
    assert place["adapter"].startswith(NINE[key])
    rows = {s["name"]: s["rows"] for s in manifest["samples"] if s["batch"] == 1 or "batch1" not in key}
    assert cell["rows"] == sum(rows.values())
    assert {diff["sample_set"] for diff in cell["diffs"]} == set(rows)


@pytest.mark.slow
@pytest.mark.skipif(bool(cards()), reason="this machine has an NVIDIA card")
def test_the_cuda_cells_are_there_and_say_how_to_get_them(cells):
    for key in CUDA:
        assert cells[key]["status"] == "unavailable"
        assert "paritygate verify RELEASE_DIR --device gpu --attest" in cells[key]["message"]
