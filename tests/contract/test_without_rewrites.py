"""Each rewrite of the model's graph is needed and harmless, on the real converters and runtimes.

Needed: with the rewrite left out, the artifact is not made, does not run or is wrong, in the way its docstring says.
Harmless: with it, the artifact computes what the original computes, and tells that the rewrite acted. The day a first
half fails here, the rewrite can go.
"""

import json
import shutil
from dataclasses import replace

import pytest

from exporters.formats.registry import EXPORTERS, FORMATS
from exporters.lowering.rewrite_log import REWRITES, record_rewrite, recorded_rewrites, rewrite_findings
from exporters.lowering.tracing.trace import _REWRITES
from exporters.source.model_source import ModelSource
from tests.exporters.unmended import OTHERS
from tests.zoo import CPU, OWN
from validators.runtimes.registry import RUNTIMES, default_requirements

pytestmark = pytest.mark.slow

TRUST = {"custom_objects": tuple(CPU["custom_objects"]), "trust_lambda": False}
MORE = "tests.contract.more_models:"
JOBS = "tests.exporters.lowering_jobs:"

NOT_MADE = [
    ("xla_wrappers_inlined", "grouped_convolution", "onnx/default", "PartitionedCall"),
    ("xla_wrappers_inlined", "grouped_convolution", "tfjs/default", "PartitionedCall"),
    ("signbit_in_arithmetic", "dict_outputs", "onnx/default", "Bitcast"),
    ("signbit_in_arithmetic", "dict_outputs", "tfjs/default", "Bitcast"),
    ("signbit_in_arithmetic", "dict_outputs", "tflite/dynamic", "Bitwise"),
    ("additions_as_written", f"{MORE}residual", "tflite/batch1", "BiasAdd"),
    ("gelu_with_erf", f"{MORE}gelu", "onnx/default", "Erfc"),
    ("gelu_with_erf", f"{MORE}gelu", "tfjs/default", "Erfc"),
    ("expm1_with_elu", f"{MORE}bent", "onnx/default", "Expm1"),
    ("softsign_in_arithmetic", f"{MORE}bent", "tfjs/default", "Softsign"),
    ("resizing_as_matrix_products", f"{OWN}bicubic", "tflite/dynamic", "ResizeBicubic"),
    ("resizing_as_matrix_products", f"{OWN}bicubic", "tfjs/default", "ResizeBicubic"),
    ("sizes_as_tensors", f"{OWN}fully_convolutional", "onnx/default", "symbolic"),
    ("mixed_in_float32", f"{OWN}half_precision", "tflite/dynamic", "Conv2D"),
    ("mixed_in_float32", f"{OWN}brain_float", "tfjs/default", "bfloat16"),
    ("loops_over_tensors", f"{MORE}long_recurrence", "tflite/dynamic", "list of tensors"),
    ("loops_over_tensors", f"{MORE}long_recurrence", "tfjs/default", "list of tensors"),
]
NOT_RUN = [
    ("einsum_as_matrix_product", f"{MORE}attention", "tfjs-wasm", "Einsum"),
    ("grouped", "grouped_convolution", "tfjs-wasm", "must match input depth for filter"),
    ("grouped", "grouped_convolution", "tfjs-cpu", "must match input depth for filter"),
    ("pad_in_numbers", f"{OWN}wide_strides", "tfjs-wasm", "constant output"),
    ("fusions", "recurrent", "tfjs-wasm", "only supports rank-1 bias"),
    ("fusions", "lstm_states", "tfjs-wasm", "only supports rank-1 bias"),
    (
        "elu_in_arithmetic",
        f"{MORE}exponential",
        "litert-reference",
        "lack an operator of the model, which its optimised ones have: ELU",
    ),
    ("keep_zeros_out_of_pools", f"{MORE}padded_pool", "onnxruntime", "beyond the tolerance"),
    ("masks_in_order_of_steps", f"{OWN}masked_both_ways", "tfjs-wasm", "beyond the tolerance"),
    ("free_axis_left_open", "single_input", "litert-webgpu", "a shape is computed from the batch"),
]
VARIANTS = {"tfjs": "tfjs/default", "tflite": "tflite/dynamic", "onnx": "onnx/default"}
"""The artifact that a case of `NOT_RUN` looks at, by its runtime's format."""
ELSEWHERE = {"unrolling", "one_hot_of_integers", "bincount_as_comparison", "outputs_apart"}
ELSEWHERE |= {"response_normalization_as_arithmetic"}
"""Rewrites whose need has a test of its own: here below, in `tests/contract/test_text_models.py` and
`tests/test_custom_code.py`."""


