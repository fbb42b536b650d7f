"""Admission: what may reach Keras, what is refused, and with which words. No framework is imported anywhere here."""

import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import hostile
import pytest
from hostile import functional, input_layer, keras_file, lambda_layer, layer, sequential
from pydantic import TypeAdapter

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from exporters.source.admission import ModelFacts, admit, examine, job

FRAMEWORKS = {"keras", "tensorflow", "tf_keras", "torch"}


def admitted(path: Path, *, custom_objects: bool = False, trust_lambda: bool = False) -> ModelFacts:
    facts = examine(path)
    admit(facts, custom_objects=custom_objects, trust_lambda=trust_lambda)
    return facts


def test_a_sound_model_passes_and_its_facts_are_read(tmp_path):
    path = keras_file(tmp_path / "small.keras")
    facts = admitted(path)
    assert facts == ModelFacts(
        name="small.keras",
        digest=facts.digest,
        size=path.stat().st_size,
        keras_version="3.15.1",
        date_saved="2026-01-02@03:04:05",
        class_name="Sequential",
        inputs=(TensorSpec(name="image", dtype="float32", shape=(None, 4)),),
        output_names=("score",),
        layers={"Dense": 1, "InputLayer": 1},
        layer_count=2,
        parameters=15,
        parameter_bytes=60,
        optimizer_bytes=56,
        has_optimizer_state=True,
    )
    assert len(facts.digest) == 64


def test_a_recompressed_archive_with_assets_and_folders_passes(tmp_path):
    assets = [("assets/", b""), ("assets/layers/words/vocabulary.txt", b"a\nb\n")]
    admitted(keras_file(tmp_path / "m.keras", extra=assets, compression=zipfile.ZIP_DEFLATED))


def test_an_archive_written_to_a_stream_passes(tmp_path):
    """Without seeking, the standard library repeats each member's sizes behind its data."""
    sound = keras_file(tmp_path / "a.keras")
    path = tmp_path / "b.keras"

    class Pipe:
        def __init__(self, file):
            self.write, self.flush = file.write, file.flush

    with path.open("wb") as file, zipfile.ZipFile(Pipe(file), "w") as target, zipfile.ZipFile(sound) as source:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert admitted(path).parameters == 15


@pytest.mark.parametrize("kind", hostile.ARCHIVES)
def test_a_bad_archive_is_refused_by_name(kind, tmp_path):
    build, words = hostile.ARCHIVES[kind]
    path = build(tmp_path / "m.keras")
    with pytest.raises(BadInput, match=words) as caught:
        examine(path)
    assert str(path) in caught.value.message
    assert not FRAMEWORKS & set(sys.modules)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"gone\.keras: no such file"):
        examine(tmp_path / "gone.keras")
    with pytest.raises(BadInput, match="is a folder"):
        examine(tmp_path)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(BadInput, match="is a SavedModel that holds no Keras model"):
        examine(tmp_path)


def test_a_pipe_is_refused_without_being_opened(tmp_path):
    os.mkfifo(tmp_path / "m.keras")
    with pytest.raises(BadInput, match="not a regular file"):
        examine(tmp_path / "m.keras")


@pytest.mark.parametrize("kind", hostile.TEXTS)
def test_a_bad_configuration_text_is_refused_quickly(kind, tmp_path):
    text, words = hostile.TEXTS[kind]
    path = keras_file(tmp_path / "m.keras", config=text)
    start = time.process_time()
    with pytest.raises(BadInput, match=words):
        examine(path)
    assert time.process_time() - start < 2


@pytest.mark.parametrize("metadata", [{}, {"keras_version": None}, {"keras_version": ""}])
def test_metadata_without_a_version_is_refused(metadata, tmp_path):
    with pytest.raises(BadInput, match=r"metadata\.json does not say which Keras"):
        examine(keras_file(tmp_path / "m.keras", metadata=metadata))


@pytest.mark.parametrize("version", ["2.13.1", "2.17.0", "3.0.0"])
def test_files_of_both_generations_of_keras_pass(version, tmp_path):
    assert admitted(keras_file(tmp_path / "m.keras", metadata={"keras_version": version})).keras_version == version


