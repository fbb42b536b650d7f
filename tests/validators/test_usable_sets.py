"""Which samples can serve as evidence: an original played by a function decides, without TensorFlow."""

import numpy as np
import pytest

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from validators.reference.usable_sets import SampleSources, UnusableSamples, batch_of
from validators.reference.usable_sets import usable_answers as answers_of
from validators.samples import check_samples
from validators.samples.value_ranges import between

ROW = TensorSpec(name="x", dtype="float32", shape=(None, 3))
SEQUENCE = TensorSpec(name="x", dtype="float32", shape=(None, None, 3))
PHOTO = TensorSpec(name="x", dtype="float32", shape=(None, None, None, 3))


def sound(infer, inputs, **wanted):
    return answers_of(infer, SampleSources(inputs=inputs, **wanted))


def names(answers):
    return [sample_set.name for sample_set in answers.sets]


def given(value=5.0):
    return check_samples({"x": np.full((4, 3), value, np.float32)}, [ROW])


def only_large(inputs):
    """An original that answers nothing below one."""
    return {"y": np.where(inputs["x"] > 1, inputs["x"], np.nan)}


def from_length(shortest, seen):
    def infer(inputs):
        seen.append(inputs["x"].shape[1])
        if seen[-1] < shortest:
            raise UnusableSamples("fails: too short")
        return {"y": inputs["x"]}

    return infer


def test_without_samples_of_the_user_the_seeded_ones_are_the_evidence():
    answers = sound(lambda inputs: {"y": inputs["x"] * 2}, [ROW], user=None, batches=[2])
    assert names(answers) == ["seeded_batch1", "seeded_batch2", "edges", "beyond"]
    assert all(np.array_equal(answers.outputs[name]["y"], answers.samples[name]["x"] * 2) for name in names(answers))
    assert answers.dropped == {}


def test_the_users_samples_come_first_and_seeded_ones_follow():
    answers = sound(lambda inputs: {"y": inputs["x"]}, [ROW], user=given(), batches=[2])
    assert names(answers) == ["user", "user_batch1", "seeded_batch1", "seeded_batch2", "edges", "beyond"]
    assert set(answers.samples) == set(answers.outputs) == set(names(answers))
    assert answers.dropped == {}


def test_where_only_the_users_samples_are_answered_they_are_used_alone_and_it_is_said_why():
    answers = sound(only_large, [ROW], user=given(), batches=[2])
    assert names(answers) == ["user", "user_batch1"]
    assert "over seeded ones the original gives only NaN or infinity for output `y`" in answers.dropped["seeded"]


def test_an_original_that_fails_over_seeded_samples_is_held_to_the_users_alone():
    def infer(inputs):
        if inputs["x"].min() < 1:
            raise UnusableSamples("fails: indices out of range")
        return {"y": inputs["x"]}

    answers = sound(infer, [ROW], user=given(), batches=[2])
    assert names(answers) == ["user", "user_batch1"]
    assert answers.dropped["seeded"].endswith("the original fails: indices out of range")


def test_without_samples_of_the_user_an_original_that_answers_nothing_is_bad_input():
    with pytest.raises(BadInput, match="the original itself gives only NaN") as error:
        sound(only_large, [ROW], user=None, batches=[2])
    assert "--samples" in error.value.next_step


def test_an_original_that_does_not_answer_the_users_own_samples_is_bad_input():
    with pytest.raises(BadInput, match="sample set `user`"):
        sound(only_large, [ROW], user=given(0.5), batches=[2])


def test_sequences_grow_until_the_original_answers():
    seen = []
    answers = sound(from_length(1000, seen), [SEQUENCE], user=None, batches=[2])
    assert answers.sets[0].dynamic == {"x[1]": 16 * 64}
    assert sorted(set(seen)) == [16, 128, 1024, 1536]


def test_images_do_not_grow():
    seen = []
    with pytest.raises(BadInput, match="too short"):
        sound(from_length(1000, seen), [PHOTO], user=None, batches=[2])
    assert set(seen) == {32}


def test_an_original_that_refuses_unknown_entries_is_fed_known_ones_alone():
    text = TensorSpec(name="x", dtype="string", shape=(None, 1))

    def infer(inputs):
        if not set(inputs["x"].flat) <= {"red", "green"}:
            raise UnusableSamples("fails: not in vocabulary")
        return {"y": (inputs["x"] == "red").astype("float32")}

    answers = sound(infer, [text], user=None, batches=[2, 7], known={"x": ("red", "green")})
    assert {word for tensors in answers.samples.values() for word in tensors["x"].flat} == {"red", "green"}
    assert "edges" in names(answers)


