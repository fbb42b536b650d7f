"""The two tables fit together: no artifact without a runtime that proves it, no runtime without an artifact."""

from importlib.util import find_spec

import pytest

from exporters.registry import EXPORTERS, FORMATS
from validators.hosts import hosts
from validators.registry import RUNTIMES, default_requirements, runtime


def test_every_format_has_a_runtime_and_every_runtime_a_format():
    assert {row.format for row in RUNTIMES} == {row.format for row in EXPORTERS} == set(FORMATS)


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
    assert row.extra in {"export", "litert", "ort", "web"}


def test_an_unknown_runtime_is_an_error_that_names_it():
    with pytest.raises(KeyError, match="no runtime no-such on cpu"):
        runtime("no-such", "cpu")
