import dataclasses
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from exporters.preprocessing.vocabularies import with_unknown
from validators.compare.outputs import compare
from validators.compare.tolerance import tolerances
from validators.contract import SampleSet
from validators.samples import (
    WORDS,
    check_samples,
    fixed_batch,
    generate,
    misfit,
    plan,
    read_samples,
    sequences,
    static_shapes,
)
from validators.samples.feeding import Patience, batches, feed, first_rows, joined
from validators.samples.value_ranges import between

IMAGE = TensorSpec(name="image", dtype="float32", shape=(None, 8, 8, 1))
TOKENS = TensorSpec(name="tokens", dtype="int32", shape=(None, None))
GOOD = {"image": np.zeros((6, 8, 8, 1), np.float32), "tokens": np.ones((6, 5), np.int32)}


def fixed(spec, batch):
    return dataclasses.replace(spec, shape=(batch, *spec.shape[1:]))


# Reading


def test_an_npz_and_a_folder_of_npy_read_the_same(tmp_path):
    np.savez(tmp_path / "samples.npz", **GOOD)
    for name, array in GOOD.items():
        np.save(tmp_path / f"{name}.npy", array)
    one, other = read_samples(tmp_path / "samples.npz"), read_samples(tmp_path)
    assert sorted(one) == sorted(other) == ["image", "tokens"]
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_pickled_objects_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    bomb = np.array([Bomb()], dtype=object)
    np.savez(tmp_path / "samples.npz", image=bomb)
    (tmp_path / "folder").mkdir()
    np.save(tmp_path / "folder" / "image.npy", bomb, allow_pickle=True)
    for path in (tmp_path / "samples.npz", tmp_path / "folder"):
        with pytest.raises(BadInput, match="pickle"):
            read_samples(path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"\x80\x04K\x01.", b"\x93NUMPY rubbish", b"text"])
def test_a_damaged_npz_is_bad_input_that_names_the_file(tmp_path, content):
    path = tmp_path / "samples.npz"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"samples\.npz"):
        read_samples(path)


def test_a_truncated_npz_and_one_with_strangers_inside_are_bad_input(tmp_path):
    path = tmp_path / "samples.npz"
    np.savez(path, **GOOD)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="cannot be read"):
        read_samples(path)
    path.write_bytes(whole)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("notes.txt", "not an array")
    with pytest.raises(BadInput, match=r"holds notes\.txt"):
        read_samples(path)


def test_a_lone_npy_a_missing_file_and_an_empty_folder_say_what_is_valid(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros(1))
    np.save(tmp_path / "y.npz.npy", np.zeros(1))
    (tmp_path / "y.npz.npy").rename(tmp_path / "y.npz")
    (tmp_path / "empty").mkdir()
    for name, says in [
        ("x.npy", "neither"),
        ("y.npz", "cannot be read"),
        ("none.npz", "no such file"),
        ("none", "no such file"),
        ("empty", "no array"),
    ]:
        with pytest.raises(BadInput, match=says) as error:
            read_samples(tmp_path / name)
        assert "numpy.savez" in error.value.next_step


# Checking


def test_good_samples_pass_unchanged():
    user = check_samples(GOOD, [IMAGE, TOKENS])
    assert user.rows == 6
    assert all(user.inputs[name] is GOOD[name] for name in GOOD)


@pytest.mark.parametrize("name", ["labels", "label"])
def test_labels_are_accepted_and_not_fed(name):
    user = check_samples(GOOD | {name: np.arange(6)}, [IMAGE, TOKENS])
    assert user.rows == 6
    assert set(user.inputs) == {"image", "tokens"}


def test_an_input_that_is_called_labels_is_an_input():
    spec = TensorSpec(name="labels", dtype="int64", shape=(None,))
    user = check_samples({"labels": np.arange(3)}, [spec])
    assert list(user.inputs) == ["labels"]


