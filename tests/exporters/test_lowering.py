"""Each rewrite of the model's graph is needed and harmless, on the real converters and runtimes.

Needed: with the rewrite left out, the artifact is not made or does not run, in the way its docstring says. Harmless:
with it, the artifact computes what the original computes. The day a first half fails here, the rewrite can go.
"""

import shutil
from dataclasses import replace

import pytest
from pydantic import TypeAdapter
from unmended import OTHERS

from exporters.contract import Signature
from exporters.lowering.trace import _REWRITES
from exporters.registry import EXPORTERS
from validators.registry import RUNTIMES

pytestmark = pytest.mark.slow

TRUST = {"custom_objects": [], "trust_lambda": False}
MORE = "tests.contract.more_models:"

NOT_MADE = [
    ("xla_wrappers_inlined", "grouped_convolution", "onnx/default", "PartitionedCall"),
    ("xla_wrappers_inlined", "grouped_convolution", "tfjs/default", "PartitionedCall"),
    ("signbit_in_arithmetic", "dict_outputs", "onnx/default", "Bitcast"),
    ("signbit_in_arithmetic", "dict_outputs", "tfjs/default", "Bitcast"),
    ("signbit_in_arithmetic", "dict_outputs", "tflite/dynamic", "Bitwise"),
    ("additions_as_written", f"{MORE}residual", "tflite/batch1", "BiasAdd"),
    ("gelu_with_erf", f"{MORE}gelu", "onnx/default", "Erfc"),
    ("gelu_with_erf", f"{MORE}gelu", "tfjs/default", "Erfc"),
    ("unrolling", "lstm_states", "tflite/dynamic", "recurrent loop"),
    ("unrolling", "recurrent", "tflite/dynamic", "recurrent loop"),
    ("unrolling", "recurrent", "tfjs/default", "recurrent layer"),
]
NOT_RUN = [
    ("einsum_as_matrix_product", f"{MORE}attention", "tfjs-wasm", "Einsum"),
    ("grouped", "grouped_convolution", "tfjs-wasm", "must match input depth for filter"),
    ("grouped", "grouped_convolution", "tfjs-cpu", "must match input depth for filter"),
    ("fusions", "recurrent", "tfjs-wasm", "only supports rank-1 bias"),
    ("fusions", "lstm_states", "tfjs-wasm", "only supports rank-1 bias"),
]


def name(case):
    return "-".join(part.rpartition(":")[2].replace("/", "-") for part in case[:3])


def test_every_rewrite_has_a_case_here():
    assert {case[0] for case in (*NOT_MADE, *NOT_RUN)} == {*(rewrite.__name__ for rewrite in _REWRITES), *OTHERS}


@pytest.fixture
def without(bench, tmp_path):
    """Lowers and exports with one rewrite left out; returns the outcome and the folder of the artifact."""

    def run(rewrite, model, row):
        left_out = {"without": rewrite}
        request = {"model": str(bench.proof(model).model), "destination": str(tmp_path / "lowered"), **TRUST}
        lowered = bench.call("tests.exporters.unmended:lower", request | {"forms": [row.source]} | left_out)
        folder = tmp_path / "release" / "artifacts"
        folder.parent.mkdir()
        request = {"artifact": row.key, "source": lowered["forms"][row.source], "destination": str(folder)}
        request |= {"options": {**row.options, **TRUST}} | left_out
        return bench.outcome("tests.exporters.unmended:export", request), folder

    return run


def row_of(key):
    return next(row for row in EXPORTERS if row.key == key)


@pytest.mark.parametrize("case", NOT_MADE, ids=name)
def test_without_the_rewrite_there_is_no_artifact_and_with_it_the_artifact_is_equal(bench, without, case):
    rewrite, model, key, message = case
    outcome, _ = without(rewrite, model, row_of(key))
    assert outcome.status in {"limited", "python error"}
    assert message in outcome.message
    cells = [c for c in bench.proof(model).cells.values() if f"{c.format}/{c.variant}" == key]
    assert cells
    assert {cell.status for cell in cells} == {"passed"}


@pytest.mark.parametrize("case", NOT_RUN, ids=name)
def test_without_the_rewrite_the_artifact_does_not_run_and_with_it_it_is_equal(bench, without, case):
    rewrite, model, runtime, message = case
    proof = bench.proof(model)
    row = next(row for row in RUNTIMES if row.name == runtime)
    outcome, folder = without(rewrite, model, row_of("tfjs/default"))
    signature = TypeAdapter(Signature).validate_python(outcome.unwrap()["signature"])
    shutil.copytree(proof.release / "evidence", folder.parent / "evidence")
    artifact = replace(proof.artifacts["tfjs/default"], path=folder.name, signature=signature)
    cell = bench.cell(folder.parent, artifact, row)
    assert cell.status in {"errored", "limited"}
    assert message in cell.message
    assert proof.cells[f"tfjs/default {runtime} cpu"].status == "passed"


def test_a_loop_over_a_dynamic_time_axis_is_limited_where_it_cannot_be_written_out_and_proven_elsewhere(bench):
    proof = bench.proof(f"{MORE}long_recurrence")
    limited = {key: artifact.reason for key, artifact in proof.artifacts.items() if artifact.status == "limited"}
    assert set(limited) == {"tflite/dynamic", "tfjs/default"}
    assert "tensorflow#62849" in limited["tflite/dynamic"]
    assert "time axis is dynamic" in limited["tfjs/default"]
    passed = {f"{cell.format}/{cell.variant}" for cell in proof.cells.values() if cell.status == "passed"}
    assert passed == {"saved_model/default", "tflite/batch1", "onnx/default"}


def test_forms_that_come_out_the_same_are_traced_once(bench, tmp_path):
    def lower(model, folder):
        request = {"model": str(bench.proof(model).model), "destination": str(tmp_path / folder), **TRUST}
        return bench.call("exporters.jobs:lower", request | {"forms": ["known", "unrolled", "batch1"]})["forms"]

    plain = lower("two_inputs", "plain")
    assert plain["known"] == plain["unrolled"] != plain["batch1"]
    assert len(set(lower("lstm_states", "recurrent").values())) == 3
