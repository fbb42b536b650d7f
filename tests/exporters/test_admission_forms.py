"""Admission of every form but the archive: what passes, what is refused and with which words, without a framework."""

import json
import subprocess
import sys
import time

import hostile
import hostile_forms
import numpy as np
import pytest
from hostile_forms import checkpoint, h5_model, keras_metadata, older, older_graph, older_model, saved_model

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from exporters.source.admission import admit, check_weights, examine

IMAGE = (TensorSpec(name="image", dtype="float32", shape=(None, 4)),)


def admitted(path, architecture="", **allowed):
    facts = examine(path, architecture)
    admit(facts, **{"custom_objects": False, "trust_lambda": False, **allowed})
    check_weights(path, architecture)
    return facts


@pytest.fixture
def architecture(tmp_path):
    """A `model.json` that fits the small weights."""

    def write(model=None, **more):
        path = tmp_path / "model.json"
        described = hostile_forms.small_older_model() if model is None else model
        path.write_text(json.dumps({"keras_version": "2.15.0", "backend": "tensorflow", **described, **more}), "utf-8")
        return str(path)

    return write


def refused_quickly(words, *arguments):
    start = time.process_time()
    with pytest.raises(BadInput, match=words) as caught:
        admitted(*arguments)
    assert time.process_time() - start < 2
    assert not {"keras", "tensorflow", "tf_keras"} & set(sys.modules)
    return caught.value


def test_a_whole_model_in_hdf5_passes_and_its_facts_are_read(tmp_path):
    facts = admitted(h5_model(tmp_path / "m.h5"))
    assert (facts.form, facts.generation, facts.keras_version, facts.backend) == ("h5", 2, "2.4.0", "tensorflow")
    assert (facts.class_name, facts.inputs, facts.output_names) == ("Sequential", IMAGE, ("score",))
    assert (facts.parameters, facts.optimizer_bytes, facts.has_optimizer_state) == (15, 48, True)


@pytest.mark.parametrize(
    ("version", "generation"), [("2.0.6", 2), ("2.2.4-tf", 2), ("2.12.0", 2), ("3.15.1", 3), ("1.2.2", None)]
)
def test_hdf5_files_of_every_keras_since_2_are_read(version, generation, tmp_path):
    path = h5_model(tmp_path / "m.h5", version=version)
    assert examine(path).generation == generation
    if generation is None:
        with pytest.raises(BadInput, match=r"by Keras 1\.2\.2; files of Keras 3 and of Keras 2 are read"):
            admitted(path)


def test_a_sequential_that_is_a_bare_list_of_layers_passes(tmp_path):
    config = {"class_name": "Sequential", "config": older_model(older("Dense", "d"))["config"]["layers"]}
    assert admitted(h5_model(tmp_path / "m.h5", config=config, version="2.0.6")).inputs == IMAGE


@pytest.mark.parametrize("kind", hostile_forms.H5)
def test_a_bad_hdf5_model_is_refused_by_name(kind, tmp_path):
    build, words = hostile_forms.H5[kind]
    refused_quickly(words, build(tmp_path / "m.h5"))


def test_a_truncated_hdf5_model_is_refused(tmp_path):
    path = h5_model(tmp_path / "m.h5")
    path.write_bytes(path.read_bytes()[:-600])
    refused_quickly(r"m\.h5: the HDF5 file itself cannot be read", path)


def test_nan_in_an_hdf5_model_is_named_with_its_layer(tmp_path):
    path = h5_model(tmp_path / "m.h5", kernel=np.full((4, 3), np.nan, np.float32))
    refused_quickly(r"layer score has a weight \(model_weights/score/score/kernel:0\) in which 12 of 12", path)


def test_what_compiled_an_hdf5_model_is_noted_and_not_demanded(tmp_path):
    training = {
        "loss": {"class_name": "Focal", "config": {}},
        "optimizer_config": {"class_name": "Custom>Adam", "config": {}},
    }
    facts = admitted(h5_model(tmp_path / "m.h5", training=training))
    assert [need.name for need in facts.compile_only_custom] == ["Focal"]