def test_labels_of_another_length_are_refused():
    for labels in (np.arange(5), np.array(3)):
        with pytest.raises(BadInput, match="differ in rows"):
            check_samples(GOOD | {"labels": labels}, [IMAGE, TOKENS])
    with pytest.raises(BadInput, match="`label` is not an input"):
        check_samples(GOOD | {"labels": np.arange(6), "label": np.arange(6)}, [IMAGE, TOKENS])


def test_a_misnamed_input_is_suggested_never_substituted():
    with pytest.raises(BadInput) as error:
        check_samples({"imgae": GOOD["image"], "tokens": GOOD["tokens"]}, [IMAGE, TOKENS])
    assert "input `image` is missing" in error.value.message
    assert "`imgae` is not an input (meant `image`?)" in error.value.message


def test_missing_and_extra_inputs_are_all_named():
    with pytest.raises(BadInput, match="input `tokens` is missing; `zzz` is not an input; valid are `image`, `tokens`"):
        check_samples({"image": GOOD["image"], "zzz": np.zeros(6)}, [IMAGE, TOKENS])


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((6, 8, 8), np.float32), r"shape \[6, 8, 8\], valid is \[rows, 8, 8, 1\]"),
        (np.zeros((6, 8, 9, 1), np.float32), r"shape \[6, 8, 9, 1\]"),
        (np.zeros((8, 8, 1), np.float32), r"shape \[8, 8, 1\]"),
        (np.float32(1).reshape(()), r"shape \[\]"),
        (np.zeros((0, 8, 8, 1), np.float32), "at least one row"),
        (np.zeros((6, 8, 8, 1), np.uint8), "dtype uint8, valid is float32"),
        (np.zeros((6, 8, 8, 1)), "dtype float64, valid is float32"),
        (np.array([["text"]]), "dtype string, valid is float32"),
        (np.full((6, 8, 8, 1), {}, dtype=object), "Python objects"),
        (np.zeros((5, 8, 8, 1), np.float32), r"differ in rows: `image` \[5, 8, 8, 1\], `tokens` \[6, 5\]"),
    ],
)
def test_a_sample_that_does_not_fit_its_input_is_bad_input(array, says):
    with pytest.raises(BadInput, match=says):
        check_samples(GOOD | {"image": array}, [IMAGE, TOKENS])


def test_the_conversion_of_a_dtype_is_offered_as_code_that_works():
    samples = GOOD | {"image": np.full((6, 8, 8, 1), 200, np.uint8)}
    with pytest.raises(BadInput) as error:
        check_samples(samples, [IMAGE, TOKENS])
    exec(error.value.next_step.partition(": ")[2], {"samples": samples})  # noqa: S102 - our own line is what is tested
    assert check_samples(samples, [IMAGE, TOKENS]).inputs["image"].max() == 200.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_in_samples_are_counted_and_placed(bad):
    image = GOOD["image"].copy()
    image[2, 3, 4, 0] = image[5, 0, 0, 0] = bad
    with pytest.raises(BadInput, match=r"2 NaN or infinite values, the first at \[2, 3, 4, 0\]"):
        check_samples(GOOD | {"image": image}, [IMAGE, TOKENS])


def test_rows_must_fill_a_fixed_batch():
    inputs = [fixed(IMAGE, 4), fixed(TOKENS, 4)]
    with pytest.raises(BadInput, match="6 rows, valid is a multiple of the model's fixed batch of 4"):
        check_samples(GOOD, inputs)
    assert check_samples({name: array[:4] for name, array in GOOD.items()}, inputs).rows == 4


def test_text_samples_become_objects_of_str():
    spec = TensorSpec(name="words", dtype="string", shape=(None, 1))
    for array in (np.array([["a"], ["bc"]]), np.array([[b"a"], [b"bc"]]), np.array([[b"a"], ["bc"]], dtype=object)):
        words = check_samples({"words": array}, [spec]).inputs["words"]
        assert words.dtype == object
        assert words.tolist() == [["a"], ["bc"]]


