"""Loading a model for inference: its names, its structure, and a clear answer where it cannot be loaded."""

import pytest

from exporters.errors import BadInput

pytestmark = pytest.mark.slow


@pytest.fixture
def load(bench, tmp_path):
    """Saves an odd model and loads it in another process; returns the outcome."""

    def run(name, custom_objects=(), **loading):
        model = bench.call("tests.exporters.odd_models:save", {"name": name, "folder": str(tmp_path)})
        request = {"model": model, "custom_objects": [str(tmp_path / path) for path in custom_objects]}
        return bench.outcome("tests.exporters.odd_models:describe", request | loading)

    return run


@pytest.mark.parametrize("name", ["single", "sequential"])
def test_functional_and_sequential_models_have_their_own_names(load, name):
    told = load(name).unwrap()
    assert told["inputs"][0][:3] == ["x", "float32", [None, 3]]
    assert told["outputs"][0][:3] == ["y", "float32", [None, 2]]


def test_a_sequential_that_was_built_by_a_call_gets_its_input_from_the_file(load):
    told = load("sequential_built_by_a_call").unwrap()
    assert [spec[2][1:] for spec in (*told["inputs"], *told["outputs"])] == [[3], [2]]


def test_a_model_that_was_never_built_is_refused_with_the_way_out(load):
    with pytest.raises(BadInput, match="input shape of this Sequential is not stored") as error:
        load("never_built").unwrap()
    assert "--input-shape" in error.value.next_step


def test_a_model_that_was_never_built_has_no_weights_to_go_on_with(load):
    with pytest.raises(BadInput, match="cannot load it"):
        load("never_built", input_shapes={"x": [None, 3]}).unwrap()


def test_a_sequential_whose_shape_got_lost_is_built_for_the_users(load):
    with pytest.raises(BadInput, match="not stored in the file"):
        load("shape_lost").unwrap()
    lost = load("shape_lost", input_shapes={"x": [None, 3]}).unwrap()
    assert lost["inputs"][0][:3] == ["x", "float32", [None, 3]]
    assert lost["values"] == load("sequential_built_by_a_call").unwrap()["values"]


def test_a_shape_for_a_model_that_says_its_own_is_refused(load):
    with pytest.raises(BadInput, match=r"states the shapes of its inputs itself.*given for x"):
        load("single", input_shapes={"x": [None, 3]}).unwrap()


def test_a_loss_inside_a_nested_model_is_not_asked_for(load):
    assert load("nested_loss").status == "ok"


def test_weights_that_do_not_fit_are_bad_input_with_keras_own_words(load):
    with pytest.raises(BadInput, match=r"Keras \d.* cannot load it: .*<Dense name=y.*=\(5, 2\), Received: .*=\(3, 2\)"):
        load("weights_of_another").unwrap()


def test_dict_keys_name_the_tensors_and_the_path_says_where_they_stand(load):
    told = load("nested_dicts").unwrap()
    assert [(name, path) for name, _, _, path in told["inputs"]] == [("left", '["left"]'), ("right", '["right"]')]
    assert [(name, path) for name, _, _, path in told["outputs"]] == [
        ("out_0", '["out"][0]'),
        ("out_1", '["out"][1]'),
    ]
    assert told["values"]["out_0"] == pytest.approx([-2, 0, 2])
    assert told["values"]["out_1"] == pytest.approx([0, 0, 2])


def test_a_custom_layer_comes_from_the_users_file_and_from_nowhere_else(load):
    assert load("custom", ["layers_of_mine.py"]).unwrap()["values"]["y"] == pytest.approx([-2, 0, 2])
    with pytest.raises(BadInput, match=r"needs code that was not given: .*Doubled") as error:
        load("custom").unwrap()
    assert len(error.value.message) < 400  # Keras' own has the whole configuration


def test_a_custom_objects_file_that_is_not_there_is_named(load):
    with pytest.raises(BadInput, match=r"^--custom-objects .*missing\.py: cannot be imported: FileNotFoundError"):
        load("single", ["missing.py"]).unwrap()


def test_random_layers_are_neutral(load):
    told = load("noisy").unwrap()
    assert told["same"]
    assert told["values"]["y"] == pytest.approx([-1 + 2 * i / 63 for i in range(64)], abs=1e-6)
