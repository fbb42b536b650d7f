"""The runtimes at their own edge: what they load, how they bind names, where they say they ran."""

from pathlib import Path

import numpy as np
import pytest

from validators.runtimes import litert, ort

pytestmark = pytest.mark.slow

TWINS = "tests.contract.more_models:twins"


@pytest.fixture
def proof(bench):
    return bench.proof(TWINS)


def load(module, proof, key, device="cpu", **options):
    artifact = proof.artifacts[key]
    return module.load(proof.release / artifact.path, artifact.signature, device, options)


LITE = [
    (ort, "onnx/default", {}),
    (litert, "tflite/dynamic", {"kernels": "xnnpack"}),
    (litert, "tflite/dynamic", {"kernels": "reference"}),
]


@pytest.mark.parametrize(("module", "key", "options"), LITE)
def test_one_load_takes_batches_of_any_size_in_any_order_and_binds_by_name(proof, module, key, options):
    random = np.random.default_rng(5)
    rows = {name: random.normal(size=(6, 4)).astype(np.float32) for name in ("zeta", "alpha")}
    with load(module, proof, key, **options) as runtime:
        whole = runtime.infer(rows)
        assert set(whole) == {"third", "first", "second"}
        for size in (4, 1, 6, 2):
            part = runtime.infer({name: rows[name][:size] for name in ("alpha", "zeta")})
            for name, array in part.items():
                assert array.shape == (size, 3)
                np.testing.assert_allclose(array, whole[name][:size], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("module", "key", "options"), LITE)
def test_what_a_call_returned_is_not_overwritten_by_the_next(proof, module, key, options):
    ones = {name: np.ones((2, 4), np.float32) for name in ("zeta", "alpha")}
    with load(module, proof, key, **options) as runtime:
        first = runtime.infer(ones)
        kept = {name: array.copy() for name, array in first.items()}
        runtime.infer({name: -array for name, array in ones.items()})
    assert all(np.array_equal(first[name], kept[name]) for name in kept)


def test_the_two_sets_of_kernels_of_litert_are_two(proof):
    placements = {}
    for kernels in ("xnnpack", "reference"):
        with load(litert, proof, "tflite/dynamic", kernels=kernels) as runtime:
            runtime.infer({name: np.ones((2, 4), np.float32) for name in ("zeta", "alpha")})
            placements[kernels] = runtime.placement
    assert int(placements["xnnpack"].details["delegate partitions"]) >= 1
    assert int(placements["reference"].details["delegate partitions"]) == 0


def test_unknown_kernels_are_an_error(proof):
    with pytest.raises(KeyError, match="xnnpak"), load(litert, proof, "tflite/dynamic", kernels="xnnpak"):
        pass


def test_onnx_runtime_may_use_nothing_but_the_provider_of_the_device(proof):
    with load(ort, proof, "onnx/default") as runtime:
        assert runtime._session.get_providers() == ["CPUExecutionProvider"]
        assert (runtime.placement.device, runtime.placement.adapter) == ("cpu", "CPUExecutionProvider")
        assert dict(runtime.placement.details) == {}


def test_onnx_runtime_asked_for_a_card_counts_every_operator_that_the_cpu_ran(proof, monkeypatch):
    ones = {name: np.ones((2, 4), np.float32) for name in ("zeta", "alpha")}
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "1")
    with load(ort, proof, "onnx/default") as on_cpu, load(ort, proof, "onnx/default", "gpu") as asked:
        assert asked.placement.device == "cpu"
        assert set(asked.placement.fallbacks) == {"Concat", "Gemm", "MatMul", "Tanh"}
        assert on_cpu.placement.fallbacks == {}
        expected, got = on_cpu.infer(ones), asked.infer(ones)
    assert all(np.array_equal(expected[name], got[name]) for name in expected)


def test_a_saved_model_runs_where_keras_cannot_be_imported(bench, proof):
    folder = Path(proof.release, proof.artifacts["saved_model/default"].path)
    told = bench.call("tests.validators.runtime_jobs:saved_model_without_keras", {"folder": str(folder)})
    assert told == {"keras": "ModuleNotFoundError", "outputs": ["first", "second", "third"], "keras_afterwards": True}
