"""The description of a preprocessing and its interpreter, without TensorFlow."""

import json

import numpy as np
import pytest

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from exporters.preprocessing.description import FILE, Description, Feed, Preprocessing, names_of, read
from exporters.preprocessing.interpreter import Interpreter
from exporters.preprocessing.literal_patterns import texts_matched
from exporters.preprocessing.steps import (
    PUNCTUATION,
    Bucketize,
    Cast,
    Concatenate,
    Cross,
    Encode,
    ExpandDims,
    Hash,
    Lookup,
    Lower,
    Ngrams,
    Pad,
    Replace,
    Reshape,
    Scale,
    Slice,
    Split,
    Squeeze,
    Strip,
    Text,
    Unknown,
)
from exporters.preprocessing.string_hashing import fingerprint64, fingerprint_cat64, siphash24
from exporters.preprocessing.trial_inputs import probes
from exporters.preprocessing.vocabularies import fitting

VOCABULARY = "vocabulary.words.json"
TEXTS = ["The CAT, sat!", "", " \t\n", "École\u00a0straße İ", "mat?mat mat"]


def step(kind, inputs, output, **parameters):
    about = {"layer": "words (TextVectorization)", "dtype": "int64", "shape": (None,), **parameters}
    return kind(inputs=tuple(inputs.split()), output=output, **about)


def described(*steps, feeds="out", files=None, dtype="string"):
    inputs = (TensorSpec(name="x", dtype=dtype, shape=(None,)), TensorSpec(name="z", dtype=dtype, shape=(None,)))
    fed = tuple(Feed(name=name, tensor=name) for name in feeds.split())
    description = Description(version="1", inputs=inputs, steps=steps, feeds=fed)
    return Preprocessing(description=description, files=files or {})


def run(*steps, x, z=(), files=None, dtype="string"):
    arrays = {
        name: np.array(values, object if dtype == "string" else dtype) for name, values in {"x": x, "z": z}.items()
    }
    return Interpreter(described(*steps, files=files, dtype=dtype)).run(arrays)["out"]


VECTORIZE = (
    step(Lower, "x", "low", dtype="string"),
    step(Strip, "low", "bare", dtype="string", characters=PUNCTUATION),
    step(Split, "bare", "words", dtype="string", ragged=True, by="whitespace"),
    step(
        Lookup,
        "words",
        "numbers",
        ragged=True,
        vocabulary=VOCABULARY,
        first=2,
        mask="",
        unknown=Unknown(rule="number", first=1),
    ),
    step(Pad, "numbers", "out", length=4, value=0),
)
WORDS = {VOCABULARY: ["the", "cat", "sat", "mat", "école"]}


def test_the_whole_way_from_texts_to_numbers():
    numbers = run(*VECTORIZE, x=TEXTS, files=WORDS)
    # \u00c9 is no ASCII letter and stays a capital, so it is unknown; a no-break space does not cut.
    assert numbers.tolist() == [[2, 3, 4, 0], [0] * 4, [0] * 4, [1, 1, 0, 0], [1, 5, 0, 0]]


def test_rows_are_cut_at_the_length_or_filled_up_to_the_longest():
    free = (*VECTORIZE[:-1], step(Pad, "numbers", "out", length=None, value=0))
    short = (*VECTORIZE[:-1], step(Pad, "numbers", "out", length=2, value=9))
    assert run(*free, x=["cat", "the cat sat mat the"], files=WORDS).tolist() == [[3, 0, 0, 0, 0], [2, 3, 4, 5, 2]]
    assert run(*short, x=["cat", "the cat sat"], files=WORDS).tolist() == [[3, 9], [2, 3]]
    assert run(*free, x=["", " "], files=WORDS).shape == (2, 0)


def test_text_comes_as_str_or_as_bytes():
    assert run(*VECTORIZE, x=["the cat"], files=WORDS).tolist() == run(*VECTORIZE, x=[b"the cat"], files=WORDS).tolist()


def test_white_space_is_asciis_alone():
    cut = step(Split, "x", "words", dtype="string", by="whitespace")
    lookup = step(Lookup, "words", "n", vocabulary=VOCABULARY, first=1, unknown=Unknown(rule="number"))
    pad = step(Pad, "n", "out", length=None, value=-1)
    files = {VOCABULARY: ["a", "b\u2003c", "d\x1ce", "f\u0085"]}
    assert run(cut, lookup, pad, x=["a\vb\u2003c\fd\x1ce\r\nf\u0085"], files=files).tolist() == [[1, 2, 3, 4]]


