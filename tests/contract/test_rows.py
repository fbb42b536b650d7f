"""Every exporter row and every runtime row, over every model of `tests/models.py`.

The models are built, exported and run once; each test looks at one promise of what came of it.
"""

import json

import pytest
from bench import ON_GPUS, ON_REQUEST
from models import MODELS

from exporters.files.hashing import digest_tree, files_below
from exporters.formats.job import ExportRequest
from exporters.formats.registry import EXPORTERS, FORMATS
from exporters.lowering.tracing.forms import FORMS
from exporters.source.model_source import ModelSource
from tests.contract.defects import expected
from tests.contract.look_inside import Watched, export_watched
from validators.runtimes.registry import planned, runtime

pytestmark = pytest.mark.slow

every_model = pytest.mark.parametrize("model", sorted(MODELS))
every_artifact = pytest.mark.parametrize("key", [row.key for row in EXPORTERS])

NAMES = {
    "single_input": (["image"], ["probabilities"]),
    "two_inputs": (["zeta", "alpha"], ["score"]),
    "dict_inputs": (["ids", "size"], ["y"]),
    "list_outputs": (["x"], ["third", "first", "second"]),
    "dict_outputs": (["x"], ["left", "right", "winner"]),
    "lstm_states": (["x"], ["lstm_0", "lstm_1", "lstm_2"]),
    "shared_layer": (["x"], ["d_0", "d_1"]),
    "dynamic_sequence": (["x"], ["peak"]),
    "recurrent": (["x"], ["y"]),
    "grouped_convolution": (["x"], ["y"]),
}

VALUES = {"tensorContent", "floatVal", "intVal", "int64Val", "boolVal", "doubleVal"}
"""Where a tensor of TensorFlow's JSON form holds its values."""


def cells_of(proof, key):
    return [cell for cell in proof.cells.values() if f"{cell.format}/{cell.variant}" == key]


def passed(proof, key):
    return [cell for cell in cells_of(proof, key) if cell.status == "passed"]


def test_the_table_of_models_and_the_table_of_names_are_the_same():
    assert set(NAMES) == set(MODELS)


@every_model
def test_the_model_has_these_canonical_names(proof, model):
    assert [spec.name for spec in proof.signature.inputs] == NAMES[model][0]
    assert [spec.name for spec in proof.signature.outputs] == NAMES[model][1]


@every_model
@every_artifact
def test_the_row_exports_the_model(proof, key, model):
    artifact = proof.artifacts[key]
    assert (artifact.status, artifact.reason) == ("exported", "")
    assert artifact.toolchain
    assert artifact.source == digest_tree(proof.model)[0]


@every_model
@every_artifact
def test_every_runtime_of_the_format_proves_the_artifact_equal(proof, key, model):
    cells = cells_of(proof, key)
    gpus = model in ON_GPUS
    rows = planned((key.partition("/")[0],), gpu="any" if gpus else "off", asked=ON_REQUEST if gpus else ())
    assert {(cell.runtime, cell.device) for cell in cells} == {(row.name, row.device) for row in rows}
    ran = [cell for cell in cells if cell.status != "unavailable"]
    assert {cell.runtime for cell in ran} >= {row.name for row in rows if row.accelerator != "cuda"}
    found = {cell.key: (cell.status, cell.reason) for cell in ran}
    assert found == {cell.key: expected(model, cell) for cell in ran}, [cell.message for cell in ran if cell.message]


@every_model
@every_artifact
def test_a_cell_compares_every_output_over_every_sample_set(proof, key, model):
    assert len({sample_set.batch for sample_set in proof.sets}) >= 3
    sets = [s.name for s in proof.sets if s.batch == 1 or key != "tflite/batch1"]
    wanted = [(name, output.name) for name in sets for output in proof.signature.outputs]
    for cell in passed(proof, key):
        assert cell.rows == sum(s.rows for s in proof.sets if s.name in sets), cell.key
        assert sorted((diff.sample_set, diff.name) for diff in cell.diffs) == sorted(wanted), cell.key
        assert all(diff.elements and diff.worst for diff in cell.diffs), cell.key


@every_model
@every_artifact
def test_a_cell_says_where_it_ran(proof, key, model):
    adapters = {  # where a row of the registry names none, or less than is known of it
        "tensorflow": "CPU",
        "litert-xnnpack": "XNNPACK",
        "litert-reference": "reference kernels",
        "onnxruntime": "CPUExecutionProvider",
        "tfjs-wasm": "wasm",
        "tfjs-cpu": "cpu",
        "tfjs-webgl": "WebGL (",
        "tfjs-webgpu": "WebGPU (",
        "ort-web-wasm": "wasm (",
        "ort-web-webgpu": "WebGPU (",
        "litert-webgpu": "WebGPU (",
        "litertjs-wasm": "wasm (",
        "litertjs-webgpu": "WebGPU (",
    }
    for cell in passed(proof, key):
        assert cell.placement.device == cell.device, cell.key
        adapter = runtime(cell.runtime, cell.device).adapter
        assert adapter or cell.runtime in adapters, cell.key
        assert cell.placement.adapter.startswith(adapters.get(cell.runtime, adapter)), cell.key
        assert cell.placement.runtime.rpartition(" ")[2][0].isdigit(), cell.key