# Planning and drawing


def test_seeded_sets_take_several_batch_sizes_and_two_lengths_for_each_dynamic_axis():
    sets = plan([IMAGE, TOKENS])
    assert [(s.name, s.rows, s.batch) for s in sets] == [
        ("seeded_batch1", 4, 1),
        ("seeded_batch1_longer", 4, 1),
        ("seeded_batch2", 6, 2),
        ("seeded_batch7", 21, 7),
        ("edges", 6, 1),
        ("beyond", 2, 1),
    ]
    assert [s.dynamic["tokens[1]"] for s in sets] == [16, 24, 16, 24, 16, 16]
    assert [s.seed for s in sets] == [1, 2, 1, 2, 1, 1]


def test_batch_one_is_always_there_since_some_artifacts_see_no_other():
    assert [(s.name, s.rows, s.batch) for s in plan([IMAGE], seeded=(3,))] == [
        ("seeded_batch1", 4, 1),
        ("seeded_batch3", 9, 3),
        ("edges", 6, 1),
        ("beyond", 2, 1),
    ]


def test_dynamic_axes_can_be_stretched_for_models_that_shorten_them():
    assert [s.dynamic["tokens[1]"] for s in plan([TOKENS], stretch=8)] == [128, 192, 128, 192, 128]
    assert sequences([IMAGE, TOKENS])


def test_images_are_not_stretched():
    photo = dataclasses.replace(IMAGE, shape=(None, None, None, 3))
    assert [s.dynamic["image[1]"] for s in plan([photo], stretch=512)] == [32, 64, 32, 64, 32, 32]
    assert not sequences([photo, IMAGE])
    mixed = plan([photo, TOKENS], stretch=8)[0].dynamic
    assert mixed == {"image[1]": 32, "image[2]": 32, "tokens[1]": 128}


def test_a_fixed_batch_is_called_once_and_twice():
    sets = plan([fixed(IMAGE, 4)])
    drawn = [("seeded_batch4", 4, 4), ("seeded_batch4_twice", 8, 4), ("edges", 8, 4), ("beyond", 4, 4)]
    assert [(s.name, s.rows, s.batch) for s in sets] == drawn


def test_inputs_that_fix_different_batches_are_bad_input():
    assert fixed_batch([IMAGE, fixed(TOKENS, 2)]) == 2
    with pytest.raises(BadInput, match="different batches: 2, 3"):
        fixed_batch([fixed(IMAGE, 3), fixed(TOKENS, 2)])


def test_dynamic_axes_of_different_inputs_agree_so_that_they_can_meet():
    mask = TensorSpec(name="mask", dtype="bool", shape=(None, None, None))
    sets = plan([TOKENS, mask])
    assert sets[0].dynamic == {"tokens[1]": 16, "mask[1]": 16, "mask[2]": 16}
    assert generate(sets[1], [TOKENS, mask])["mask"].shape == (4, 24, 24)


def test_a_static_variant_has_the_lengths_of_the_users_samples_and_without_them_of_the_seeded_ones():
    user = check_samples(GOOD, [IMAGE, TOKENS])
    assert static_shapes([IMAGE, TOKENS], plan([IMAGE, TOKENS])) == {"image": (1, 8, 8, 1), "tokens": (1, 16)}
    assert static_shapes([IMAGE, TOKENS], plan([IMAGE, TOKENS], user=user)) == {"image": (1, 8, 8, 1), "tokens": (1, 5)}
    own = [fixed(TOKENS, 3)]
    assert static_shapes(own, plan(own)) == {"tokens": (3, 16)}