def test_characters_are_code_points_and_bytes_that_are_no_text_are_replaced():
    cut = step(Split, "x", "letters", dtype="string", by="character")
    lookup = step(Lookup, "letters", "n", vocabulary=VOCABULARY, first=1, unknown=Unknown(rule="number"))
    pad = step(Pad, "n", "out", length=None, value=-1)
    files = {VOCABULARY: ["e", "\u0301", "\U0001f600", "\ufffd"]}
    assert run(cut, lookup, pad, x=["e\u0301\U0001f600"], files=files).tolist() == [[1, 2, 3]]
    assert run(cut, lookup, pad, x=[b"\xe2\x82e\xff\xfe"], files=files).tolist() == [[4, 1, 4, 4]]


def test_pairs_follow_single_words_and_short_rows_have_none():
    cut = step(Split, "x", "words", dtype="string", by="whitespace")
    pairs = step(Ngrams, "words", "pairs", dtype="string", widths=(1, 2), separator=" ")
    lookup = step(Lookup, "pairs", "n", vocabulary=VOCABULARY, first=1, unknown=Unknown(rule="number"))
    pad = step(Pad, "n", "out", length=None, value=-1)
    files = {VOCABULARY: ["a", "b", "a b", "b a"]}
    got = run(cut, pairs, lookup, pad, x=["a b a", "b", ""], files=files)
    assert got.tolist() == [[1, 2, 1, 3, 4], [2, -1, -1, -1, -1], [-1] * 5]


@pytest.mark.parametrize(
    ("unknown", "expected"),
    [
        (Unknown(rule="number", first=7), [2, 7, 0]),
        (Unknown(rule="farmhash64", first=1, buckets=5), [2, 1 + fingerprint64(b"new") % 5, 0]),
        (Unknown(rule="siphash24", first=1, buckets=5, key=(3, 4)), [2, 1 + siphash24(b"new", (3, 4)) % 5, 0]),
    ],
)
def test_entries_that_no_vocabulary_knows_follow_their_rule(unknown, expected):
    lookup = step(Lookup, "x", "out", vocabulary=VOCABULARY, first=2, mask="", unknown=unknown)
    assert run(lookup, x=["cat", "new", ""], files={VOCABULARY: ["cat"]}).tolist() == expected


def test_an_entry_that_the_model_refuses_is_refused_by_name():
    lookup = step(Lookup, "x", "out", vocabulary=VOCABULARY, first=0, unknown=Unknown(rule="refuse"))
    with pytest.raises(BadInput, match=r"b'new' is not in vocabulary\.words\.json, and layer words"):
        run(lookup, x=["new"], files={VOCABULARY: ["cat"]})


def test_negative_integers_have_a_bucket_too():
    lookup = step(
        Lookup, "x", "out", vocabulary=VOCABULARY, first=5, unknown=Unknown(rule="modulo", first=1, buckets=3)
    )
    assert run(lookup, x=[10, -1, -3, 4], files={VOCABULARY: [10]}, dtype="int64").tolist() == [5, 3, 1, 2]


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("one_hot", [[[0, 1, 0], [0, 1, 0]], [[0, 0, 0], [0, 0, 1]]]),
        ("multi_hot", [[0, 1, 0], [0, 0, 1]]),
        ("count", [[0, 2, 0], [0, 0, 1]]),
    ],
)
def test_numbers_become_vectors_and_those_beyond_are_left_out(mode, expected):
    encode = step(Encode, "x", "out", mode=mode, depth=3, dtype="float32")
    got = run(encode, x=[[1, 1], [2**63 - 1, 2]], dtype="int64")
    assert (got.tolist(), got.dtype) == (expected, np.float32)


def test_weights_are_float32():
    scale = step(Scale, "x", "out", weights="weights.words.json", dtype="float32")
    got = run(scale, x=[[3.0, 1.0]], files={"weights.words.json": [0.1, 0.7]}, dtype="float32")
    assert got.tolist() == (np.array([[3, 1]], np.float32) * np.array([0.1, 0.7], np.float32)).tolist()


