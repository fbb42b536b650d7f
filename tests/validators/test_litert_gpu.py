"""TF Lite on LiteRT's WebGPU accelerator, on a card where this machine has one, else on Chromium's SwiftShader."""

import os
import shutil
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import TypeAdapter

from exporters.contract import Signature, TensorSpec
from exporters.errors import Broken, Unavailable
from validators.hardware import vulkan
from validators.preloads import LIGHT
from validators.runtimes import litert, litert_gpu
from validators.runtimes.litert_log import UNNAMED, native_log, parse_log
from validators.runtimes.registry import runtime as row_of

TWINS = "tests.contract.more_models:twins"

SELECTED = (
    "I0000 environment.cc:532] Selected adapter: NVIDIA H200, arch=hopper, vendor=nvidia, backend=Vulkan, "
    "adapterType=Discrete GPU"
)
REFUSED = """ERROR: Following operations are not supported by GPU delegate:
GATHER: Only support 1D indices
WHILE: Operation is not supported.
3 operations will run on the GPU, and the remaining 5 operations will run on the CPU.
"""


def load(proof, key):
    artifact = proof.artifacts[key]
    return litert_gpu.load(proof.release / artifact.path, artifact.signature, "gpu", {})


@contextmanager
def reference(proof, key):
    artifact = proof.artifacts[key]
    with litert.load(proof.release / artifact.path, artifact.signature, "cpu", {"kernels": "reference"}) as loaded:
        yield loaded


def batch_of(signature, rows, seed=5):
    random = np.random.default_rng(seed)
    shapes = {spec.name: (rows, *spec.shape[1:]) for spec in signature.inputs}
    return {
        spec.name: random.integers(0, 9, shapes[spec.name]).astype(spec.dtype)
        if spec.dtype.startswith("int")
        else random.normal(size=shapes[spec.name]).astype(spec.dtype)
        for spec in signature.inputs
    }


def agree(found, expected):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


class Compiled:
    """What LiteRT's CompiledModel tells of itself; a run computes nothing."""

    def __init__(self, *, fully):
        self._fully = fully

    def create_input_buffer_by_name(self, _key, _name):
        return SimpleNamespace(write=lambda _bytes: None)

    def resize_input_tensor_by_name(self, _key, _name, _shape):
        pass

    def run_by_name(self, _key, _feeds, _results):
        pass

    def close(self):
        pass

    def is_fully_accelerated(self):
        return self._fully

    def get_input_tensor_details(self, _key):
        return {"x": {"dtype": "float32", "shape": [1, 4]}}

    def get_output_tensor_details(self, _key):
        return {}


def fake(*logs, fully=(False,)):
    """A runtime that hears these logs, one after the other, and of which each compile is accelerated as told."""
    models, heard = iter(fully), iter(logs)
    return litert_gpu.LiteRtGpuRuntime(
        lambda: Compiled(fully=next(models)), lambda: next(heard), SimpleNamespace(enforce_f32=True)
    )


def ran(runtime, *rows):
    for count in rows:
        runtime.infer({"x": np.ones((count, 4), np.float32)})
    return runtime.placement


def test_the_log_names_the_adapter_and_what_stayed_on_the_cpu_and_counts_the_unnamed():
    told = parse_log(f"INFO: x\n{SELECTED}\n{REFUSED}I0000 more\n{REFUSED}")
    assert (told.adapter, told.backend, told.kind) == ("NVIDIA H200", "Vulkan", "Discrete GPU")
    assert told.accelerated == 6
    assert told.fallbacks == {"GATHER": 2, "WHILE": 2, UNNAMED: 6}


def test_only_what_stands_between_the_refusal_and_the_count_is_an_operator():
    around = "INFO: created\nWARNING: slow\n"
    told = parse_log(
        f"{around}{REFUSED}{around}0 operations will run on the GPU, and the remaining 2 operations will run on"
    )
    assert told.fallbacks == {"GATHER": 1, "WHILE": 1, UNNAMED: 5}
    assert parse_log(around).accelerated is None


NOTHING = "No operations will run on the GPU, and all 7 operations will run on the CPU."