def test_an_original_that_takes_unknown_entries_is_fed_both():
    text = TensorSpec(name="x", dtype="string", shape=(None, 1))
    answers = sound(
        lambda inputs: {"y": np.ones(len(inputs["x"]))},
        [text],
        user=None,
        batches=[2, 7],
        known={"x": ("red", "green")},
    )
    drawn = {word for tensors in answers.samples.values() for word in tensors["x"].flat}
    assert drawn & {"red", "green"}
    assert drawn - {"red", "green", "Red green, unseen!"}


@pytest.mark.parametrize("drawn", [np.float32, np.int64, np.complex64])
def test_an_original_that_draws_random_numbers_is_refused(drawn):
    draws = np.random.default_rng(1)

    def infer(inputs):
        return {"y": (draws.uniform(0, 100, inputs["x"].shape)).astype(drawn)}

    with pytest.raises(BadInput, match="output `y` when it is called again") as caught:
        sound(infer, [ROW], user=None, batches=[2])
    assert "`training`" in caught.value.next_step


def test_rounding_that_differs_from_call_to_call_is_no_draw():
    turn = iter(range(100))

    def infer(inputs):
        nudged = inputs["x"] * np.float32(1 + 1e-5 * (next(turn) % 2))
        return {"y": nudged, "nan": np.where(inputs["x"] > 0, inputs["x"], np.nan)}

    assert names(sound(infer, [ROW], user=None, batches=[2]))


def test_an_edge_that_the_original_fails_over_is_left_out_and_it_is_said_why():
    def infer(inputs):
        if np.abs(inputs["x"]).max() > 1:
            raise UnusableSamples("fails: out of range")
        return {"y": inputs["x"]}

    answers = sound(infer, [ROW])
    assert names(answers)[-1] == "edges"
    assert answers.dropped == {"beyond": "the original fails: out of range"}


def test_edges_may_give_nan_since_its_places_are_compared():
    def infer(inputs):
        zeros = not inputs["x"].any()
        return {"y": np.full(len(inputs["x"]), np.nan, np.float32) if zeros else inputs["x"].sum(axis=1)}

    answers = sound(infer, [ROW])
    assert np.isnan(answers.outputs["edges"]["y"]).tolist() == [True, False, False, False, False, False]


def test_nothing_beyond_the_range_is_fed_where_that_is_forbidden():
    answers = sound(lambda inputs: {"y": inputs["x"]}, [ROW], beyond="it computes in float16")
    assert "beyond" not in names(answers)
    assert "float16" in answers.dropped["beyond"]


def test_what_layers_say_of_their_values_is_what_is_drawn():
    answers = sound(lambda inputs: {"y": inputs["x"]}, [ROW], ranges={"x": between(0, 255, why="bytes")})
    assert answers.samples["seeded_batch7"]["x"].max() > 100
    assert answers.ranges["x"].why == "bytes"


def dead_below(limit):
    return lambda inputs: {"y": np.maximum(inputs["x"] - limit, 0)}


def test_a_guessed_range_over_which_an_output_is_dead_gives_way_to_one_over_which_it_lives():
    answers = sound(dead_below(10.0), [ROW])
    assert answers.ranges["x"].domain.high == 255
    assert "hardly varies" in answers.ranges["x"].why


def test_a_range_that_the_model_tells_is_kept_even_where_an_output_is_dead():
    answers = sound(dead_below(10.0), [ROW], ranges={"x": between(0, 2, why="told")})
    assert answers.ranges["x"].domain.high == 2


def test_an_original_that_mixes_the_rows_of_a_batch_is_told_from_one_that_does_not():
    apart = sound(lambda inputs: {"y": inputs["x"] * 2}, [ROW])
    mixing = sound(lambda inputs: {"y": inputs["x"] - inputs["x"].mean(axis=0)}, [ROW])
    scalar = sound(lambda inputs: {"y": inputs["x"].mean()}, [ROW])
    assert batch_of(apart, [ROW]) == "independent"
    assert batch_of(mixing, [ROW]) == batch_of(scalar, [ROW]) == "mixes"
    fixed = TensorSpec(name="x", dtype="float32", shape=(4, 3))
    assert batch_of(sound(lambda inputs: {"y": inputs["x"]}, [fixed]), [fixed]) == "fixed"