@every_model
@every_artifact
def test_a_cell_says_how_fast_it_was_and_who_held_the_clock(proof, key, model):
    for cell in passed(proof, key):
        row = runtime(cell.runtime, cell.device)
        assert cell.performance.clock == ("page" if row.browser else "process"), cell.key
        assert 0 < cell.performance.load < cell.seconds, cell.key
        smallest = cell.performance.timings[0]
        assert (smallest.batch, set(smallest.shapes)) == (1, {spec.name for spec in proof.signature.inputs}), cell.key
        assert 0 < smallest.fastest <= smallest.median <= smallest.p95 < cell.seconds, cell.key


@every_model
def test_the_gate_lets_the_model_out_unless_a_runtime_is_wrong_about_it(proof, model):
    failed = [cell.key for cell in proof.cells.values() if expected(model, cell)[0] == "failed"]
    assert sorted({reason.subject for reason in proof.verdict().reasons}) == sorted(failed)


@every_model
@every_artifact
def test_the_recorded_signature_has_the_models_names_and_types_in_its_order(proof, key, model):
    signature = proof.artifacts[key].signature
    for recorded, source in ((signature.inputs, proof.signature.inputs), (signature.outputs, proof.signature.outputs)):
        assert [(spec.name, spec.dtype) for spec in recorded] == [(spec.name, spec.dtype) for spec in source]
        assert all(spec.native for spec in recorded)


@every_model
@every_artifact
def test_the_artifact_itself_has_exactly_the_models_names_and_types(proof, facts, key, model):
    for side, source in (("inputs", proof.signature.inputs), ("outputs", proof.signature.outputs)):
        inside = {name: dtype for name, (dtype, _) in facts[key][side].items()}
        assert inside == {spec.name: spec.dtype for spec in source}


@every_model
@pytest.mark.parametrize("key", ["saved_model/default", "tflite/dynamic", "tfjs/default"])
def test_dynamic_axes_stay_dynamic_and_fixed_ones_fixed(proof, facts, key, model):
    for spec in proof.signature.inputs:
        assert facts[key]["inputs"][spec.name][1] == list(spec.shape), spec.name


@every_model
def test_tfjs_keeps_its_weights_in_the_shards_and_not_in_the_graph_as_well(proof, model):
    written = json.loads((proof.release / proof.artifacts["tfjs/default"].path / "model.json").read_text("utf-8"))
    constants = [node for node in written["modelTopology"]["node"] if node["op"] == "Const"]
    assert constants
    assert not [node["name"] for node in constants if set(node["attr"]["value"]["tensor"]) & VALUES]


@every_model
def test_batch1_fixes_the_batch_and_nothing_else(proof, facts, model):
    for spec in proof.signature.inputs:
        assert facts["tflite/batch1"]["inputs"][spec.name][1] == [1, *spec.shape[1:]]


def test_a_model_with_an_open_axis_has_a_static_variant_for_runtimes_that_take_none(bench):
    proof = bench.proof("dynamic_sequence")
    artifact = proof.artifacts["tflite/static"]
    assert [spec.shape for spec in artifact.signature.inputs] == [(1, 16, 3)]
    assert None not in artifact.signature.outputs[0].shape
    cells = {cell.runtime: cell for cell in cells_of(proof, "tflite/static")}
    assert {cell.status for cell in cells.values()} == {"passed"}, [cell.message for cell in cells.values()]
    assert "litertjs-webgpu" in cells
    for cell in cells.values():
        assert {diff.sample_set for diff in cell.diffs} == {"seeded_batch1", "edges", "beyond"}
        assert cell.skipped["seeded_batch1_longer"].kind == "other length"
    assert not any("static" in key for key in bench.proof("single_input").artifacts)
    assert proof.verdict().passed


@every_model
def test_onnx_names_its_dynamic_axes(proof, facts, model):
    for side, specs in (("inputs", proof.signature.inputs), ("outputs", proof.signature.outputs)):
        for spec in specs:
            axes = [
                ("batch" if axis == 0 else f"{spec.name}_{axis}") if length is None else length
                for axis, length in enumerate(spec.shape)
            ]
            assert facts["onnx/default"][side][spec.name][1] == axes


def test_the_sequence_axis_of_onnx_is_called_after_its_input(bench):
    inside = {"onnx/default": str(bench.proof("dynamic_sequence").release / "artifacts/onnx/default")}
    facts = bench.call("tests.contract.look_inside:facts", inside)
    assert facts["onnx/default"]["inputs"]["x"] == ["float32", ["batch", "x_1", 3]]


