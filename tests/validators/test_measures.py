"""Properties of comparing that hold for any numbers: what is equal passes, what is further off never fares better."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from validators.compare.distances import measure
from validators.compare.outputs import compare
from validators.compare.tolerance import LAST_BITS, MULTIPLE, tolerance
from validators.compare.top_k import decisions
from validators.contract import Noise, Tolerance

FLOATS = ("float16", "float32", "float64")
SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, min_side=1, max_side=4)
WIDE = settings(deadline=None, max_examples=60)
ALLOWED = Tolerance(atol=1e-3, rtol=1e-3, reason="for this test")


def arrays(dtypes=FLOATS, shape=SHAPES, **options):
    return st.sampled_from(dtypes).flatmap(lambda dtype: hnp.arrays(dtype, shape, **options))


def one(reference, actual, allowed=ALLOWED, **more):
    (diff,) = compare({"y": reference}, {"y": actual}, sample_set="s", tolerances={"y": allowed}, **more)
    return diff


@WIDE
@given(arrays((*FLOATS, "int8", "int64", "uint64", "bool", "complex64")))
def test_what_is_equal_passes_whatever_it_is(array):
    diff = one(array, array.copy(), Tolerance(atol=0.0, rtol=0.0, reason="none"))
    assert (diff.problem, diff.failing, diff.max_abs or 0.0, diff.needed or 0.0) == ("", 0, 0.0, 0.0)
    assert diff.sqnr_db is None


@WIDE
@given(st.data())
def test_distances_are_the_same_from_either_side(data):
    shape = data.draw(SHAPES)
    a, b = (data.draw(hnp.arrays("float32", shape)) for _ in range(2))
    exact = Tolerance(atol=0.0, rtol=0.0, reason="none")
    there, back = measure(a, b, exact), measure(b, a, exact)
    assert (there.failing, there.nonfinite, there.max_abs) == (back.failing, back.nonfinite, back.max_abs)
    assert there.cosine == pytest.approx(back.cosine, nan_ok=True) if there.cosine else back.cosine == there.cosine


@WIDE
@given(arrays(("float64",), elements={"min_value": -1e30, "max_value": 1e30}), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_error_never_fares_better(array, one_share, other_share):
    small, large = sorted((one_share, other_share))
    error = np.asarray(np.abs(array.astype(np.float64)) + 1)
    near, far = (measure(array.astype(np.float64), array + share * error, ALLOWED) for share in (small, large))
    assert near.failing <= far.failing
    assert near.max_abs <= far.max_abs
    assert near.needed <= far.needed
    if near.sqnr_db is not None and far.sqnr_db is not None:
        assert near.sqnr_db >= far.sqnr_db - 1e-9


@WIDE
@given(st.data())
def test_what_was_needed_is_just_enough(data):
    shape = data.draw(SHAPES)
    numbers = {"min_value": -1e6, "max_value": 1e6}
    a, b = (data.draw(hnp.arrays("float32", shape, elements=numbers)) for _ in range(2))
    needed = measure(a, b, ALLOWED).needed
    enough = Tolerance(atol=needed * (1 + 1e-12), rtol=ALLOWED.rtol, reason="needed")
    assert measure(a, b, enough).failing == 0
    assume(needed > 1e-9)
    assert measure(a, b, Tolerance(atol=needed * 0.999, rtol=ALLOWED.rtol, reason="less")).failing > 0


@WIDE
@given(
    arrays(FLOATS, st.integers(1, 6).map(lambda n: (n,))), st.integers(0, 5), st.sampled_from([np.nan, np.inf, -np.inf])
)
def test_one_nan_or_infinity_more_fails_at_any_tolerance(array, at, bad):
    assume(np.isfinite(array[at % len(array)]))
    spoilt = array.copy()
    spoilt[at % len(array)] = bad
    for reference, actual in ((array, spoilt), (spoilt, array)):
        diff = one(reference, actual, Tolerance(atol=1e300, rtol=1.0, reason="huge"))
        assert (diff.problem, diff.nonfinite_mismatches) == ("nonfinite mismatch", 1)


def test_zero_has_no_sign_and_a_denormal_is_not_lost():
    zeros = np.array([0.0, -0.0], np.float32)
    exact = Tolerance(atol=0.0, rtol=0.0, reason="none")
    assert one(zeros, zeros[::-1].copy(), exact).problem == ""
    tiny = np.array([2.0**-149, 1.0], np.float32)
    lost = np.array([0.0, 1.0], np.float32)
    assert one(tiny, lost, exact).max_abs == 2.0**-149


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "int64", "uint64"])
def test_whole_numbers_at_their_limits_neither_wrap_around_nor_lose_their_last_bit(dtype):
    limits = np.iinfo(dtype)
    ends = np.array([limits.min, limits.max], dtype)
    assert one(ends, ends[::-1].copy()).failing == 2
    off_by_one = np.array([limits.min, limits.max - 1], dtype)
    assert (one(ends, off_by_one).failing, one(ends, off_by_one).max_abs) == (1, 1.0)


def test_numbers_near_the_largest_have_finite_measures():
    huge = np.array([1.7e308, -1.7e308])
    diff = one(huge, -huge)
    assert diff.problem
    assert all(
        value is None or math.isfinite(value) for value in (diff.max_abs, diff.needed, diff.sqnr_db, diff.cosine)
    )


def test_sqnr_and_cosine_are_those_of_the_textbook():
    reference = np.array([3.0, 4.0])
    diff = one(reference, np.array([3.0, 4.5]))
    assert diff.sqnr_db == pytest.approx(10 * math.log10(25 / 0.25))
    assert diff.cosine == pytest.approx((9 + 18) / (5 * math.hypot(3, 4.5)))
    assert one(reference, -reference).cosine == pytest.approx(-1.0)
    assert one(np.zeros(2), reference).cosine is None
    assert one(np.zeros(2), reference).sqnr_db is None


def test_bfloat16_and_text_are_measured_too():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    assert one(np.array([1.0, 2.0], bfloat16), np.array([1.0, 2.0], bfloat16)).cosine == pytest.approx(1.0)
    text = one(np.array(["a", "b"], object), np.array(["a", "c"], object))
    assert (text.failing, text.needed, text.sqnr_db, text.decisions) == (1, None, None, None)


def test_empty_tensors_prove_nothing():
    assert one(np.zeros((0, 3)), np.zeros((0, 3))).problem == "nothing compared"


# Ties of whole numbers


def test_a_whole_number_that_rounding_alone_decides_may_be_either_answer_and_no_third():
    reference, exact = np.array([1, 2, 3]), np.array([1, 7, 3])
    for answer in (reference, exact):
        assert one(reference, answer, None, exact={"y": exact}).problem == ""
    assert one(reference, np.array([1, 8, 3]), None, exact={"y": exact}).failing == 1
    assert one(reference, np.array([7, 2, 3]), None, exact={"y": exact}).failing == 1
    assert one(reference, exact, None).failing == 1


# Decisions


@WIDE
@given(hnp.arrays("float32", (5, 4), elements={"allow_nan": False, "allow_infinity": False}))
def test_equal_scores_decide_the_same(scores):
    found = decisions(scores, scores.copy(), ALLOWED)
    assert (found.compared, found.top1, found.topk, found.flips) == (5, 5, 5, ())


@WIDE
@given(st.data())
def test_no_decision_beyond_a_tie_flips_within_the_tolerance(data):
    numbers = {"min_value": -1e3, "max_value": 1e3}
    scores = data.draw(hnp.arrays("float32", (4, 3), elements=numbers)).astype(np.float64)
    moves = data.draw(hnp.arrays("float64", (4, 3), elements={"min_value": -1, "max_value": 1}))
    allowed = Tolerance(atol=0.5, rtol=0.0, reason="half")
    found = decisions(scores, scores + 0.4999 * moves, allowed)
    assert found.compared - found.top1 <= found.ties


def test_a_flip_is_told_with_its_place_and_its_margin():
    reference = np.array([[0.1, 0.9], [0.6, 0.4], [0.5, 0.5 + 1e-9]], np.float64)
    actual = np.array([[0.1, 0.9], [0.3, 0.7], [0.5, 0.5 - 1e-9]], np.float64)
    found = decisions(reference, actual, Tolerance(atol=1e-6, rtol=0.0, reason="small"))
    assert (found.compared, found.top1, found.ties) == (3, 1, 1)
    first, second = found.flips
    assert (first.index, first.reference, first.actual, first.margin) == ((1,), 0, 1, pytest.approx(0.2))
    assert (second.index, second.reference, second.actual) == ((2,), 1, 0)


def test_rows_that_are_not_finite_decide_nothing():
    scores = np.array([[np.nan, 1.0], [2.0, 1.0]])
    assert decisions(scores, scores, ALLOWED).compared == 1
    assert decisions(scores[:1], scores[:1], ALLOWED) is None
    assert decisions(np.zeros(4), np.zeros(4), ALLOWED) is None
    assert decisions(np.zeros((4, 1)), np.zeros((4, 1)), ALLOWED) is None


# The tolerance from the noise


@WIDE
@given(st.sampled_from(["float16", "bfloat16", "float32"]), st.floats(0, 1e20), st.floats(0, 1e3), st.floats(0, 1e3))
def test_more_noise_never_means_a_smaller_tolerance(dtype, scale, one_floor, other_floor):
    small, large = (Noise(floor=floor, scale=scale, rows=9) for floor in sorted((one_floor, other_floor)))
    for device in ("cpu", "gpu"):
        less, more = (tolerance(dtype, scale, noise=noise, device=device) for noise in (small, large))
        assert 0 < less.atol <= more.atol
        assert less.rtol == more.rtol > 0
    assert tolerance(dtype, scale, noise=small).atol <= tolerance(dtype, scale, noise=small, device="gpu").atol


def test_the_tolerance_is_six_times_what_the_original_loses_itself():
    found = tolerance("float32", 1.0, noise=Noise(floor=3e-7, scale=1.0, rows=256))
    assert (found.atol, found.rtol) == (MULTIPLE * 3e-7, LAST_BITS * 2.0**-23)
    assert "6 times the original's own rounding, 3e-07 at most over 256 rows" in found.reason


def test_an_output_without_noise_is_held_to_the_last_bits_of_its_type():
    found = tolerance("float32", 8.0, noise=Noise(floor=0.0, scale=8.0, rows=256))
    assert found.atol == LAST_BITS * 2.0**-23 * 8.0
    assert "2 epsilon of float32" in found.reason


def test_the_scale_is_that_of_all_rows_that_were_measured_or_of_the_set_where_that_is_larger():
    noise = Noise(floor=0.0, scale=8.0, rows=256)
    assert tolerance("float32", 2.0, noise=noise).atol == tolerance("float32", 8.0, noise=noise).atol
    assert tolerance("float32", 16.0, noise=noise).atol == 2 * tolerance("float32", 8.0, noise=noise).atol


@pytest.mark.parametrize("scale", [1e-3, 1e-5, 1e-9])
def test_an_artifact_that_answers_zero_fails_also_where_the_output_is_tiny(scale):
    assert tolerance("float32", scale, noise=Noise(floor=0.0, scale=scale, rows=9)).atol <= scale / 50


def test_without_a_floor_the_default_says_why_there_is_none():
    lacking = Noise(floor=None, scale=0.0, rows=0, why="layer hash looks words up in a table")
    found = tolerance("float32", 1.0, noise=lacking)
    assert (found.atol, found.rtol) == (1e-5, 1e-4)
    assert "layer hash looks words up in a table" in found.reason