def test_the_place_is_that_of_every_compile_that_ran():
    assert ran(fake(SELECTED, "", "", "", fully=(True, True)), 1, 2).device == "gpu"
    assert ran(fake(SELECTED, "", "", "", fully=(True, False)), 1, 2).device == "cpu"
    later = ran(fake(SELECTED, "", REFUSED, "", fully=(True, False)), 1, 2)
    assert (later.device, later.fallbacks) == ("gpu", {"GATHER": 1, "WHILE": 1, UNNAMED: 3})
    assert later.details["fully accelerated"] == "no"
    back = ran(fake(SELECTED, "", NOTHING, "", "", "", fully=(True, False, True)), 1, 2, 1)
    assert (back.device, back.fallbacks) == ("cpu", {UNNAMED: 7})
    assert back.details["fully accelerated"] == "no"


def test_a_model_that_left_the_gpu_when_its_input_was_resized_ran_on_the_cpu():
    assert ran(fake(f"{SELECTED}\n{REFUSED}", NOTHING), 2).device == "cpu"


def test_what_the_cpu_took_is_counted_once_however_often_it_is_logged():
    placement = ran(fake(f"{SELECTED}\n{REFUSED}", *[REFUSED] * 4, fully=(False, False)), 1, 2, 2)
    assert placement.fallbacks == {"GATHER": 1, "WHILE": 1, UNNAMED: 3}


def test_an_error_that_webgpu_reports_in_a_later_run_fails_that_run():
    runtime = fake(SELECTED, "", "E0000 x.cc:1] Validation error: Binding size is zero\n", fully=(True,))
    ran(runtime, 1)
    with pytest.raises(Broken, match="Binding size is zero"):
        ran(runtime, 1)


def test_a_model_of_which_the_gpu_took_nothing_ran_on_the_cpu():
    placement = fake(
        f"{SELECTED}\nERROR: Following operations are not supported by GPU delegate:\nCAST: no\n{NOTHING}"
    ).placement
    assert placement.device == "cpu"
    assert not placement.adapter.startswith(row_of("litert-webgpu", "gpu").adapter)
    assert placement.fallbacks == {"CAST": 1, UNNAMED: 6}


def test_a_model_that_no_line_of_the_log_puts_on_the_gpu_ran_on_the_cpu():
    assert fake(SELECTED).placement.device == "cpu"
    assert fake(SELECTED, fully=(True,)).placement.device == "gpu"


def test_a_card_is_no_software_and_an_adapter_without_a_name_proves_nothing():
    assert not fake(SELECTED, fully=(True,)).placement.software
    assert fake(SELECTED.replace("Discrete GPU", "CPU"), fully=(True,)).placement.software
    with pytest.raises(Broken, match="named no GPU adapter"):
        fake("INFO: nothing", fully=(True,))