def test_each_permission_allows_its_own_thing_in_hdf5_as_well(tmp_path):
    admitted(hostile_forms.H5["bytecode"][0](tmp_path / "l.h5"), trust_lambda=True)
    admitted(hostile_forms.H5["a custom class"][0](tmp_path / "c.h5"), custom_objects=True)
    for kind in ("a file to read", "an operation"):
        with pytest.raises(BadInput):
            admitted(hostile_forms.H5[kind][0](tmp_path / "m.h5"), trust_lambda=True, custom_objects=True)


@pytest.fixture(params=["by object", "by name", "of a whole model", "a checkpoint", "its index", "its folder"])
def weights(request, tmp_path):
    """The same weights in every form that has no architecture, or not the user's."""
    if request.param == "by object":
        path = tmp_path / "m.weights.h5"
        path.write_bytes(hostile.small_weights())
    elif request.param == "by name":
        path = tmp_path / "m.h5"
        path.write_bytes(hostile.h5(hostile_forms.named_weights))
    elif request.param == "of a whole model":
        path = h5_model(tmp_path / "m.h5")
    else:
        path = checkpoint(tmp_path / "folder" / "m")
        (path.parent / "checkpoint").write_text('model_checkpoint_path: "m"\n', "utf-8")
        path = {"its index": path.with_name("m.index"), "its folder": path.parent}.get(request.param, path)
    return path


def test_weights_pass_with_an_architecture(weights, architecture):
    facts = admitted(weights, architecture())
    assert (facts.form, facts.generation, facts.keras_version) == ("weights", 2, "2.15.0")
    assert (facts.parameters, facts.inputs, facts.output_names) == (15, IMAGE, ("score",))


def test_weights_without_an_architecture_are_refused_with_the_flag(weights):
    if weights.name == "m.h5" and b"model_config" in weights.read_bytes():
        admitted(weights)
        return
    error = refused_quickly("holds weights and no architecture", weights)
    assert "--architecture model.json" in error.next_step


def test_weights_with_a_giant_text_are_refused_before_it_is_read(tmp_path):
    def write(file):
        hostile_forms.named_weights(file)
        file.attrs["keras_version"] = b"2" * (40 << 20)

    path = tmp_path / "m.h5"
    path.write_bytes(hostile.h5(write))
    refused_quickly("bytes in addition to its arrays; at most", path, "nets:make")


def test_weights_pass_with_a_builder_which_is_not_run(weights, tmp_path):
    (tmp_path / "net.py").write_text("raise SystemExit('it ran')", "utf-8")
    facts = admitted(weights, f"{tmp_path / 'net.py'}:make")
    assert facts.builder.endswith("net.py:make")
    assert (facts.inputs, facts.layer_count, facts.parameters) == (None, 0, 15)


def test_the_digest_is_another_with_another_architecture_or_other_weights(architecture, tmp_path):
    one = examine(checkpoint(tmp_path / "a" / "m"), architecture()).digest
    assert examine(tmp_path / "a" / "m", architecture()).digest == one
    assert examine(checkpoint(tmp_path / "b" / "m", kernel=np.zeros((4, 3), "f4")), architecture()).digest != one
    assert examine(tmp_path / "a" / "m", architecture(name="another")).digest != one


def test_the_digest_is_another_with_another_source_of_the_builder_be_it_a_file_or_a_module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checkpoint(tmp_path / "m")
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack" / "__init__.py").write_text("raise SystemExit('it ran')", "utf-8")
    net = tmp_path / "pack" / "net.py"
    for builder in ("pack.net:make", "pack/net.py:make"):
        net.write_text("raise SystemExit('it ran')", "utf-8")
        one = examine(tmp_path / "m", builder).digest
        net.write_text("raise SystemExit('it ran, and is another')", "utf-8")
        assert examine(tmp_path / "m", builder).digest != one
    assert examine(tmp_path / "m", "pack.gone:make").digest


@pytest.mark.parametrize(
    ("said", "generation"),
    [({"keras_version": "2.3.0-tf"}, 2), ({"keras_version": None, "module": "keras"}, 3), ({"keras_version": None}, 2)],
)
def test_an_architecture_says_its_generation_by_version_or_by_modules_or_the_weights_do(
    said, generation, architecture, tmp_path
):
    assert examine(h5_model(tmp_path / "m.h5"), architecture(**said)).generation == generation


