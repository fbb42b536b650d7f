"""The proof that a description does what the model's own layers do, against TensorFlow itself."""

import pytest

pytestmark = pytest.mark.slow

JOBS = "tests.exporters.preprocessing_jobs:"


@pytest.mark.parametrize("rule", ["lower", "strip", "whitespace", "character", "farmhash64", "siphash24", "cross"])
def test_a_rule_is_tensorflows_over_hard_texts_and_random_bytes(bench, rule):
    assert bench.call(f"{JOBS}differences", {"rule": rule}) == []


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("lower", "the description computes another `words` than the model, from text=["),
        ("split", "the description computes another `words` than the model, from text=["),
        ("strip", "the description computes another `words` than the model, from text=["),
        ("pad", "the description computes another `words` than the model, from text=["),
    ],
)
def test_a_step_that_the_interpreter_gets_wrong_stops_the_lowering_and_names_the_tensor(bench, fault, named):
    model = str(bench.build("tests.text_models:words_to_numbers"))
    assert bench.call(f"{JOBS}lowered_with_a_fault", {"model": model, "fault": ""}) == ""
    assert named in bench.call(f"{JOBS}lowered_with_a_fault", {"model": model, "fault": fault})


def test_a_vocabulary_without_room_for_unknown_words_refuses_them_in_both_halves(bench):
    assert bench.call(f"{JOBS}lowered_without_unknown_words", {}) == "refuse"


def test_samples_are_drawn_from_what_an_input_takes_and_from_masks(bench):
    known = bench.call(f"{JOBS}known", {})
    assert known == {"number": [12, 7], "word": ["cat", "[PAD]"], "hashed": ["[GAP]"]}
