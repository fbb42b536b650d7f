"""Models of Keras 2: loaded from what each of its writers stored, they compute what tf_keras itself computes."""

from pathlib import Path

import keras2_models
import pytest
from bench import every, required
from keras2_models import change_weights, exchange

from exporters.errors import BadInput

pytestmark = pytest.mark.slow

MODELS = (
    "two_inputs",
    "twins",
    "image",
    "gated",
    "dicts",
    "built_by_a_call",
    "normalized",
    "spectral",
    "words",
    "sentences",
)
WITH_VOCABULARY = {"words", "sentences"}


@pytest.fixture
def saved(bench, tmp_path):
    """Saves a model; returns its path and what tf_keras computes."""

    def run(name, writer="2.15", **more):
        request = {"name": name, "writer": writer, "folder": str(tmp_path), **more}
        told = bench.call("tests.exporters.keras2_models:save", request)
        return Path(told["model"]), told["values"]

    return run


@pytest.fixture
def load(bench):
    """Loads a model in another process; returns the outcome."""

    def run(path, **loading):
        return bench.outcome("tests.exporters.keras2_models:load", {"model": str(path), **loading})

    return run


def same(found, expected):
    return len(found) == len(expected) and all(
        a == pytest.approx(b, rel=1e-6, abs=1e-7) for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize("name", MODELS)
def test_a_model_of_keras_2_computes_what_tf_keras_computes(bench, tmp_path, name):
    writers = ["2.15", "2.13", "windows"]
    if name in WITH_VOCABULARY:  # a writer on Windows stores them under the separators of zip, not as simulated here
        writers.remove("windows")
    request = {"name": name, "writers": writers, "folder": str(tmp_path)}
    told = bench.call("tests.exporters.keras2_models:save_each", request)
    requests = {writer: {"model": told[writer]["model"]} for writer in writers}
    found = bench.call("tests.exporters.stored_forms:load_each", {"requests": requests})
    assert {writer: found[writer] for writer in writers if not same(found[writer], told[writer]["values"])} == {}


@pytest.mark.parametrize("writer", ["2.15", "2.13"])
def test_two_exchanged_groups_of_one_shape_are_seen_in_the_numbers(saved, load, writer):
    path, values = saved("twins", writer)
    group = {"2.15": "layers/dense", "2.13": "_layer_checkpoint_dependencies/dense"}[writer]
    exchange(path, f"{group}/vars", f"{group}_2/vars")
    assert not same(load(path).unwrap()["values"], values)


def test_names_follow_the_rules_of_every_other_model(saved, load):
    path, _ = saved("two_inputs")
    told = load(path).unwrap()
    assert [spec[0] for spec in (*told["inputs"], *told["outputs"])] == ["zeta", "alpha", "score", "other"]
    path, _ = saved("dicts")
    told = load(path).unwrap()
    assert [spec[0] for spec in (*told["inputs"], *told["outputs"])] == ["left", "right", "also", "out"]


def test_a_missing_group_is_named_with_what_the_model_has(saved, load):
    path, _ = saved("two_inputs")
    change_weights(path, lambda file: file.move("layers/dense", "elsewhere/dense"))
    with pytest.raises(BadInput, match=r"model\.weights\.h5 does not fit the model") as error:
        load(path).unwrap()
    assert "elsewhere/dense is stored and the model has no such layer" in error.value.message
    assert "layers/dense (layer shared) has 2 variables and 0 are stored" in error.value.message


def test_a_group_of_another_shape_is_named_with_both_shapes(saved, load):
    path, _ = saved("two_inputs")
    exchange(path, "layers/dense", "layers/dense_1")
    with pytest.raises(BadInput, match=r"has shape \(4, 4\) and \(12, 4\) is stored"):
        load(path).unwrap()


def test_a_model_that_was_never_built_is_refused_with_the_flag_that_builds_it(saved, load):
    path, _ = saved("never_built")
    with pytest.raises(BadInput, match="input shape of this Sequential is not stored") as error:
        load(path).unwrap()
    assert "--input-shape" in error.value.next_step


def test_a_shape_for_a_model_that_says_its_own_is_refused(saved, load):
    path, _ = saved("twins")
    with pytest.raises(BadInput, match=r"states the shapes of its inputs itself.*given for x"):
        load(path, input_shapes={"x": [None, 4]}).unwrap()


def test_a_sequential_whose_shape_got_lost_is_built_for_the_users(saved, load):
    path, values = saved("built_by_a_call", without_shape=True)
    with pytest.raises(BadInput, match="not stored in the file"):
        load(path).unwrap()
    told = load(path, input_shapes={"x": [1, 5]}).unwrap()
    assert told["inputs"] == [["x", "float32", [1, 5]]]
    assert same(told["values"], values)
    with pytest.raises(BadInput, match=r"one input, and --input-shape was given for x, z"):
        load(path, input_shapes={"x": [None, 5], "z": [None, 5]}).unwrap()
    with pytest.raises(BadInput, match=r"has shape \(6, 3\) and \(5, 3\) is stored"):
        load(path, input_shapes={"x": [None, 6]}).unwrap()


def test_a_class_that_the_user_wrote_against_keras_is_one_of_tf_keras(saved, load, tmp_path):
    path, values = saved("with_code")
    (tmp_path / "doubling.py").write_text("from tensorflow import keras\n" + keras2_models.CODE, "utf-8")
    (tmp_path / "doubling2.py").write_text("import keras\n" + keras2_models.CODE, "utf-8")
    for module in ("doubling.py", "doubling2.py"):
        assert same(load(path, custom_objects=[str(tmp_path / module)]).unwrap()["values"], values)


@pytest.mark.parametrize("writer", ["2.15", "2.13"])
def test_a_subclass_with_layers_under_several_attributes_is_read_from_both_writers(saved, load, tmp_path, writer):
    path, values = saved("subclass", writer)
    (tmp_path / "net.py").write_text("import keras\n" + keras2_models.CODE, "utf-8")
    assert same(load(path, custom_objects=[str(tmp_path / "net.py")]).unwrap()["values"], values)


@pytest.mark.parametrize("name", ["image", "recurrent", "films", "attention", "dicts", "words"])
def test_a_model_of_keras_2_is_proven_in_all_formats(bench, name):
    own = {"policy": {"gpu": "off"}}
    proof = bench.proof(f"tests.exporters.keras2_models:{name}", own, rows=every if name == "image" else required)
    assert {artifact.status for artifact in proof.artifacts.values()} <= {"exported", "limited"}
    failed = {key: f"{cell.status}: {cell.message}" for key, cell in proof.cells.items() if cell.status == "failed"}
    assert failed == {}
    assert proof.verdict().reasons == ()
