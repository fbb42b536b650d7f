"""The two tables fit together: no artifact without a runtime that proves it, no runtime without an artifact."""

from importlib.util import find_spec

import pytest

from exporters.formats.registry import EXPORTERS, FORMATS
from validators.preloads import hosts
from validators.runtimes.registry import ORIGINAL, RUNTIMES, default_requirements, planned, runtime


def test_every_format_has_a_runtime_and_every_runtime_a_format():
    assert {row.format for row in RUNTIMES} - {ORIGINAL} == {row.format for row in EXPORTERS} == set(FORMATS)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_is_required_on_the_cpu_by_default(format_):
    assert {requirement.device for requirement in default_requirements((format_,))} == {"cpu"}


def test_the_default_policy_is_the_six_main_runtimes():
    assert sorted(str(requirement) for requirement in default_requirements(FORMATS)) == [
        "onnx onnxruntime cpu",
        "saved_model tensorflow cpu",
        "tfjs tfjs-cpu cpu",
        "tfjs tfjs-wasm cpu",
        "tflite litert-reference cpu",
        "tflite litert-xnnpack cpu",
    ]


@pytest.mark.parametrize("row", RUNTIMES, ids=lambda row: f"{row.name} {row.device}")
def test_a_row_is_found_by_name_and_device_and_names_what_exists(row):
    assert runtime(row.name, row.device) is row
    assert find_spec(row.module) is not None
    assert row.host in {"", *hosts()}
    assert row.extra in {"export", "litert", "ort", "ort-cuda", "web"}


def test_an_unknown_runtime_is_an_error_that_names_it():
    with pytest.raises(KeyError, match="no runtime no-such on cpu"):
        runtime("no-such", "cpu")


def test_every_cpu_row_and_every_gpu_row_that_needs_no_card_of_nvidia_is_there():
    cells = [str(row.requirement) for row in RUNTIMES if not row.required and row.accelerator != "cuda"]
    assert sorted(cells) == [
        "onnx ort-web-wasm cpu",
        "onnx ort-web-webgpu gpu",
        "tfjs tfjs-webgl gpu",
        "tfjs tfjs-webgpu gpu",
        "tflite litert-webgpu gpu",
        "tflite litertjs-wasm cpu",
        "tflite litertjs-webgpu gpu",
    ]


def test_what_touches_cuda_gets_a_fresh_interpreter_and_a_sibling_with_tf32():
    cuda = [row for row in RUNTIMES if row.accelerator == "cuda"]
    assert {row.format for row in cuda} == {ORIGINAL, "saved_model", "onnx"}
    assert all(row.host == "" and row.device == "gpu" for row in cuda)
    plain, wide = ([row.name for row in cuda if row.tf32 is tf32] for tf32 in (False, True))
    assert wide == [f"{name}-tf32" for name in plain]
    assert all(row.computes["float32"] == "tf32" for row in cuda if row.tf32)


def test_a_plan_has_the_rows_of_its_formats_in_the_order_of_the_table():
    assert [row.name for row in planned(("onnx",), gpu="off")] == ["onnxruntime", "ort-web-wasm"]
    assert "keras" in {row.name for row in planned(("onnx", ORIGINAL))}
    assert not [row for row in planned(FORMATS) if row.tf32]
