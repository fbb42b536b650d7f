"""Settings: what `release.toml` and the flags may say, and what the answer to a mistake is."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from exporters.errors import BadInput
from exporters.formats.registry import EXPORTERS, rows_of
from flows.config.settings import Settings, load_settings, named_shapes

MODEL = {"model": Path("m.keras")}


def toml(folder, text):
    path = folder / "release.toml"
    path.write_text(text, "utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("formts = ['onnx']", "unknown key 'formts' (did you mean 'formats'?)"),
        ("[policy]\nrequird = []", "unknown key 'policy.requird' (did you mean 'policy.required'?)"),
        ("formats = ['tflit']", "unknown format 'tflit' (did you mean 'tflite'?)"),
        ("formats = []", "formats"),
        (
            "[policy]\nrequired = ['onnx onnxruntme cpu']",
            "unknown cell 'onnx onnxruntme cpu' (did you mean 'onnx onnxruntime cpu'?)",
        ),
        ("formats = ['onnx']\n[policy]\nrequired = ['tfjs tfjs-cpu cpu']", "formats leaves out tfjs"),
        ("[policy]\natol = -1.0", "policy.atol"),
        ("[policy]\nrtol = 'small'", "policy.rtol"),
        ("[policy]\natol = inf", "policy.atol"),
        ("[policy]\natol = nan", "policy.atol"),
        ("[policy]\nrtol = inf", "policy.rtol"),
        ("[[policy.tolerances]]\ncells = 'onnx * cpu'", "sets nothing; give `atol`, `rtol` or `multiple`"),
        ("[[policy.tolerances]]\ncells = 'onnx'\natol = 1", "expected `FORMAT RUNTIME DEVICE`, each a name or `*`"),
        ("[[policy.tolerances]]\ncells = 'onnx tfjs-cpu *'\natol = 1", "no cell is 'onnx tfjs-cpu *'"),
        ("[[policy.tolerances]]\nmultiple = -2", "policy.tolerances[0].multiple"),
        ("[limits]\nseconds = inf", "limits.seconds"),
        ("[limits]\nsample_seconds = inf", "limits.sample_seconds"),
        ("[limits]\nmemory_gib = inf", "limits.memory_gib"),
        ("formats = [1]", "formats[0]"),
        ("samples = 's.npz'", "samples: got 's.npz', valid is a section [samples] with path, batches"),
        ("policy = 3", "policy: got 3, valid is a section [policy] with required, atol, rtol"),
        ("[samples]\nbatches = [2, 2]", "different batch sizes"),
        ("[samples]\nbatches = [0]", "at least 1"),
        ("[onnx]\nopset = 21", "onnx.opset"),
        ("formats = ", "not valid TOML"),
        ("formats = ['tflite/batch2']", "unknown format 'tflite/batch2' (did you mean 'tflite/batch1'?)"),
        ("[policy]\nrequired = ['tflite/batch2 litert-xnnpack cpu']", "unknown variant 'tflite/batch2' (did you mean"),
        (
            "[policy]\nrequired = ['tflite/batch1 litert-xnpack cpu']",
            "did you mean 'tflite/batch1 litert-xnnpack cpu'?",
        ),
        (
            "formats = ['tflite/dynamic']\n[policy]\nrequired = ['tflite/batch1 litert-xnnpack cpu']",
            "formats leaves out tflite/batch1",
        ),
        (
            "[policy]\nrequired = ['tflite litert-xnnpack cpu']\nelsewhere = ['tflite/batch1 litert-xnnpack cpu']",
            "`tflite/batch1 litert-xnnpack cpu` is in policy.required and in policy.elsewhere",
        ),
        ("[[policy.tolerances]]\ncells = 'tflite/batch2 * *'\natol = 1", "no cell is 'tflite/batch2 * *'"),
        ("[policy.baseline.size_ratios]\n'tflite/batch2' = 1.5", "unknown artifact 'tflite/batch2' (did you mean"),
        ("[policy.baseline.size_ratios]\n'tflite/batch1' = 0", "size_ratios.tflite/batch1"),
        (
            "[[policy.waivers]]\ncell = 'tflite/batch2 litert-xnnpack cpu'\nuntil = 2027-01-31\nby = 'A'\nwhy = 'B'",
            "unknown variant 'tflite/batch2'",
        ),
        ("[variants.'onnx/defalt']\nopset = 17", "unknown variant 'onnx/defalt' (did you mean 'onnx/default'?)"),
        ("[variants.'onnx/default']\nopst = 17", "unknown option of onnx/default 'opst' (did you mean 'opset'?)"),
        ("[variants.'onnx/default']\nopset = 21", "onnx/default: opset: Input should be 17 or 18"),
        ("[variants.'tflite/batch1']\nopset = 17", "tflite/batch1 has no options"),
    ],
)
def test_a_mistake_in_release_toml_is_named_with_what_is_valid(tmp_path, text, said):
    path = toml(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        load_settings(path, MODEL)
    assert said in caught.value.message
    assert str(path) in caught.value.message


def test_a_tolerance_for_an_output_that_the_model_does_not_have_is_named():
    policy = load_settings(None, {**MODEL, "policy": {"tolerances": [{"output": "digit", "atol": 1e-3}]}}).policy
    policy.refuse_unknown_outputs(["score", "digit"])
    with pytest.raises(BadInput, match=r"unknown output 'digit' \(did you mean 'digits'\?\); valid are digits"):
        policy.refuse_unknown_outputs(["digits"])


def test_a_near_match_is_never_substituted(tmp_path):
    with pytest.raises(BadInput):
        load_settings(None, {**MODEL, "formats": ["ONNX"]})


def test_a_release_toml_that_is_not_there_is_bad_input(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        load_settings(tmp_path / "none.toml", MODEL)


def test_paths_in_release_toml_are_relative_to_it_and_flags_to_the_working_directory(tmp_path):
    path = toml(
        tmp_path,
        "model = 'a.keras'\noutput = 'out'\ncustom_objects = ['layers.py', 'package.module']\n"
        "[samples]\npath = 's.npz'",
    )
    settings = load_settings(path, {"output": Path("elsewhere"), "samples": {"path": None}})
    assert settings.model == tmp_path / "a.keras"
    assert settings.samples.path == tmp_path / "s.npz"
    assert settings.custom_objects == (str(tmp_path / "layers.py"), "package.module")
    assert settings.release_dir == Path("elsewhere")


@pytest.mark.parametrize(
    ("given", "expected"),
    [("net.json", "{folder}/net.json"), ("nets.py:make", "{folder}/nets.py:make"), ("nets.old:make", "nets.old:make")],
)
def test_an_architecture_in_release_toml_is_relative_to_it_unless_it_names_a_module(given, expected, tmp_path):
    path = toml(tmp_path, f"model = 'a.weights.h5'\narchitecture = '{given}'")
    assert load_settings(path, {}).architecture == expected.format(folder=tmp_path)


@pytest.mark.parametrize(
    ("given", "expected"), [("scores.py:f1", "{folder}/scores.py:f1"), ("scores.old:f1", "scores.old:f1")]
)
def test_a_metric_in_release_toml_is_relative_to_it_unless_it_names_a_module(given, expected, tmp_path):
    path = toml(tmp_path, f"model = 'a.keras'\n[samples]\nmetric = '{given}'")
    assert load_settings(path, {}).samples.metric == expected.format(folder=tmp_path)


def test_flags_win_over_the_file_and_leave_the_rest_of_it(tmp_path):
    path = toml(tmp_path, "formats = ['onnx']\ntrust_lambda = true\n[samples]\nbatches = [3]")
    settings = load_settings(path, {**MODEL, "formats": ["tflite"], "trust_lambda": None, "samples": {"path": None}})
    assert settings.formats == ("tflite",)
    assert settings.trust_lambda
    assert settings.samples.batches == (3,)


def test_a_value_where_a_section_belongs_is_named_also_when_a_flag_speaks_of_that_section(tmp_path):
    path = toml(tmp_path, "samples = 's.npz'")
    with pytest.raises(BadInput, match=r"samples: got 's\.npz', valid is a section \[samples\]"):
        load_settings(path, {**MODEL, "samples": {"path": Path("other.npz")}})


def test_by_default_the_six_cpu_cells_are_required_whatever_the_machine_has():
    required = {str(requirement) for requirement in load_settings(None, MODEL).required}
    assert required == {
        "saved_model tensorflow cpu",
        "tflite litert-xnnpack cpu",
        "tflite litert-reference cpu",
        "tfjs tfjs-wasm cpu",
        "tfjs tfjs-cpu cpu",
        "onnx onnxruntime cpu",
    }


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"required": ["onnx ort-web-webgpu gpu"], "gpu": "off"}, "policy.gpu and policy.tf32 leave it out"),
        ({"elsewhere": ["onnx onnxruntime gpu"], "gpu": "off"}, "policy.gpu and policy.tf32 leave it out"),
        ({"elsewhere": ["onnx onnxruntime-tf32 gpu"]}, "policy.gpu and policy.tf32 leave it out"),
        ({"elsewhere": ["original keras gpu"]}, "the original, which is not in a release"),
        ({"elsewhere": ["onnx onnxruntime cpu"]}, "is in policy.required and in policy.elsewhere"),
        ({"gpu_pool": "gpus"}, "policy.elsewhere names no cell for it"),
        ({"elsewhere": ["onnx onnxruntim gpu"]}, "did you mean 'onnx onnxruntime gpu'?"),
        ({"gpu": "maybe"}, "policy.gpu"),
    ],
)
def test_a_policy_that_can_never_be_met_is_refused_before_anything_runs(policy, says):
    with pytest.raises(BadInput, match=re.escape(says)):
        load_settings(None, {"model": "m.keras", "policy": policy})


def test_gpu_off_leaves_out_every_gpu_cell_and_tf32_brings_its_own():
    def names(**policy):
        return {str(row.requirement) for row in load_settings(None, {"model": "m.keras", "policy": policy}).runtimes}

    assert not [name for name in names(gpu="off") if name.endswith("gpu")]
    assert "tfjs tfjs-webgpu gpu" in names()
    assert names(tf32=True) - names() == {
        "original keras-tf32 gpu",
        "saved_model tensorflow-tf32 gpu",
        "onnx onnxruntime-tf32 gpu",
    }


def test_input_shapes_are_spelled_as_the_flag_or_as_lists(tmp_path):
    spelled = load_settings(None, MODEL | {"input_shapes": {"image": "?, 32,32,3", "ids": [None, 7]}})
    assert spelled.input_shapes == {"image": (None, 32, 32, 3), "ids": (None, 7)}
    assert Settings.model_validate(spelled.model_dump(mode="json")) == spelled
    path = toml(tmp_path, "[input_shapes]\nimage = '?,4'\nsize = [1, 2]")
    assert load_settings(path, MODEL).input_shapes == {"image": (None, 4), "size": (1, 2)}


@pytest.mark.parametrize("shape", ["", "a,b", "4,0", [], 5, [1.5], {"a": 1}])
def test_a_shape_that_is_none_is_bad_input_by_its_name(shape):
    with pytest.raises(BadInput, match=r"input_shapes"):
        load_settings(None, MODEL | {"input_shapes": {"image": shape}})


def test_the_flag_for_shapes_is_read_by_name():
    assert named_shapes(["image=?,32,32,3", "ids=1,7"]) == {"image": "?,32,32,3", "ids": "1,7"}
    assert named_shapes([]) is None
    for wrong in (["image"], ["=1,2"], ["image="], ["a=1", "a=2"]):
        with pytest.raises(BadInput, match=r"--input-shape .*: is "):
            named_shapes(wrong)


def test_what_another_machine_has_to_prove_is_not_run_here():
    policy = {"elsewhere": ["onnx onnxruntime gpu"]}
    here = {str(row.requirement) for row in load_settings(None, {"model": "m.keras", "policy": policy}).runtimes}
    everything = {str(row.requirement) for row in load_settings(None, {"model": "m.keras"}).runtimes}
    assert everything - here == {"onnx onnxruntime gpu"}


def test_the_bounds_of_a_cell_are_recorded_for_whoever_runs_it_again():
    limits = {"seconds": 1800, "memory_gib": 3, "sample_seconds": 7, "software_seconds": 5}
    record = load_settings(None, {"model": "m.keras", "limits": limits}).record
    assert {name: getattr(record, name) for name in limits} == limits


def test_a_format_stands_for_its_variants_and_a_variant_for_itself():
    settings = load_settings(None, {**MODEL, "formats": ["tflite/batch1", "onnx"]})
    assert [row.key for row in rows_of(settings.formats)] == ["tflite/batch1", "onnx/default"]
    assert {row.format for row in settings.runtimes} == {"tflite", "onnx", "original"}
    assert {each.format for each in settings.required} == {"tflite", "onnx"}
    assert settings.record.formats == ("tflite/batch1", "onnx")
    assert [row.key for row in rows_of(("tflite", "tflite/batch1"))] == ["tflite/dynamic", "tflite/batch1"]
    assert [row.key for row in rows_of(("tflite/static",))] == ["tflite/static"]


def test_a_format_that_is_named_leaves_out_variants_of_reduced_precision(monkeypatch):
    half = replace(next(row for row in EXPORTERS if row.key == "onnx/default"), variant="half", precision="float16")
    monkeypatch.setattr("exporters.formats.registry.EXPORTERS", (*EXPORTERS, half))
    assert [row.key for row in rows_of(("onnx",))] == ["onnx/default"]
    assert [row.key for row in rows_of(("onnx", "onnx/half"))] == ["onnx/default", "onnx/half"]


def test_the_cells_of_a_variant_that_come_from_elsewhere_are_not_run_here():
    policy = {"required": ["tflite/dynamic litert-xnnpack cpu"], "elsewhere": ["tflite/batch1 litert-xnnpack cpu"]}
    settings = load_settings(None, {**MODEL, "policy": policy})
    (row,) = [row for row in settings.runtimes if row.name == "litert-xnnpack"]
    assert settings.runs_here("tflite/dynamic", row)
    assert not settings.runs_here("tflite/batch1", row)
    assert not settings.runs_here("onnx/default", row)


@pytest.mark.parametrize("key", ["required", "elsewhere"])
def test_a_variant_may_be_demanded_in_a_runtime_on_request(key):
    settings = load_settings(None, {**MODEL, "policy": {key: ["tflite/batch1 openvino-tflite cpu"]}})
    planned = "openvino-tflite" in {row.name for row in settings._planned}
    assert planned
    assert str(settings.demanded[-1]) == "tflite/batch1 openvino-tflite cpu"


def test_a_variants_option_comes_before_that_of_its_format(tmp_path):
    (row,) = rows_of(("onnx",))
    plain = load_settings(toml(tmp_path, "[onnx]\nopset = 17"), MODEL)
    assert plain.export_options(row) == {"opset": 17}
    own = load_settings(toml(tmp_path, "[onnx]\nopset = 17\n[variants.'onnx/default']\nopset = 18"), MODEL)
    assert own.export_options(row) == {"opset": 18}
    assert load_settings(None, MODEL).export_options(row) == {"opset": 18}


def test_a_size_limit_of_a_variant_is_kept_with_the_release(tmp_path):
    path = toml(tmp_path, "[policy.baseline.size_ratios]\n'tflite/batch1' = 1.5\nonnx = 2")
    limits = load_settings(path, MODEL).record.baseline
    ratios = [limits.size_ratio_of(key) for key in ("tflite/batch1", "tflite/dynamic", "onnx/default")]
    assert ratios == [1.5, 1.1, 2.0]