@every_model
def test_onnx_is_of_the_opset_and_ir_version_that_runtimes_read(facts, model):
    assert facts["onnx/default"]["opset"][""] == 18
    assert facts["onnx/default"]["ir"] == 10


@every_model
@pytest.mark.parametrize("key", ["tflite/dynamic", "tflite/batch1"])
def test_tflite_needs_nothing_but_builtin_operators(facts, key, model):
    assert facts[key]["custom"] == []
    assert facts[key]["key"] == "serving_default"


@every_model
@every_artifact
def test_the_digest_and_the_size_are_those_of_the_bytes(proof, key, model):
    artifact = proof.artifacts[key]
    assert digest_tree(proof.release / artifact.path) == (artifact.digest, artifact.size)
    assert artifact.path == f"artifacts/{key}"


@every_model
@every_artifact
def test_the_artifact_has_the_file_that_its_row_promises(proof, key, model):
    row = next(row for row in EXPORTERS if row.key == key)
    files = [path.name for path in files_below(proof.release / proof.artifacts[key].path)]
    assert (row.file or "saved_model.pb") in files


# One model each: promises that cost another export.


@pytest.mark.parametrize("model", ["recurrent"])
def test_an_export_of_the_same_model_has_the_same_bytes_again(bench, proof, model, tmp_path):
    source = ModelSource(path=proof.model)
    lowered = bench.lower(source, tmp_path / "forms", list(FORMS)).unwrap().forms
    for row in EXPORTERS:
        if row.source != "model":  # TensorFlow puts a random identifier into every SavedModel
            bench.export(row, source, lowered[row.source], tmp_path / row.format).unwrap()
            assert digest_tree(tmp_path / row.format)[0] == proof.artifacts[row.key].digest, row.key
            (tmp_path / row.format).rename(tmp_path / f"{row.format}-{row.variant}")


@pytest.mark.parametrize("key", [row.key for row in EXPORTERS])
@pytest.mark.parametrize("model", ["two_inputs"])
def test_an_exporter_writes_below_its_destination_only(bench, proof, model, key, tmp_path):
    row = next(row for row in EXPORTERS if row.key == key)
    graph = None if row.source == "model" else proof.forms[row.source].folder
    before = digest_tree(graph or proof.model.parent)
    export = ExportRequest(
        artifact=key,
        model=ModelSource(path=proof.model),
        graph=graph,
        destination=tmp_path / "out" / "made",
        options=dict(row.options),
    )
    (tmp_path / "out").mkdir()
    assert bench.call(export_watched, Watched(folder=tmp_path / "watched", export=export)) == []
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["made"]
    assert digest_tree(graph or proof.model.parent) == before


@pytest.mark.parametrize("model", ["tests.contract.more_models:static_batch"])
def test_a_model_with_a_batch_of_its_own_has_no_batch1_variant_and_keeps_its_batch(proof, model):
    limited = proof.artifacts["tflite/batch1"]
    assert limited.status == "limited"
    assert "the model's own batch is fixed" in limited.reason
    assert "4" in limited.reason
    assert {cell.status for cell in cells_of(proof, "tflite/batch1")} == {"limited"}
    rest = [cell for cell in proof.cells.values() if (cell.format, cell.variant) != ("tflite", "batch1")]
    rest = [cell for cell in rest if cell.status != "unavailable"]
    assert [(cell.key, cell.message) for cell in rest if cell.status != "passed"] == []
    assert len({cell.format for cell in rest}) == len(FORMATS)
    assert {spec.shape[0] for a in proof.artifacts.values() if a.signature for spec in a.signature.inputs} == {4}
    assert proof.verdict().passed


@pytest.mark.parametrize("model", ["tests.contract.more_models:double"])
def test_float64_is_held_to_float64_where_the_runtime_has_it_and_to_float32_in_tfjs(proof, model):
    lacks = proof.cells["onnx/default ort-web-webgpu gpu"]
    assert (lacks.status, lacks.reason) == ("limited", "ortweb-no-kernel")
    cells = [cell for cell in proof.cells.values() if cell.format != "tflite" and cell.status != "unavailable"]
    cells.remove(lacks)
    assert {cell.status for cell in proof.cells.values() if cell.format == "tflite"} == {"limited"}  # no such kernels
    assert [(cell.key, cell.message) for cell in cells if cell.status != "passed"] == []
    for cell in cells:
        (rtol,) = {diff.tolerance.rtol for diff in cell.diffs}
        narrowed = "float64" in runtime(cell.runtime, cell.device).computes
        assert rtol == (1e-4 if narrowed else 1e-4 * 2.0**-29), cell.key
    tfjs = [cell.max_abs for cell in cells if cell.format == "tfjs"]
    assert min(tfjs) > 1e-10  # float64's own tolerance would have been a false alarm
