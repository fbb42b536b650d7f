"""What a file asks for and what the user gave, brought together: modules that need no framework stand in for Keras."""

import hashlib
import importlib
from pathlib import Path

import pytest

from exporters.errors import BadInput
from exporters.source.keras.custom_objects import provide
from exporters.source.keras.user_code import imported
from exporters.source.readers.stored_model import StoredModel

OWN = """
class Scale: ...
class Shift: ...
def bend(x): ...
"""


def source(*layers):
    """A model with these layers, as (class, registered name, more configuration)."""
    nodes = [
        {
            "module": "lab.layers",
            "class_name": name,
            "registered_name": registered,
            "config": {"name": f"{name.lower()}_{place}", **config},
        }
        for place, (name, registered, config) in enumerate(layers)
    ]
    model = {"module": "keras", "class_name": "Functional", "config": {"name": "m", "layers": nodes}}
    return StoredModel(
        path=Path("net.keras"),
        form="archive",
        keras_version="3.10.0",
        generation=3,
        backend="",
        date_saved="",
        where="config.json",
        config=model,
        training=None,
        builder="",
        weights=None,
        assets={},
        verify=lambda: None,
        digest=lambda: ("", 0),
    )


@pytest.fixture
def given(tmp_path):
    """Writes a file of the user's own; returns how it is named."""

    def write(name, text=OWN):
        (tmp_path / f"{name}.py").write_text(text, "utf-8")
        return str(tmp_path / f"{name}.py")

    return write


def test_what_the_file_names_is_registered_under_its_name_and_recorded_with_its_places(given):
    file, registry = given("own_a"), {}
    used = provide(source(("Scale", "lab>Scale", {}), ("Scale", "lab>Scale", {})), [file], registry)
    assert registry["lab>Scale"] is registry["Scale"]
    (scale,) = used
    assert (scale.kind, scale.name, scale.given, scale.module) == ("layer", "lab>Scale", "own_a.py", "own_a")
    assert scale.layers == ("scale_0", "scale_1")
    assert scale.digest == hashlib.sha256(OWN.encode()).hexdigest()


def test_what_a_decorator_registered_comes_before_a_class_of_that_name(given):
    decorated = object.__new__(type("Scale", (), {"__module__": "own_b"}))
    registry = {"lab>Scale": decorated}
    provide(source(("Scale", "lab>Scale", {})), [given("own_b")], registry)
    assert registry["lab>Scale"] is decorated


def test_what_is_missing_is_named_with_its_module_its_layer_and_what_is_there(given):
    with pytest.raises(BadInput, match=r"needs code that was not given: layer Scales from lab\.layers") as caught:
        provide(source(("Scale", "Scale", {}), ("Scales", "Scales", {})), [given("own_c")], {})
    assert "at layer scales_1 (config.layers[1])" in caught.value.message
    assert "own_c.py defines Scale, Shift, bend (did you mean Scale?)" in caught.value.message
    assert "--custom-objects" in caught.value.next_step


def test_what_stands_inside_an_object_of_the_users_is_left_to_that_object(given):
    inner = {"module": "lab.rules", "class_name": "Rule", "config": {}, "registered_name": "Rule"}
    (used,) = provide(source(("Scale", "Scale", {"rule": inner})), [given("own_d")], {})
    assert used.name == "Scale"


def test_a_class_that_the_users_file_imports_is_taken_but_not_one_of_keras(given, tmp_path):
    (tmp_path / "parts_e.py").write_text(OWN, "utf-8")
    file = given("own_e", "from parts_e import Scale\nclass Shift: __module__ = 'keras.layers'\n")
    registry = {}
    (used,) = provide(source(("Scale", "Scale", {})), [file], registry)
    assert (used.given, used.module) == ("own_e.py", "parts_e")
    with pytest.raises(BadInput, match="layer Shift"):
        provide(source(("Shift", "Shift", {})), [file], {})


def test_a_file_that_does_not_import_is_bad_input(given):
    with pytest.raises(BadInput, match="cannot be imported: ZeroDivisionError"):
        provide(source(("Scale", "Scale", {})), [given("own_f", "1 / 0")], {})


def test_two_files_of_one_name_are_refused_and_one_given_twice_is_imported_once(given, tmp_path):
    first = given("own_g")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "own_g.py").write_text("class Other: ...\n", "utf-8")
    with pytest.raises(BadInput, match=r"more/own_g\.py: .* another module is called own_g: .*/own_g\.py") as caught:
        provide(source(("Scale", "Scale", {})), [first, str(tmp_path / "more" / "own_g.py")], {})
    assert "called like no other module" in caught.value.next_step
    assert imported(first) is imported(first)


def test_a_file_that_is_called_like_a_module_of_python_does_not_take_its_place(given):
    with pytest.raises(BadInput, match="another module is called colorsys"):
        provide(source(("Scale", "Scale", {})), [given("colorsys")], {})
    assert not hasattr(importlib.import_module("colorsys"), "Scale")


def test_a_file_and_one_beside_it_that_it_imports_are_the_same_in_any_order(given):
    whole = given("own_h", "from own_i import Scale\nclass Third: ...\n")
    part = given("own_i")
    needs = source(("Scale", "Scale", {}), ("Third", "Third", {}))
    assert [used.module for used in provide(needs, [whole, part], {})] == ["own_i", "own_h"]
    assert imported(whole).Scale is imported(part).Scale


def test_files_in_two_folders_that_each_import_a_neighbour_of_one_name_do_not_share_it(given, tmp_path):
    first = given("own_m", "from own_n import Scale\n")
    given("own_n")
    other = tmp_path / "other"
    other.mkdir()
    (other / "own_n.py").write_text("class Scale: ...\n", "utf-8")
    (other / "own_o.py").write_text("from own_n import Scale\nclass Third: ...\n", "utf-8")
    with pytest.raises(BadInput, match=r"another module is called own_n: .*own_n\.py; the file's own is .*other/own_n"):
        provide(source(("Scale", "Scale", {}), ("Third", "Third", {})), [first, str(other / "own_o.py")], {})


def test_what_fails_half_way_is_not_taken_for_imported(given):
    file = given("own_j", OWN + "1 / 0\n")
    for _ in range(2):
        with pytest.raises(BadInput, match="cannot be imported: ZeroDivisionError"):
            imported(file)


def test_a_helper_of_the_users_never_takes_the_place_of_what_keras_has_under_its_name(given):
    registry = {}
    provide(source(("Scale", "Scale", {})), [given("own_k", f"{OWN}\nclass Dense: ...\ndef relu(x): ...\n")], registry)
    assert {"Scale", "bend"} <= set(registry)
    assert not {"Dense", "relu"} & set(registry)
    provide(source(("Dense", "lab>Dense", {})), [given("own_l", "class Dense: ...\n")], registry)
    assert "lab>Dense" in registry  # what the file asks for under its own name it gets
