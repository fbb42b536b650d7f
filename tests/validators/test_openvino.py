"""OpenVINO at its own edge: three kinds of artifacts, bound by name, in float32, in batches of any size."""

from dataclasses import replace

import numpy as np
import pytest

from exporters.contract import Signature, TensorSpec
from exporters.errors import Broken, Limited
from validators.contract import Requirement
from validators.runtimes import openvino, ort
from validators.runtimes.registry import RUNTIMES

TWINS = "tests.contract.more_models:twins"
ROWS = [row for row in RUNTIMES if row.module is openvino]
every_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)


def test_it_runs_the_three_formats_that_it_reads_and_is_asked_for():
    assert [row.format for row in ROWS] == ["saved_model", "tflite", "onnx"]
    assert all(row.on_request and not row.required for row in ROWS)
    assert ROWS[2].requirement == Requirement(format="onnx", runtime="openvino-onnx", device="cpu")


def test_text_is_a_limit_with_its_thread(tmp_path):
    words = TensorSpec(name="words", dtype="string", shape=(None,), native="words")
    number = replace(words, name="y", dtype="float32")
    with (
        pytest.raises(Limited, match=r"no text.*: words \(openvino#20540\)"),
        openvino.load(tmp_path, Signature(inputs=(words,), outputs=(number,)), "cpu", {}),
    ):
        pass


@pytest.fixture
def proof(bench):
    return bench.proof(TWINS)


def artifact_of(proof, row):
    return next(a for key, a in proof.artifacts.items() if a.format == row.format)


@pytest.mark.slow
@every_row
def test_it_agrees_with_onnx_runtime_in_batches_of_any_size(proof, row):
    random = np.random.default_rng(5)
    rows = {name: random.normal(size=(6, 4)).astype(np.float32) for name in ("zeta", "alpha")}
    artifact, other = artifact_of(proof, row), proof.artifacts["onnx/default"]
    with ort.load(proof.release / other.path, other.signature, "cpu", {}) as runtime:
        expected = runtime.infer(rows)
    with openvino.load(proof.release / artifact.path, artifact.signature, "cpu", row.options) as runtime:
        for size in (4, 1, 6, 2):
            found = runtime.infer({name: rows[name][:size] for name in ("alpha", "zeta")})
            assert set(found) == {"third", "first", "second"}
            for name, array in found.items():
                np.testing.assert_allclose(array, expected[name][:size], rtol=1e-5, atol=1e-6)
        placement = runtime.placement
    assert (placement.device, placement.adapter) == ("cpu", "CPU")
    assert placement.details == {"inference precision": "f32"}


@pytest.mark.slow
@every_row
def test_a_tensor_that_the_model_lacks_is_named(proof, row):
    artifact = artifact_of(proof, row)
    if row.format == "tflite":
        pytest.skip("the names are those of the file's own signature")
    lost = replace(artifact.signature.outputs[0], native="lost")
    signature = replace(artifact.signature, outputs=(lost, *artifact.signature.outputs[1:]))
    folder = proof.release / artifact.path
    with pytest.raises(Broken, match=r"no tensor \w+ \(lost\)"), openvino.load(folder, signature, "cpu", row.options):
        pass


@pytest.mark.slow
@every_row
def test_its_cell_passes_like_any_other(bench, proof, row):
    cell = bench.cell(proof.release, artifact_of(proof, row), row)
    assert (cell.status, cell.placement.runtime.split()[0]) == ("passed", "openvino"), cell.message