def test_a_static_variant_is_fed_the_sets_of_its_own_lengths_alone():
    user = check_samples(GOOD, [IMAGE, TOKENS])
    shapes = static_shapes([IMAGE, TOKENS], sets := plan([IMAGE, TOKENS], user=user))
    static = [dataclasses.replace(spec, shape=shapes[spec.name]) for spec in (IMAGE, TOKENS)]
    fed = {each.name: misfit("static", static, each) for each in sets}
    assert [name for name, other in fed.items() if other is None] == ["user_batch1"]
    assert fed["user"].kind == "other batch"
    assert fed["seeded_batch1"].kind == "other length"
    assert fed["seeded_batch1"].why == "tokens[1] is 16, the artifact takes 5"


def test_an_axis_that_another_variant_fixes_excuses_nothing():
    sets = plan([TOKENS])
    assert misfit("batch1", [dataclasses.replace(TOKENS, shape=(1, 99))], sets[0]) is None


def test_dynamic_images_are_large_enough_for_five_halvings():
    photo = TensorSpec(name="photo", dtype="float32", shape=(None, None, None, 3))
    assert generate(plan([photo])[1], [photo])["photo"].shape == (4, 64, 64, 3)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (100, [("user", 63, 7), ("user_batch1", 16, 1)]),
        (10, [("user", 10, 7), ("user_batch1", 10, 1)]),
        (1, [("user", 1, 7), ("user_batch1", 1, 1)]),
    ],
)
def test_the_users_samples_come_first_capped_and_also_one_by_one(rows, expected):
    spec = TensorSpec(name="x", dtype="float32", shape=(None,))
    user = check_samples({"x": np.arange(rows, dtype=np.float32)}, [spec])
    sets = plan([spec], user=user)
    assert [(s.name, s.rows, s.batch) for s in sets[:2]] == expected
    assert all(s.seed is None and s.origin == "user" for s in sets[:2])
    for sample_set in sets[:2]:
        used = generate(sample_set, [spec], user=user)["x"].tolist()
        assert (used[0], used[-1], len(set(used))) == (0, max(rows - 1, 0), sample_set.rows)
    assert len(sets) == 7


def test_the_used_rows_of_a_file_sorted_by_class_are_of_every_class():
    spec = TensorSpec(name="x", dtype="float32", shape=(None,))
    user = check_samples({"x": np.repeat(np.arange(10, dtype=np.float32), 30)}, [spec])
    for sample_set in plan([spec], user=user)[:2]:
        assert set(generate(sample_set, [spec], user=user)["x"]) == set(range(10))


def test_the_used_rows_of_all_inputs_are_the_same_rows():
    specs = [TensorSpec(name=name, dtype="float32", shape=(None,)) for name in ("a", "b")]
    user = check_samples({"a": np.arange(200, dtype=np.float32), "b": -np.arange(200, dtype=np.float32)}, specs)
    used = generate(plan(specs, user=user)[0], specs, user=user)
    assert np.array_equal(used["a"], -used["b"])


@pytest.mark.parametrize(("batch", "rows", "used"), [(5, 100, 60), (100, 300, 100), (1, 70, 63)])
def test_the_users_samples_fill_a_fixed_batch(batch, rows, used):
    spec = TensorSpec(name="x", dtype="float32", shape=(batch,))
    sets = plan([spec], user=check_samples({"x": np.zeros(rows, np.float32)}, [spec]))
    assert [(s.name, s.rows, s.batch) for s in sets if s.origin == "user"] == [("user", used, batch)]


def test_a_set_of_the_users_cannot_be_drawn_without_them():
    spec = TensorSpec(name="x", dtype="float32", shape=(None,))
    (sample_set, *_) = plan([spec], user=check_samples({"x": np.zeros(2, np.float32)}, [spec]))
    with pytest.raises(ValueError, match="`user`"):
        generate(sample_set, [spec])


def test_inputs_of_the_same_shape_never_hold_the_same_values():
    twins = [TensorSpec(name=name, dtype="float32", shape=(None, 4)) for name in ("zebra", "apple")]
    drawn = generate(plan(twins)[1], twins)
    assert not np.any(drawn["zebra"] == drawn["apple"])