def name(case):
    return "-".join(part.rpartition(":")[2].replace("/", "-") for part in case[:3])


def test_every_rewrite_has_a_case_here_and_a_line_for_the_report():
    assert {*(rewrite.__name__ for rewrite in _REWRITES), *OTHERS} <= set(REWRITES)
    assert {case[0] for case in (*NOT_MADE, *NOT_RUN)} | ELSEWHERE == set(REWRITES)


def test_what_acted_is_told_once_in_the_order_of_the_table_with_its_thread_and_blocks_nothing():
    with recorded_rewrites() as names:
        for each in ("fusions", "gelu_with_erf", "fusions"):
            record_rewrite(each)
    record_rewrite("grouped")  # outside of any recording
    found = rewrite_findings(names)
    assert [(finding.code, finding.blocking) for finding in found] == [("gelu-with-erf", False), ("fusions", False)]
    assert all(finding.message.endswith("(tfjs#8304)") for finding in found)


def proof_of(bench, model):
    return bench.proof(model, CPU if model.startswith(OWN) else None)


def told(proof, key):
    return {finding.code for finding in proof.artifacts[key].findings}


@pytest.fixture
def without(bench, tmp_path):
    """Lowers and exports with one rewrite left out; returns the outcome and the folder of the artifact."""

    def run(rewrite, model, row):
        source = ModelSource(path=bench.build(model), **TRUST)
        outcome = bench.lower(source, tmp_path / "lowered", [row.source], without=rewrite)
        if outcome.status != "ok":
            return outcome, tmp_path
        folder = tmp_path / "release" / "artifacts"
        folder.parent.mkdir()
        return bench.export(row, source, outcome.unwrap().forms[row.source], folder, without=rewrite), folder

    return run


def row_of(key):
    return next(row for row in EXPORTERS if row.key == key)


def test_a_convolution_with_a_group_for_every_channel_stays_one_convolution(bench):
    proof = proof_of(bench, "grouped_convolution")
    topology = json.loads((proof.release / proof.artifacts["tfjs/default"].path / "model.json").read_text("utf-8"))
    operators = [node["op"].removeprefix("_Fused").removeprefix("Fused") for node in topology["modelTopology"]["node"]]
    assert operators.count("Conv2D") == 2  # the two groups of the other one
    assert operators.count("DepthwiseConv2dNative") == 2


@pytest.mark.parametrize("case", NOT_MADE, ids=name)
def test_without_the_rewrite_there_is_no_artifact_and_with_it_the_artifact_is_equal(bench, without, case):
    rewrite, model, key, message = case
    outcome, _ = without(rewrite, model, row_of(key))
    assert outcome.status in {"limited", "python error"}
    assert message in outcome.message
    # The required runtimes: what others make of an artifact, `tests/contract` says.
    required = {str(requirement) for requirement in default_requirements(FORMATS)}
    proof = proof_of(bench, model)
    assert rewrite.replace("_", "-") in told(proof, key)
    cells = [c for c in proof.cells.values() if f"{c.format}/{c.variant}" == key]
    cells = [c for c in cells if f"{c.format} {c.runtime} {c.device}" in required]
    assert cells
    assert {cell.status for cell in cells} == {"passed"}


def row_named(runtime):
    return next(row for row in RUNTIMES if row.name == runtime)


@pytest.fixture
def cell_without(bench, without):
    """Runs an artifact that was made without a rewrite; returns the cell."""

    def run(rewrite, model, runtime, variant=""):
        proof = proof_of(bench, model)
        row = row_named(runtime)
        key = variant or VARIANTS[row.format]
        outcome, folder = without(rewrite, model, row_of(key))
        signature = outcome.unwrap().signature
        shutil.copytree(proof.release / "evidence", folder.parent / "evidence")
        artifact = replace(proof.artifacts[key], path=folder.name, signature=signature)
        return bench.cell(folder.parent, artifact, row)

    return run


@pytest.mark.parametrize("case", NOT_RUN, ids=name)
def test_without_the_rewrite_the_artifact_does_not_run_or_is_wrong_and_with_it_it_is_equal(bench, cell_without, case):
    rewrite, model, runtime, message = case
    cell = cell_without(rewrite, model, runtime)
    assert cell.status in {"errored", "limited", "failed"}
    assert message in f"{cell.reason}: {cell.message}"
    proof, row = proof_of(bench, model), row_named(runtime)
    key = VARIANTS[row.format]
    assert proof.cells[f"{key} {runtime} {row.device}"].status == "passed"
    assert rewrite.replace("_", "-") in told(proof, key)