@pytest.mark.parametrize("version", ["2.12.0", "1.2", "4.0.0", "2", "two"])
def test_a_file_of_another_keras_is_refused_as_such(version, tmp_path):
    path = keras_file(tmp_path / "m.keras", metadata={"keras_version": version})
    with pytest.raises(BadInput, match=f"written by Keras {version}; files of Keras 3 and of Keras 2.13") as caught:
        admitted(path)
    assert "save it again with a newer one" in caught.value.next_step


@pytest.mark.parametrize("kind", hostile.KERAS_2)
def test_a_configuration_of_keras_2_that_asks_for_too_much_is_refused_by_layer(kind, tmp_path):
    config, words = hostile.KERAS_2[kind]
    path = keras_file(tmp_path / "m.keras", config=config, metadata={"keras_version": "2.15.0"})
    start = time.process_time()
    with pytest.raises(BadInput, match=words):
        admitted(path)
    assert time.process_time() - start < 2
    assert not FRAMEWORKS & set(sys.modules)


@pytest.mark.parametrize("kind", sorted(set(hostile.KERAS_2) - {"bytecode", "bytecode for a shape", "another name"}))
def test_no_permission_allows_what_is_refused_in_keras_2_for_good(kind, tmp_path):
    path = keras_file(tmp_path / "m.keras", config=hostile.KERAS_2[kind][0], metadata={"keras_version": "2.15.0"})
    with pytest.raises(BadInput):
        admitted(path, custom_objects=True, trust_lambda=True)


def test_layers_and_operations_of_keras_2_pass(tmp_path):
    layers = [
        input_layer("x"),
        layer("TFOpLambda", "tf.nn.relu", module="keras.src.layers.core.tf_op_layer", function="nn.relu"),
        layer("SlicingOpLambda", "get", module="keras.src.layers.core.tf_op_layer", function="__operators__.getitem"),
        layer("LSTM", "lstm", activation="tanh", recurrent_activation="sigmoid"),
        layer("BatchNormalization", "norm", module="tf_keras.layers"),
    ]
    config = functional(layers, [["x", 0, 0]], [["norm", 0, 0]]) | {"module": "keras.src.engine.functional"}
    admitted(keras_file(tmp_path / "m.keras", config=config, metadata={"keras_version": "2.15.0"}))


def test_a_sequential_whose_shape_nobody_says_is_refused_with_the_flag(tmp_path):
    path = keras_file(tmp_path / "m.keras", config=sequential(layer("Dense", "d")))
    with pytest.raises(BadInput, match="input shape of this Sequential is not stored") as caught:
        admitted(path)
    assert "--input-shape" in caught.value.next_step
    admit(examine(path), custom_objects=False, trust_lambda=False, input_shapes=True)


def test_a_sequential_that_begins_with_a_model_takes_that_models_input(tmp_path):
    inner = sequential(input_layer("y", (None, 5)), layer("Dense", "a"), name="inner")
    facts = examine(keras_file(tmp_path / "m.keras", config=sequential(inner, layer("Dense", "b"))))
    assert facts.inputs == (TensorSpec(name="input_layer", dtype="float32", shape=(None, 5)),)


def test_a_sequential_of_keras_2_takes_the_shape_that_its_first_layer_was_told(tmp_path):
    config = sequential(layer("Dense", "d", batch_input_shape=[None, 7], dtype="float32"))
    facts = examine(keras_file(tmp_path / "m.keras", config=config, metadata={"keras_version": "2.15.0"}))
    assert facts.inputs == (TensorSpec(name="d_input", dtype="float32", shape=(None, 7)),)


@pytest.mark.parametrize("kind", hostile.CONFIGS)
def test_a_configuration_that_asks_for_too_much_is_refused_by_layer(kind, tmp_path):
    config, words, way_out = hostile.CONFIGS[kind]
    facts = examine(keras_file(tmp_path / "m.keras", config=config))
    with pytest.raises(BadInput, match=words) as caught:
        admit(facts, custom_objects=False, trust_lambda=False)
    assert re.search(way_out, caught.value.next_step)
    assert not FRAMEWORKS & set(sys.modules)