def test_a_row_is_seen_alone_and_among_others_wherever_the_lengths_are_the_same():
    alone, pairs, sevens, *_ = (generate(s, [IMAGE])["image"] for s in plan([IMAGE]))
    assert np.array_equal(alone, sevens[:4])
    assert np.array_equal(pairs, sevens[:6])
    assert len(np.unique(sevens, axis=0)) == 21


def test_sets_of_other_lengths_draw_their_own_values():
    first, longer = (generate(s, [TOKENS])["tokens"] for s in plan([TOKENS])[:2])
    assert first.shape != longer.shape
    assert not np.array_equal(first, longer[:, :16])


def named(inputs, name, **more):
    return generate(next(s for s in plan(inputs) if s.name == name), inputs, **more)


def test_the_edges_are_zeros_ones_both_ends_of_the_range_and_the_smallest_numbers():
    spec = TensorSpec(name="x", dtype="float32", shape=(None, 4))
    zeros, ones, low, high, alternating, tiny = named([spec], "edges", ranges={"x": between(-5, 255, why="")})["x"]
    assert [set(row.tolist()) for row in (zeros, ones, low, high)] == [{0.0}, {1.0}, {-5.0}, {255.0}]
    assert alternating.tolist() == [-5.0, 255.0, -5.0, 255.0]
    assert tiny[0] > 0
    assert np.square(tiny[0]) == 0  # what divides by it without an epsilon shows
    assert tiny[0] * np.float32(1e-6) >= np.finfo(np.float32).tiny  # products with weights are no denormal numbers


def test_the_edges_of_whole_numbers_stay_within_the_range():
    spec = TensorSpec(name="x", dtype="int32", shape=(None, 4))
    edges = named([spec], "edges", ranges={"x": between(3, 999, whole=True, why="")})["x"]
    assert (edges.min(), edges.max(), edges.dtype) == (3, 999, np.int32)
    assert "beyond" not in [s.name for s in plan([spec])]


def test_values_beyond_the_range_are_six_bits_larger():
    spec = TensorSpec(name="x", dtype="float32", shape=(None, 400))
    beyond = np.abs(named([spec], "beyond")["x"])
    assert 32 < beyond.max() <= 64


def test_each_feature_has_its_own_range():
    spec = TensorSpec(name="x", dtype="float32", shape=(None, 2))
    known = between([0, 100], [1, 200], why="")
    drawn = named([spec], "seeded_batch7", ranges={"x": known})["x"]
    assert 0 <= drawn[:, 0].min() <= drawn[:, 0].max() <= 1
    assert 100 <= drawn[:, 1].min() <= drawn[:, 1].max() <= 200


def test_whole_numbers_reach_both_ends_of_their_range_whatever_the_inputs_type():
    for dtype in ("int64", "float32"):
        spec = TensorSpec(name="x", dtype=dtype, shape=(None, 300))
        drawn = named([spec], "seeded_batch7", ranges={"x": between(0, 9, whole=True, why="")})["x"]
        assert set(np.unique(drawn).tolist()) == set(range(10))
        assert drawn.dtype == dtype


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "int64", "bool"])
def test_values_have_the_inputs_type_and_stay_small(dtype):
    spec = TensorSpec(name="x", dtype=dtype, shape=(None, 50))
    array = generate(plan([spec])[2], [spec])["x"]
    assert array.dtype == dtype
    assert array.shape == (21, 50)
    assert len(np.unique(array)) > 1
    assert np.abs(array.astype(np.float64)).max() <= 1
    assert "float" in dtype or array.min() >= 0


@pytest.mark.parametrize(("dtype", "low", "high"), [("uint8", 0, 255), ("int8", -128, 127)])
def test_bytes_take_every_value(dtype, low, high):
    spec = TensorSpec(name="x", dtype=dtype, shape=(None, 500))
    array = generate(plan([spec])[2], [spec])["x"]
    assert (array.min(), array.max()) == (low, high)