def test_native_lines_are_read_and_still_reach_stderr(capfd):
    with native_log() as log:
        os.write(2, b"from native code\n")
        assert log.read_new() == "from native code\n"
        assert log.read_new() == ""
        os.write(2, b"more\n" * 9000)
        assert log.read_new() == "more\n" * 9000
        os.write(2, b"unread\n")
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "from native code\n" + "more\n" * 9000 + "unread\nafterwards\n"


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Chromium with its own loader and SwiftShader, on a machine whose adapters the test decides."""
    for variable in vulkan.DRIVER_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib" / "chromium").mkdir(parents=True)
    chromium = tmp_path / "bin" / "chromium"
    chromium.touch()
    manifest = tmp_path / "lib" / "chromium" / vulkan.SOFTWARE_DRIVER
    manifest.touch()
    monkeypatch.setattr(vulkan, "find_chromium", lambda: chromium)
    monkeypatch.setattr(vulkan, "_loader", lambda: None)
    return manifest


def named():
    return [os.environ.get(variable) for variable in vulkan.DRIVER_VARIABLES]


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        pytest.param((), True, id="nothing"),
        pytest.param((vulkan.VulkanAdapter(name="llvmpipe", software=True),), True, id="another software adapter"),
        pytest.param((vulkan.VulkanAdapter(name="NVIDIA H200", software=False),), False, id="a card"),
    ],
)
def test_swiftshader_is_chosen_only_where_there_is_no_card(driver, monkeypatch, found, chosen):
    monkeypatch.setattr(vulkan, "adapters", lambda: found)
    with vulkan.best_driver():
        assert named() == ([str(driver)] * 2 if chosen else [None, None])
    assert named() == [None, None]


def test_a_driver_that_the_user_named_is_left_alone(driver, monkeypatch):
    monkeypatch.setattr(vulkan, "adapters", lambda: ())
    monkeypatch.setenv("VK_ICD_FILENAMES", "mine.json")
    with vulkan.best_driver():
        assert named() == [None, "mine.json"]


def test_no_driver_and_no_chromium_is_unavailable_with_the_way_to_get_one(driver, monkeypatch):
    monkeypatch.setattr(vulkan, "adapters", lambda: ())
    driver.unlink()
    with pytest.raises(Unavailable, match=r"neither a card .* nor a software GPU") as unavailable, vulkan.best_driver():
        pass
    assert "apt-get install chromium" in unavailable.value.next_step


def test_no_loader_is_unavailable_with_the_way_to_get_one(monkeypatch):
    monkeypatch.setattr(vulkan, "LOADER", "libnosuchvulkan.so.1")
    with pytest.raises(Unavailable, match=r"libnosuchvulkan\.so\.1") as unavailable, vulkan.best_driver():
        pass
    assert "libvulkan1" in unavailable.value.next_step


@pytest.mark.slow
def test_the_adapter_that_vulkan_finds_is_the_one_that_litert_selects(bench):
    with vulkan.best_driver():
        names = [adapter.name for adapter in vulkan.adapters()]
        software = all(adapter.software for adapter in vulkan.adapters())
    with load(bench.proof(TWINS), "tflite/batch1") as loaded:
        placement = loaded.placement
    assert placement.adapter in [f"WebGPU ({name})" for name in names]
    assert placement.software == software


@pytest.mark.slow
def test_a_network_agrees_with_the_reference_kernels_and_says_where_and_how_it_ran(bench):
    proof = bench.proof("single_input")
    with load(proof, "tflite/batch1") as loaded, reference(proof, "tflite/batch1") as kernels:
        for seed in range(3):
            rows = batch_of(proof.signature, 1, seed)
            agree(loaded.infer(rows), kernels.infer(rows))
        placement = loaded.placement
    assert placement.device == "gpu"
    assert placement.adapter.startswith(row_of("litert-webgpu", "gpu").adapter)
    assert placement.runtime.startswith("ai-edge-litert 2.")
    assert not placement.fallbacks
    assert placement.details["enforce_f32"] == "true"
    assert placement.details["fully accelerated"] == "yes"


@pytest.mark.slow
def test_the_cell_runs_in_a_fork_of_the_preloaded_host(bench):
    cell = bench.proof("single_input").cells["tflite/batch1 litert-webgpu gpu"]
    assert cell.status == "passed", cell.message
    assert cell.placement.device == "gpu"


@pytest.mark.slow
@pytest.mark.parametrize("key", ["tflite/batch1", "tflite/dynamic"])
def test_inputs_and_outputs_of_one_shape_are_bound_by_name(bench, key):
    proof = bench.proof(TWINS)
    with load(proof, key) as loaded, reference(proof, key) as kernels:
        rows = batch_of(proof.signature, 1)
        expected = kernels.infer(rows)
        agree(loaded.infer(rows), expected)
        agree(loaded.infer({name: rows[name] for name in ("alpha", "zeta")}), expected)


@pytest.mark.slow
@pytest.mark.parametrize("model", [TWINS, "dict_inputs"])
def test_a_dynamic_batch_may_change_from_call_to_call_whether_all_or_part_runs_on_the_gpu(bench, model):
    proof = bench.proof(model)
    with load(proof, "tflite/dynamic") as loaded, reference(proof, "tflite/dynamic") as kernels:
        before = loaded.placement
        for seed, size in enumerate((1, 4, 4, 1, 3)):
            rows = batch_of(proof.signature, size, seed)
            agree(loaded.infer(rows), kernels.infer(rows))
        assert loaded.placement == before
        assert before.device == "gpu"


@pytest.mark.slow
def test_operators_that_stayed_on_the_cpu_are_named_and_counted(bench):
    proof = bench.proof("dict_inputs")
    with load(proof, "tflite/batch1") as loaded:
        placement = loaded.placement
    assert placement.device == "gpu"
    assert placement.fallbacks == {"GATHER": 1, UNNAMED: 3}
    assert placement.details["fully accelerated"] == "no"


@pytest.fixture
def refusal(bench):
    """What a load in a fresh process raised: LiteRT says some things only once."""

    def run(model, key, **environment):
        proof = bench.proof(model)
        artifact = proof.artifacts[key]
        request = {
            "folder": str(proof.release / artifact.path),
            "signature": TypeAdapter(Signature).dump_python(artifact.signature, mode="json"),
            "environment": environment,
        }
        return bench.call("tests.validators.litert_gpu_jobs:refusal", request, fork_server=LIGHT)

    return run


@pytest.mark.slow
def test_a_batch_that_shapes_are_computed_from_is_a_limit_by_name_with_its_way_out(refusal):
    told = refusal("recurrent", "tflite/dynamic")
    assert (told["kind"], told["limit"]) == ("Limited", "litert-gpu-dynamic-batch")
    assert "computed from the batch or another open axis: x" in told["message"]
    assert "batch1" in told["next_step"]


@pytest.mark.slow
def test_a_shape_that_is_computed_though_the_batch_is_fixed_is_a_limit_of_its_own(refusal):
    told = refusal("recurrent", "tflite/batch1")
    assert (told["kind"], told["limit"]) == ("Limited", "litert-gpu-dynamic-tensor")


@pytest.mark.slow
def test_half_precision_is_switched_off_in_the_call_that_compiles(bench, monkeypatch):
    from ai_edge_litert import compiled_model

    native, seen = compiled_model._cm.CreateCompiledModelFromFile, []

    def spy(*positional, **named_ones):
        seen.append(named_ones)
        return native(*positional, **named_ones)

    monkeypatch.setattr(compiled_model._cm, "CreateCompiledModelFromFile", spy)
    with load(bench.proof(TWINS), "tflite/batch1"):
        pass
    assert [call["gpu_enforce_f32"] for call in seen] == [True]


@pytest.mark.slow
def test_a_weight_that_moved_is_seen(bench, tmp_path):
    proof = bench.proof(TWINS)
    copied = tmp_path / "release"
    shutil.copytree(proof.release, copied)
    artifact, row = proof.artifacts["tflite/dynamic"], row_of("litert-webgpu", "gpu")
    assert bench.cell(copied, artifact, row).status == "passed"
    request = {"format": "tflite", "fault": "weight", "folder": str(copied / artifact.path), "by": 0.01}
    bench.call("tests.tamper:tamper", request)
    cell = bench.cell(copied, artifact, row)
    assert (cell.status, cell.reason) == ("failed", "tolerance exceeded")
    assert {diff.name for diff in cell.diffs if not diff.passed} == {"third"}


@pytest.mark.slow
def test_an_error_that_webgpu_reports_beside_the_call_fails_the_call(refusal):
    # Its grouped convolution binds an empty buffer: WebGPU refuses the shader, and LiteRT 2.3 hands out other numbers.
    told = refusal("grouped_convolution", "tflite/batch1")
    assert told["kind"] == "Broken"
    assert "WebGPU reports" in told["message"]
    assert "Binding size" in told["message"]


@pytest.mark.slow
def test_bytes_are_never_taken_for_another_type_or_input(bench):
    with load(bench.proof(TWINS), "tflite/batch1") as loaded:
        with pytest.raises(Broken, match="float64"):
            loaded.infer({name: np.ones((1, 4)) for name in ("zeta", "alpha")})
        with pytest.raises(Broken, match="zeta"):
            loaded.infer({"alpha": np.ones((1, 4), np.float32)})


@pytest.mark.slow
def test_a_driver_without_adapters_is_unavailable(refusal, tmp_path):
    told = refusal(TWINS, "tflite/batch1", **dict.fromkeys(vulkan.DRIVER_VARIABLES, str(tmp_path / "none.json")))
    assert told["kind"] == "Unavailable"
    assert "no adapter" in told["message"]
    assert told["next_step"] == vulkan.WAY


@pytest.mark.slow
def test_a_file_that_is_none_is_an_error_with_litert_s_own_words(tmp_path):
    (tmp_path / litert.FILE).write_bytes(b"no flatbuffer" * 100)
    names = Signature(inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 4), native="x"),), outputs=())
    with pytest.raises(Broken, match="Failed to"), litert_gpu.load(tmp_path, names, "gpu", {}):
        pass