def test_each_permission_allows_its_own_thing_only(tmp_path):
    code = keras_file(tmp_path / "c.keras", config=hostile.CONFIGS["a custom class"][0])
    bytecode = keras_file(tmp_path / "l.keras", config=hostile.CONFIGS["bytecode"][0])
    admitted(code, custom_objects=True)
    admitted(bytecode, trust_lambda=True)
    with pytest.raises(BadInput):
        admitted(code, trust_lambda=True)
    with pytest.raises(BadInput):
        admitted(bytecode, custom_objects=True)


@pytest.mark.parametrize("kind", ["a spoofed layer", "a SavedModel layer", "a vocabulary by path", "a loader of Keras"])
def test_no_permission_allows_what_is_refused_for_good(kind, tmp_path):
    path = keras_file(tmp_path / "m.keras", config=hostile.CONFIGS[kind][0])
    with pytest.raises(BadInput):
        admitted(path, custom_objects=True, trust_lambda=True)


def test_a_custom_loss_is_noted_and_not_demanded(tmp_path):
    loss = {"module": "builtins", "class_name": "function", "config": "focal", "registered_name": "function"}
    optimizer = {"module": "my.optim", "class_name": "Fast", "config": {}, "registered_name": "Fast"}
    config = hostile.small_model() | {"compile_config": {"loss": loss, "optimizer": optimizer}}
    facts = admitted(keras_file(tmp_path / "m.keras", config=config))
    assert [need.name for need in facts.compile_only_custom] == ["focal", "Fast"]


def test_a_nested_models_own_loss_is_not_demanded_either(tmp_path):
    loss = {"module": "builtins", "class_name": "function", "config": "focal", "registered_name": "function"}
    inner = sequential(input_layer("x"), name="inner", compile_config={"loss": loss})
    facts = admitted(keras_file(tmp_path / "m.keras", config=sequential(input_layer(), inner)))
    assert [need.name for need in facts.compile_only_custom] == ["focal"]


def test_what_only_looks_like_the_training_part_of_a_model_is_demanded(tmp_path):
    """Keras builds whatever stands in a layer's arguments, under any key."""
    odd = layer("Dense", "d", compile_config={"loss": {"module": None, "class_name": "Mine", "config": {}}})
    with pytest.raises(BadInput, match="object Mine at layer d"):
        admitted(keras_file(tmp_path / "m.keras", config=sequential(input_layer(), odd)))