def test_text_inputs_draw_words():
    spec = TensorSpec(name="words", dtype="string", shape=(None, 30))
    words = generate(plan([spec])[1], [spec])["words"]
    assert words.dtype == object
    assert all(isinstance(word, str) for word in words.flat)
    assert len(set(words.flat)) > 2


def test_what_a_model_knows_is_drawn_from_where_it_is_given():
    text, code = (TensorSpec(name=n, dtype=d, shape=(None, 30)) for n, d in {"text": "string", "code": "int32"}.items())
    drawn = generate(plan([text])[1], [text, code], drawn={"text": ("known", "new"), "code": (7, 1000)})
    assert set(drawn["text"].flat) == {"known", "new"}
    assert (set(drawn["code"].flat), drawn["code"].dtype) == ({7, 1000}, np.int32)
    assert set(generate(plan([text])[1], [text, code], drawn={"text": ("known",)})["code"].flat) == {0, 1}


def test_as_many_unknown_entries_are_drawn_as_known_ones():
    words = with_unknown(["one", "two", "three"], WORDS)
    assert set(words) == {"one", "two", "three", "One two three, unseen!", *WORDS}
    many = with_unknown([f"w{number}" for number in range(24)], WORDS)
    assert sum(word in WORDS for word in many) == 24
    assert with_unknown([5, 10], WORDS) == (5, 10, 6, 11)


def test_bfloat16_inputs_are_drawn():
    pytest.importorskip("ml_dtypes")
    spec = TensorSpec(name="x", dtype="bfloat16", shape=(None, 3))
    assert generate(plan([spec])[1], [spec])["x"].dtype.name == "bfloat16"


def test_a_seed_means_the_same_bytes_in_every_process_and_release():
    code = """
from exporters.contract import TensorSpec
from validators.samples import generate, plan
spec = TensorSpec(name="x", dtype="float32", shape=(None, 2))
print(generate(plan([spec])[0], [spec])["x"][:2].tobytes().hex())
"""
    environment = os.environ | {"PYTHONHASHSEED": "1"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "88a190be8393573ff7abab3d6545a4be", "a new draw changes every recorded reference"


# Feeding


def double(inputs):
    return {"y": inputs["x"] * 2}


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 100])
def test_any_batch_gives_the_same_joined_outputs(batch):
    x = np.arange(14, dtype=np.float32).reshape(7, 2)
    assert feed(double, {"x": x}, batch).outputs["y"].tolist() == (x * 2).tolist()


def test_batches_split_all_inputs_alike_and_keep_the_rest():
    parts = list(batches({"a": np.arange(5), "b": np.arange(10).reshape(5, 2)}, 2))
    assert [len(part["a"]) for part in parts] == [2, 2, 1]
    assert parts[2]["b"].tolist() == [[8, 9]]


def test_an_output_that_is_not_by_rows_is_stacked_call_by_call():
    outputs = feed(lambda inputs: {"total": inputs["x"].sum(), "table": np.eye(3)}, {"x": np.ones((4, 2))}, 2).outputs
    assert outputs["total"].tolist() == [4.0, 4.0]
    assert outputs["table"].shape == (2, 3, 3)


def test_one_call_stays_as_it_is():
    assert feed(lambda inputs: {"table": np.eye(3)}, {"x": np.ones((4, 2))}, 4).outputs["table"].shape == (3, 3)


@pytest.mark.parametrize(
    "second",
    [np.zeros((2, 4), np.float32), np.zeros((3, 3), np.float32), np.zeros((2, 3), np.float64), np.zeros(2, np.float32)],
)
def test_an_output_that_changes_from_call_to_call_is_refused(second):
    with pytest.raises(BadInput, match="`y` changes from call to call"):
        joined([{"y": np.zeros((2, 3), np.float32)}, {"y": second}], [2, 2])