def test_a_masked_text_has_the_first_bin_for_itself():
    hashed = step(Hash, "x", "out", rule="farmhash64", bins=4, mask="")
    assert run(hashed, x=["", "cat"]).tolist() == [0, 1 + fingerprint64(b"cat") % 3]
    salted = step(Hash, "x", "out", rule="siphash24", bins=4, key=(1, 2))
    assert run(salted, x=["cat"]).tolist() == [siphash24(b"cat", (1, 2)) % 4]


def test_a_cross_joins_its_inputs_in_order():
    there, back = step(Cross, "x z", "out", bins=1000, seed=5), step(Cross, "z x", "out", bins=1000, seed=5)
    joined = fingerprint_cat64(fingerprint_cat64(5, fingerprint64(b"a")), fingerprint64(b"b"))
    assert run(there, x=["a"], z=["b"]).tolist() == [joined % 1000]
    assert run(back, x=["a"], z=["b"]).tolist() != [joined % 1000]
    numbers = run(there, x=[-1], z=[2], dtype="int64").tolist()
    assert numbers == [fingerprint_cat64(fingerprint_cat64(5, 2**64 - 1), 2) % 1000]


def test_what_moves_numbers_about():
    x = np.arange(6.0, dtype="float32").reshape(2, 3)
    cases = [
        (step(Cast, "x", "out", dtype="int64"), x.astype("int64")),
        (step(Reshape, "x", "out", target=(-1, 2)), x.reshape(3, 2)),
        (step(Slice, "x", "out", ranges=((None, None, 1), (1, 2, 1))), x[:, 1:2]),
        (step(Slice, "x", "out", ranges=((None, None, 1), (1, 2, 1)), dropped=(1,)), x[:, 1]),
        (step(ExpandDims, "x", "out", axis=-1), x[..., None]),
        (step(Concatenate, "x x", "out", axis=1), np.concatenate([x, x], axis=1)),
        (step(Bucketize, "x", "out", boundaries=(1.0, 4.5)), [[0, 1, 1], [1, 1, 2]]),
    ]
    for one, expected in cases:
        assert run(one, x=x, dtype="float32").tolist() == np.array(expected).tolist(), one.operation
    assert run(step(Squeeze, "x", "out", axes=(-1,)), x=x[:, :1], dtype="float32").tolist() == [0.0, 3.0]
    assert run(
        step(Text, "x", "t"), step(Hash, "t", "out", rule="farmhash64", bins=9), x=[-5], dtype="int64"
    ).tolist() == [fingerprint64(b"-5") % 9]


def test_siphash_is_the_one_of_the_paper():
    key = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
    assert siphash24(bytes(range(15)), key) == 0xA129CA6149BE45E5
    assert siphash24(b"", key) == 0x726FDB47DD0E0E31


@pytest.mark.parametrize(
    ("pattern", "texts"),
    [
        ("<br />", ("<br />",)),
        (r"<br\ \/>", ("<br />",)),
        ("É", ("É",)),
        ("[abc]", ("a", "b", "c")),
        (r"[a\-c\]]", ("a", "-", "c", "]")),
        ("[a-c-]", ("a", "b", "c", "-")),
        (r"[,-\.]", (",", "-", ".")),
        ("", None),
        ("[^a]", None),
        ("[[:alpha:]]", None),
        ("[É]", None),
        (r"\s", None),
        (r"[\d]", None),
        ("a+", None),
        ("a|b", None),
        ("(a)", None),
        ("[a][b]", None),
        ("a\\", None),
    ],
)
def test_a_pattern_is_a_list_of_texts_or_nothing(pattern, texts):
    assert texts_matched(pattern) == texts


def test_keras_own_pattern_is_the_list_of_its_punctuation():
    assert texts_matched(r'[!"#$%&()\*\+,-\./:;<=>?@\[\\\]^_`{|}~\']') == tuple(PUNCTUATION)


def test_texts_are_replaced_from_left_to_right():
    tags = step(Replace, "x", "t", dtype="string", find=("<br />", "."), put="\\1 ")
    lookup = step(Lookup, "t", "out", vocabulary=VOCABULARY, first=1, unknown=Unknown(rule="number"))
    got = run(tags, lookup, x=["a.b<br />c", "a b"], files={VOCABULARY: ["a\\1 b\\1 c"]})
    assert got.tolist() == [1, 0]