def test_operations_constants_and_policies_of_keras_pass(tmp_path):
    layers = [
        input_layer("x"),
        layer("Add", "add", module="keras.src.ops.numpy", registered="Add"),
        layer("GetItem", "get", module="keras.src.ops.numpy", registered="GetItem"),
        layer("LayerScale", "scale", module="keras.src.applications.convnext", registered="LayerScale"),
        layer(
            "Dense",
            "d",
            activation={"module": "builtins", "class_name": "function", "config": "gelu", "registered_name": "gelu"},
            dtype={"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}},
            kernel_initializer={"class_name": "GlorotUniform", "config": {}},
            start={"class_name": "__slice__", "config": {"start": None, "stop": 1, "step": None}},
            value={"class_name": "__numpy__", "config": {"value": [1.0], "dtype": "float32"}},
        ),
    ]
    admitted(keras_file(tmp_path / "m.keras", config=functional(layers, [["x", 0, 0]], [["d", 0, 0]])))


def test_layers_are_counted_with_those_of_nested_models(tmp_path):
    inner = sequential(input_layer("y"), layer("Dense", "a"), layer("Dense", "b"), name="inner")
    facts = examine(keras_file(tmp_path / "m.keras", config=sequential(input_layer(), inner)))
    assert facts.layers == {"Dense": 2, "InputLayer": 2, "Sequential": 1}
    assert facts.layer_count == 5


def test_dict_inputs_are_named_by_their_keys(tmp_path):
    layers = [input_layer("input_layer", (None, 2)), input_layer("input_layer_1", (None, None), "int32")]
    config = functional(
        layers,
        {"user": ["input_layer", 0, 0], "items": [["input_layer_1", 0, 0]]},
        {"score": ["d", 0, 0], "rank": ["d", 0, 1]},
    )
    facts = examine(keras_file(tmp_path / "m.keras", config=config))
    assert facts.inputs == (
        TensorSpec(name="items_0", dtype="int32", shape=(None, None), path='["items"][0]'),
        TensorSpec(name="user", dtype="float32", shape=(None, 2), path='["user"]'),
    )
    assert facts.output_names == ("rank", "score")


def test_repeated_outputs_are_numbered(tmp_path):
    config = functional([input_layer("x")], ["x", 0, 0], [["lstm", 0, 0], ["lstm", 0, 1], ["lstm", 0, 2]])
    facts = examine(keras_file(tmp_path / "m.keras", config=config))
    assert facts.output_names == ("lstm_0", "lstm_1", "lstm_2")
    assert facts.inputs == (TensorSpec(name="x", dtype="float32", shape=(None, 4)),)


def test_a_sequential_without_an_input_layer_takes_its_shape_from_the_build(tmp_path):
    config = sequential(layer("Dense", "d"), build_config={"input_shape": [None, 7]})
    facts = examine(keras_file(tmp_path / "m.keras", config=config))
    assert facts.inputs == (TensorSpec(name="input_layer", dtype="float32", shape=(None, 7)),)


def test_inputs_that_only_building_can_tell_are_none(tmp_path):
    config = sequential(layer("Dense", "d"))
    assert examine(keras_file(tmp_path / "a.keras", config=config)).inputs is None
    subclass = {"module": None, "class_name": "Net", "config": {}, "build_config": {"input_shape": [1]}}
    facts = examine(keras_file(tmp_path / "b.keras", config=subclass))
    assert facts.inputs is None
    assert facts.output_names is None


@pytest.mark.parametrize("layers", [None, 3, [None, 3], [{}], [{"class_name": "Dense"}], [{"config": 3}]])
def test_a_configuration_of_odd_shape_is_judged_without_a_traceback(layers, tmp_path):
    config = functional(layers, [["x", 0, 0]], {"a": 3, "b": [[[]]]})
    assert examine(keras_file(tmp_path / "m.keras", config=config)).inputs is None


@pytest.mark.parametrize(
    "node",
    [{"class_name": 3, "config": {}}, {"class_name": "function", "config": {}}, {"class_name": "A", "module": 3}],
)
def test_an_object_of_odd_shape_is_refused(node, tmp_path):
    with pytest.raises(BadInput, match=r"config\.json: the .* at config\.layers\[0\]"):
        examine(keras_file(tmp_path / "m.keras", config=sequential(node)))


def test_the_job_answers_with_facts_that_come_back_from_json(tmp_path):
    path = keras_file(tmp_path / "m.keras", config=sequential(input_layer(), lambda_layer(lambda x: x)))
    facts = job.admit_model(job.AdmitRequest(path=path, trust_lambda=True))
    adapter = TypeAdapter(ModelFacts)
    assert adapter.validate_json(adapter.dump_json(facts)) == facts == examine(path)
    with pytest.raises(BadInput, match="layer warp"):
        job.admit_model(job.AdmitRequest(path=path))


def test_nothing_heavier_than_h5py_is_imported_by_the_job(tmp_path):
    path = keras_file(tmp_path / "m.keras")
    code = (
        "import sys; from pathlib import Path; from exporters.source.admission.job import AdmitRequest, admit_model; "
        f"admit_model(AdmitRequest(path=Path({str(path)!r}))); "
        "print(sorted({name.split('.')[0] for name in sys.modules} & "
        "{'keras', 'tensorflow', 'tf_keras', 'prefect', 'onnxruntime', 'rich'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_real_model_at_hand_is_read():
    """A folder of real `.keras` files, when there is one: none may be refused for the shape of its archive."""
    folder = os.environ.get("PARITYGATE_WILD")
    if not folder:
        pytest.skip("no folder of real models: set PARITYGATE_WILD to one")
    models = sorted(Path(folder).glob("*.keras"))
    assert models
    for path in models:
        examine(path)