def test_text_outputs_are_joined():
    parts = [{"y": np.array(["a"], dtype=object)}, {"y": np.array([b"b"], dtype=object)}]
    assert joined(parts, [1, 1])["y"].tolist() == ["a", b"b"]


def test_an_output_that_only_some_calls_gave_does_not_pass_unseen():
    reference = {"y": np.arange(4, dtype=np.float32)}
    parts = [{"y": np.float32([0, 1])}, {"y": np.float32([2, 3]), "z": np.float32([1, 2])}]
    diffs = compare(reference, joined(parts, [2, 2]), sample_set="s", tolerances=tolerances(reference))
    assert [(diff.name, diff.problem) for diff in diffs] == [("y", ""), ("z", "extra output")]
    cut = joined([parts[0], {}], [2, 2])
    (diff,) = compare(reference, cut, sample_set="s", tolerances=tolerances(reference))
    assert diff.problem == "shape mismatch"


def patience_of(seconds, setting="limits.sample_seconds"):
    return Patience(lambda: (seconds, setting))


def test_the_first_call_is_always_made_and_the_next_only_if_it_is_expected_to_fit():
    patience = patience_of(10.0)
    assert patience.refuses(1_000_000) == ""
    patience.spend(1, 3.0)
    assert patience.refuses(1_000_000) == ""
    patience.spend(1, 3.0)
    assert patience.refuses(1) == ""
    says = "6.0 s were spent and 2 more rows take about 6.0 s, limits.sample_seconds is 10"
    assert patience.refuses(2) == says


def test_the_fastest_call_so_far_is_what_is_expected_of_the_next():
    patience = patience_of(10.0)
    patience.spend(1, 5.0)  # compiling
    patience.spend(1, 0.1)
    assert patience.refuses(40) == ""
    assert patience.refuses(50)


def test_the_bound_is_asked_only_once_a_call_was_made():
    asked = []
    patience = Patience(lambda: asked.append(1) or (5.0, "limits.software_seconds"))
    assert patience.refuses(3) == ""
    assert asked == []
    patience.spend(1, 6.0)
    assert patience.refuses(1).endswith("limits.software_seconds is 5")
    assert patience.refuses(2)
    assert asked == [1]


def test_a_set_is_broken_off_between_two_calls_and_says_how_far_it_came():
    fed = feed(double, {"x": np.arange(6, dtype=np.float32)}, 2, patience_of(0.0))
    assert fed.rows == 2
    assert fed.outputs["y"].tolist() == [0, 2]
    assert fed.stopped.startswith("2 of 6 rows were compared: ")


def test_a_set_that_is_not_begun_has_no_rows_and_no_outputs():
    patience = patience_of(1.0)
    patience.spend(1, 2.0)
    fed = feed(double, {"x": np.ones((6, 1))}, 2, patience)
    assert (fed.rows, fed.outputs) == (0, {})
    assert fed.stopped.startswith("2.0 s were spent")


@pytest.mark.parametrize(("batch", "calls"), [(1, 1), (1, 3), (1, 7), (2, 1), (2, 3), (2, 4), (7, 1)])
def test_the_reference_of_the_first_rows_is_what_the_same_calls_give(batch, calls):
    def infer(inputs):
        return {"y": inputs["x"] * 2, "total": inputs["x"].sum(), "table": inputs["x"][:1] * np.eye(7)}

    class Calls(Patience):
        def refuses(self, rows):
            return "no more" if len(self._per_row) == calls else ""

    x = np.arange(7, dtype=np.float64)
    sample_set = SampleSet(name="s", rows=7, batch=batch, origin="seeded", seed=1)
    fed = feed(infer, {"x": x}, batch, Calls(lambda: (60.0, "")))
    assert fed.rows == min(calls * batch, 7)
    part = first_rows(feed(infer, {"x": x}, batch).outputs, sample_set, fed.rows)
    assert {name: array.tolist() for name, array in part.items()} == {n: a.tolist() for n, a in fed.outputs.items()}