def test_without_unrolling_a_page_has_to_wait_for_every_step_of_a_loop(bench, cell_without):
    cell = cell_without("unrolling", "recurrent", "tfjs-wasm")
    assert (cell.status, cell.placement.details["call"]) == ("passed", "executeAsync")
    proof = bench.proof("recurrent")
    assert proof.cells["tfjs/default tfjs-wasm cpu"].placement.details["call"] == "execute"
    assert "unrolling" in told(proof, "tfjs/default")


def test_without_being_kept_apart_outputs_that_are_one_tensor_reach_a_page_under_one_name(bench, cell_without):
    model, key = f"{MORE}one_tensor_twice", "tflite/batch1"
    cell = cell_without("outputs_apart", model, "litertjs-wasm", key)
    assert (cell.status, cell.reason) == ("failed", "missing output")
    proof = bench.proof(model)
    assert proof.cells[f"{key} litertjs-wasm cpu"].status == "passed"
    assert "outputs-apart" in told(proof, key)


def test_a_model_that_needs_no_rewrite_tells_of_none(bench):
    assert {key: told(bench.proof("shared_layer"), key) for key in bench.proof("shared_layer").artifacts} == {
        row.key: set() for row in EXPORTERS
    }


@pytest.mark.parametrize("generation", ["keras", "tf_keras"])
def test_half_precision_loosens_the_outputs_that_it_leads_to_and_no_others(bench, generation):
    request = {"generation": generation}
    rounded = {"rounded": "bfloat16", "pixels": "float16", "inner_rounded": "float16"}
    assert bench.call(f"{JOBS}rounding_of_two_heads", request) == rounded


def test_where_the_graph_of_a_model_is_not_known_all_its_outputs_round_like_its_layers(bench):
    assert bench.call(f"{JOBS}rounding_of_a_subclass", {}) == {"exact": "bfloat16", "rounded": "bfloat16"}


def test_a_quantized_layer_of_mixed_precision_keeps_the_scale_of_its_weights(bench):
    once, again = bench.call(f"{JOBS}quantized", {})
    assert once == again


def test_an_empty_row_holds_no_category_and_counts_take_their_arguments_by_position(bench):
    done = bench.call(f"{JOBS}counts", {})
    assert done["empty"] == [[0, 0, 0]]
    assert done["twice"] == [[0, 1, 1]]
    assert done["by position"] == [0, 1, 1]


@pytest.mark.parametrize("options", [{}, {"clear_after_read": False}, {"dynamic_size": True}])
@pytest.mark.parametrize("called", ["", "output_ta_0"])
def test_an_array_of_tensors_that_a_user_filled_keeps_what_it_holds(bench, options, called):
    assert bench.call(f"{JOBS}filled_array", {"options": options, "name": called}) == [[9.0], [2.0], [3.0]]


def test_an_array_is_one_for_who_asks_whosever_it_is(bench):
    assert bench.call(f"{JOBS}kinds_of_arrays", {}) == {"mine": ["TensorArray", True], "input_ta_0": ["Rows", True]}


def test_an_image_whose_aspect_ratio_is_kept_is_resized_as_tensorflow_does(bench):
    assert bench.call(f"{JOBS}resized", {"preserve_aspect_ratio": True}) == [[1, 2, 4, 1], 0.0]
    shape, apart = bench.call(f"{JOBS}resized", {"antialias": True})
    assert shape == [1, 4, 4, 1]
    assert apart < 1e-6


def test_outputs_that_are_one_tensor_without_an_order_are_left_alone(bench):
    assert bench.call(f"{JOBS}unordered_outputs", {}) == {"dtypes": ["complex64", "complex64"], "acted": []}


def test_forms_that_come_out_the_same_are_traced_once(bench, tmp_path):
    def lower(model, folder):
        source = ModelSource(path=bench.build(model), **TRUST)
        forms = bench.lower(source, tmp_path / folder, ["known", "unrolled", "batch1"]).unwrap().forms
        return {name: form.folder for name, form in forms.items()}

    plain = lower("two_inputs", "plain")
    assert plain["known"] == plain["unrolled"] != plain["batch1"]
    assert len(set(lower("lstm_states", "recurrent").values())) == 3