def test_what_is_written_is_read_again(tmp_path):
    preprocessing = described(*VECTORIZE, files=WORDS)
    preprocessing.write(tmp_path)
    assert read(tmp_path) == preprocessing
    assert names_of(tmp_path) == (FILE, VOCABULARY)
    assert (tmp_path / VOCABULARY).read_text("utf-8").splitlines()[1:-1] == [
        '"the",',
        '"cat",',
        '"sat",',
        '"mat",',
        '"école"',
    ]


def damaged(tmp_path, change):
    described(*VECTORIZE, files=WORDS).write(tmp_path)
    content = json.loads((tmp_path / FILE).read_text("utf-8"))
    change(content)
    (tmp_path / FILE).write_text(json.dumps(content), "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version="2"), "version: got '2', valid is '1'"),
        (lambda c: c.pop("version"), "version: got None, valid is '1'"),
        (lambda c: c.update(surprise=1), "surprise: Unexpected keyword argument"),
        (lambda c: c["steps"][0].update(operation="upper"), "steps[0]: Input tag 'upper'"),
        (lambda c: c["steps"][1].update(surprise=1), "surprise"),
        (lambda c: c["steps"][4].update(length="4"), "length"),
        (lambda c: c["steps"][3].update(vocabulary="../vocabulary.json"), "is no file of a preprocessing"),
        (lambda c: c["steps"].pop(2), "steps[2].inputs: words: nothing makes it"),
        (lambda c: c["steps"][1].update(output="low"), "steps[1].output: 'low' is made twice"),
        (lambda c: c["feeds"][0].update(tensor="nothing"), "feeds[0].tensor: 'nothing': nothing makes it"),
    ],
)
def test_a_description_that_says_something_else_is_refused_by_field(tmp_path, change, message):
    with pytest.raises(BadInput) as refused:
        read(damaged(tmp_path, change))
    assert message in refused.value.message


def test_a_vocabulary_that_is_missing_or_no_list_is_refused_by_file(tmp_path):
    described(*VECTORIZE, files=WORDS).write(tmp_path)
    (tmp_path / VOCABULARY).write_text('{"the": 2}')
    with pytest.raises(BadInput, match=r"vocabulary\.words\.json: .*valid array"):
        read(tmp_path)
    (tmp_path / VOCABULARY).unlink()
    with pytest.raises(BadInput, match=r"vocabulary\.words\.json: cannot be read"):
        read(tmp_path)


def test_a_file_that_is_no_object_is_refused(tmp_path):
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(BadInput, match="not a JSON object"):
        read(tmp_path)


def test_a_description_is_tried_on_its_masks():
    unknown = Unknown(rule="refuse")
    lookup = step(Lookup, "x", "out", vocabulary=VOCABULARY, first=1, mask="[PAD]", unknown=unknown)
    hashed = step(Hash, "z", "hashed", rule="farmhash64", bins=5, mask="[GAP]")
    tried = described(lookup, hashed, files={VOCABULARY: ["cat"]})
    own, other = probes(tried, tried.description.inputs)
    assert own["x"].tolist() == [b"cat", b"[PAD]"]  # nothing that the model may refuse
    assert all({b"[PAD]", b"[GAP]"} <= set(other[name]) for name in "xz")


def test_numbers_that_are_looked_up_as_text_are_tried_as_numbers():
    text = step(Text, "x", "text", dtype="string")
    lookup = step(Lookup, "text", "out", vocabulary=VOCABULARY, first=1, unknown=Unknown(rule="number"))
    tried = described(text, lookup, files={VOCABULARY: ["12", "none", "7"]}, dtype="int64")
    own, _ = probes(tried, tried.description.inputs)
    assert own["x"].tolist() == [12, 7, 12]


@pytest.mark.parametrize(
    ("entries", "dtype", "fit"),
    [
        (["12", "", "7.5", "x", "-3"], "int64", [12, -3]),
        ([12, "cat"], "string", ["12", "cat"]),
        (["300", 5], "uint8", [5]),
        ([255, 127], "int8", []),  # the next number stands for an unknown one
        ([1, "2"], "float32", [1, 2]),
        (["a"], "int32", []),
    ],
)
def test_entries_are_drawn_as_their_input_takes_them(entries, dtype, fit):
    assert fitting(entries, dtype) == fit