def test_an_architecture_that_does_not_say_which_keras_wrote_it_is_refused(architecture, tmp_path):
    path = tmp_path / "m.weights.h5"
    path.write_bytes(hostile.small_weights())
    error = refused_quickly(r"model\.json: does not say which Keras wrote it", path, architecture(keras_version=None))
    assert "keras_version" in error.next_step


def test_an_architecture_is_admitted_like_every_configuration(architecture, tmp_path):
    path = checkpoint(tmp_path / "m")
    refused_quickly("layer Odd at layer dist", path, architecture(older_model(older("Odd", "dist"))))
    (tmp_path / "model.json").write_bytes(b'{"class_name": "A", "config": ' + b"[" * 200_000)
    refused_quickly(r"model\.json is nested more than 128", path, str(tmp_path / "model.json"))


def test_an_architecture_that_is_nothing_is_refused(tmp_path):
    refused_quickly("--architecture net: is no file and names no function", checkpoint(tmp_path / "m"), "net")


def test_an_archive_needs_no_architecture(architecture, tmp_path):
    path = hostile.keras_file(tmp_path / "m.keras")
    error = refused_quickly("holds its own architecture", path, architecture())
    assert error.next_step == "Leave --architecture out."


@pytest.mark.parametrize("kind", hostile_forms.CHECKPOINTS)
def test_a_bad_checkpoint_is_refused_by_name(kind, architecture, tmp_path):
    build, words = hostile_forms.CHECKPOINTS[kind]
    refused_quickly(words, build(tmp_path / "m"), architecture())


def test_nan_in_a_checkpoint_is_named_with_its_layer(architecture, tmp_path):
    path = checkpoint(tmp_path / "m", kernel=np.full((4, 3), np.inf, np.float32))
    refused_quickly("layer layer_with_weights-0 has a weight .* in which 12 of 12", path, architecture())


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/m", "..", "a\\\\b", ""])
def test_a_checkpoint_folder_that_names_another_place_is_refused(name, architecture, tmp_path):
    folder = checkpoint(tmp_path / "folder" / "m").parent
    (folder / "checkpoint").write_text(f'model_checkpoint_path: "{name}"\n', "utf-8")
    refused_quickly("valid is the name of one in the same folder", folder, architecture())


@pytest.mark.parametrize("kind", hostile_forms.SAVED_MODELS)
def test_a_bad_saved_model_is_refused_by_name(kind, tmp_path):
    build, words = hostile_forms.SAVED_MODELS[kind]
    refused_quickly(words, build(tmp_path / "m"))


@pytest.mark.parametrize("place", ["beside the graph", "in the graph"])
def test_a_saved_model_of_keras_passes_and_its_facts_are_read(place, tmp_path):
    inside = {"metadata": b"", "graph": older_graph(hostile_forms.METADATA)} if place == "in the graph" else {}
    facts = admitted(saved_model(tmp_path / "m", **inside))
    assert (facts.form, facts.generation, facts.keras_version) == ("saved_model", 2, "2.8.0")
    assert (facts.inputs, facts.parameters, facts.optimizer_bytes) == (IMAGE, 15, 48)


def test_shapes_that_are_written_as_tuples_are_read(tmp_path):
    shape = {"class_name": "__tuple__", "items": [None, 4]}
    config = older_model(older("Dense", "score"))
    config["config"]["layers"][0]["config"]["batch_input_shape"] = shape
    metadata = hostile_forms.METADATA | {"model_config": config}
    assert admitted(saved_model(tmp_path / "m", metadata=keras_metadata(metadata))).inputs == IMAGE


def test_the_variables_of_a_saved_model_pass_with_an_architecture(architecture, tmp_path):
    path = hostile_forms.SAVED_MODELS["a subclass"][0](tmp_path / "m")
    assert admitted(path, architecture()).form == "weights"


def test_refusing_takes_little_memory(tmp_path):
    text = b'{"class_name": "' + b"x" * (31 << 20)  # the longest that is read
    path = hostile_forms.h5_model(tmp_path / "m.h5", config=text)
    code = (
        "import contextlib, pathlib\n"
        "from exporters.source.admission import examine\n"
        "from exporters.errors import BadInput\n"
        f"with contextlib.suppress(BadInput): examine(pathlib.Path({str(path)!r})); print('passed')\n"
        "print(pathlib.Path('/proc/self/status').read_text('utf-8').split('VmHWM:')[1].split()[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300 << 10  # KiB
