"""The two tables fit together: no artifact without a runtime that proves it, no runtime without an artifact."""

import tomllib
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from exporters.formats import onnx
from exporters.formats.contract import Exporter
from exporters.formats.registry import EXPORTERS, FORMATS, STATIC_EXPORTERS
from validators.contract import Runtime
from validators.preloads import preloaded_modules
from validators.runtimes.registry import ORIGINAL, RUNTIMES, default_requirements, planned, runtime

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]


def lacking(module, protocol):
    """The members of a plug-in's protocol that the module does not have."""
    members = {name for name in (*protocol.__annotations__, *vars(protocol)) if not name.startswith("_")}
    return sorted(name for name in members if not hasattr(module, name))


@pytest.mark.parametrize("row", [*EXPORTERS, *STATIC_EXPORTERS], ids=lambda row: row.key)
def test_an_exporter_has_every_member_of_its_protocol(row):
    assert not lacking(row.exporter, Exporter)
    assert isinstance(row.exporter, Exporter)


def test_a_member_that_a_plug_in_lacks_is_named():
    incomplete = ModuleType("incomplete")
    vars(incomplete).update({name: value for name, value in vars(onnx).items() if name != "constants"})
    row = replace(EXPORTERS[0], exporter=incomplete)
    assert lacking(row.exporter, Exporter) == ["constants"]
    assert lacking(ModuleType("empty"), Runtime) == ["load"]


def test_every_format_has_a_runtime_and_every_runtime_a_format():
    assert {row.format for row in RUNTIMES} - {ORIGINAL} == {row.format for row in EXPORTERS} == set(FORMATS)


@pytest.mark.parametrize("format_", FORMATS)
def test_every_format_is_required_on_the_cpu_by_default(format_):
    assert {requirement.device for requirement in default_requirements((format_,))} == {"cpu"}


@pytest.mark.parametrize("row", RUNTIMES, ids=lambda row: f"{row.name} {row.device}")
def test_a_row_is_found_by_name_and_device_and_names_what_exists(row):
    assert runtime(row.name, row.device) is row
    assert not lacking(row.module, Runtime)
    assert row.fork_server in {None, *preloaded_modules()}
    assert row.extra in EXTRAS


def test_an_unknown_runtime_is_an_error_that_names_it():
    with pytest.raises(KeyError, match="no runtime no-such on cpu"):
        runtime("no-such", "cpu")


def test_what_touches_cuda_gets_a_fresh_interpreter_and_a_sibling_with_tf32():
    cuda = [row for row in RUNTIMES if row.accelerator == "cuda"]
    assert {row.format for row in cuda} >= {ORIGINAL, "saved_model", "onnx"}
    assert all(row.fork_server is None and row.device == "gpu" for row in cuda)
    plain, wide = ([row.name for row in cuda if row.tf32 is tf32] for tf32 in (False, True))
    assert wide == [f"{name}-tf32" for name in plain]
    assert all(row.computes["float32"] == "tf32" for row in cuda if row.tf32)


def test_a_plan_has_the_rows_of_its_formats_in_the_order_of_the_table():
    assert [row.name for row in planned(("onnx",), gpu="off")] == ["onnxruntime", "ort-web-wasm"]
    assert "keras" in {row.name for row in planned(("onnx", ORIGINAL))}
    assert not [row for row in planned(FORMATS) if row.tf32]


def test_a_row_on_request_runs_only_where_the_policy_or_the_user_names_it():
    rows = [row for row in RUNTIMES if row.on_request]
    assert rows
    for row in rows:
        assert not row.required
        assert row not in planned(FORMATS)
        with_row = planned(FORMATS, asked=[row.requirement])
        assert [each for each in with_row if each not in planned(FORMATS)] == [row]
        of_one_variant = replace(row.requirement, variant="any")
        assert row in planned(FORMATS, asked=[of_one_variant])
