"""Settings: what `release.toml` and the flags may say, and what the answer to a mistake is."""

from pathlib import Path

import pytest

from exporters.errors import BadInput
from flows.settings import load_settings

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
    ],
)
def test_a_mistake_in_release_toml_is_named_with_what_is_valid(tmp_path, text, said):
    path = toml(tmp_path, text)
    with pytest.raises(BadInput) as caught:
        load_settings(path, MODEL)
    assert said in caught.value.message
    assert str(path) in caught.value.message


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
