"""Canonical names: keys where the structure has them, own names elsewhere, always unique and always identifiers."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.tensor_names import canonical, display_path


def test_a_tensor_without_a_dict_key_in_its_path_keeps_its_own_name():
    assert canonical([((0,), "image"), ((1,), "age")]) == ("image", "age")


def test_a_single_tensor_keeps_its_own_name():
    assert canonical([((), "digits")]) == ("digits",)


def test_a_dict_key_wins_over_the_tensors_own_name():
    assert canonical([(("user",), "input_layer"), (("item",), "input_layer_1")]) == ("user", "item")


def test_a_nested_path_is_joined_step_by_step():
    assert canonical([(("a", 0), "x"), (("a", 1), "y"), ((2, "b"), "z")]) == ("a_0", "a_1", "t_2_b")


def test_a_repeated_name_is_numbered_in_order():
    assert canonical([((0,), "lstm"), ((1,), "lstm"), ((2,), "lstm")]) == ("lstm_0", "lstm_1", "lstm_2")


def test_a_number_that_another_tensor_already_has_is_passed_over():
    assert canonical([((0,), "d"), ((1,), "d_1"), ((2,), "d"), ((3,), "d")]) == ("d_0", "d_1", "d_2", "d_3")


def test_two_names_that_become_the_same_identifier_are_numbered():
    assert canonical([((0,), "a/b"), ((1,), "a:b")]) == ("a_b_0", "a_b_1")


@pytest.mark.parametrize(
    ("own", "name"),
    [("conv2d/out:0", "conv2d_out_0"), ("0", "t_0"), ("_x", "t__x"), ("größe", "gr__e"), ("", "t_"), ("é", "t__")],
)
def test_what_is_no_identifier_becomes_one(own, name):
    assert canonical([((), own)]) == (name,)


def test_a_path_is_shown_as_python_would_write_it():
    assert display_path(("a", 0)) == '["a"][0]'
    assert display_path(()) == ""


@given(
    st.lists(
        st.tuples(
            st.lists(st.text("ab_0/", max_size=3) | st.integers(0, 3), max_size=2).map(tuple),
            st.text("ab_01/", max_size=4),
        )
    )
)
def test_names_are_always_unique_identifiers(tensors):
    names = canonical(tensors)
    assert len(set(names)) == len(names) == len(tensors)
    assert all(re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) for name in names)
