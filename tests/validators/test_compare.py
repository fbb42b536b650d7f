import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from validators.compare.outputs import PROBLEMS, compare
from validators.compare.tolerance import tolerances
from validators.contract import Tolerance

SOFTMAX = np.array([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.9, 0.05, 0.05]], np.float32)


def run(reference, actual, **options):
    options.setdefault("tolerances", tolerances(reference))
    return compare(reference, actual, sample_set="seeded", **options)


def one(reference, actual, **options):
    (diff,) = run({"y": reference}, {"y": actual}, **options)
    assert diff.name == "y"
    assert diff.sample_set == "seeded"
    assert diff.problem in {*PROBLEMS, ""}
    assert bool(diff.message) is bool(diff.problem)
    return diff


# What must pass: no false alarms


def test_equal_tensors_pass_and_say_how_much_was_compared():
    diff = one(SOFTMAX, SOFTMAX.copy())
    assert diff.passed
    assert (diff.elements, diff.failing, diff.max_abs, diff.max_rel) == (12, 0, 0.0, 0.0)
    assert diff.tolerance.rtol == 1e-4


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "complex64"])
def test_noise_in_the_last_bit_passes(dtype):
    reference = np.random.default_rng(1).normal(size=(7, 50)).astype(dtype)
    noisy = reference.copy()
    real = noisy.view(noisy.real.dtype)
    real[...] = np.nextafter(real, np.array(np.inf, real.dtype))
    diff = one(reference, noisy)
    assert diff.passed
    assert diff.max_abs > 0


def test_a_small_element_may_carry_the_noise_of_the_large_ones():
    reference = np.array([[1000.0, 1e-7], [-900.0, 2e-7]], np.float32)
    actual = reference + np.float32([[0, 6e-5], [0, -6e-5]])
    assert one(reference, actual).passed


def test_the_same_nan_and_infinities_agree():
    reference = np.array([[np.nan, np.inf, -np.inf, 1.0]], np.float32)
    diff = one(reference, reference.copy())
    assert diff.passed
    assert diff.max_abs == 0.0


def test_an_output_of_nothing_but_agreeing_nan_has_no_largest_difference():
    diff = one(np.full((2, 2), np.nan, np.float32), np.full((2, 2), np.nan, np.float32))
    assert diff.passed
    assert diff.max_abs is None
    assert diff.max_rel is None


def test_minus_zero_is_zero_and_scalars_compare():
    assert one(np.array([0.0], np.float32), np.array([-0.0], np.float32)).passed
    diff = one(np.array(2.0, np.float32), np.array(2.0, np.float32))
    assert diff.passed
    assert diff.worst.index == ()


def test_a_constant_output_of_a_constant_reference_passes():
    assert one(np.full((4, 3), 0.5, np.float32), np.full((4, 3), 0.5, np.float32)).passed
    saturated = np.array([[0.9999999], [0.9999998], [0.9999999]], np.float32)
    assert one(saturated, np.ones((3, 1), np.float32)).passed


def test_text_from_a_runtime_that_hands_out_bytes_equals_str():
    assert one(np.array([["Zürich", ""]], object), np.array([["Zürich".encode(), b""]], object)).passed
    assert one(np.array(["a", "b"]), np.array([b"a", b"b"])).passed


def test_bfloat16_is_measured_in_float64():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    reference = SOFTMAX.astype(ml_dtypes.bfloat16)
    assert one(reference, reference.copy()).passed
    assert one(reference, (SOFTMAX * 2).astype(ml_dtypes.bfloat16)).problem == "tolerance exceeded"
    assert one(SOFTMAX, reference).problem == "dtype mismatch"


@given(
    hnp.arrays(
        st.sampled_from(["float16", "float32", "float64", "int8", "int64", "uint8", "uint64", "bool", "complex64"]),
        hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
    )
)
def test_every_tensor_equals_itself(array):
    diff = one(array, array.copy())
    assert diff.passed
    assert diff.failing == 0
    assert diff.elements == array.size


# What must be refused, each for its own reason


def test_an_output_moved_by_ten_tolerances_is_refused():
    allowed = tolerances({"y": SOFTMAX})["y"]
    moved = SOFTMAX.copy()
    moved[2, 1] += 10 * (allowed.atol + allowed.rtol * moved[2, 1])
    diff = one(SOFTMAX, moved)
    assert diff.problem == "tolerance exceeded"
    assert diff.failing == 1
    assert diff.worst.index == (2, 1)
    assert float(diff.worst.reference) == 0.5
    assert np.float32(diff.worst.actual) == moved[2, 1]
    assert diff.max_abs == pytest.approx(float(moved[2, 1]) - 0.5)
    assert diff.max_rel == pytest.approx(diff.max_abs / 0.5)
    assert "1 of 12 elements" in diff.message


def test_two_swapped_outputs_are_both_refused():
    other = SOFTMAX[::-1].copy()
    diffs = run({"a": SOFTMAX, "b": other}, {"a": other, "b": SOFTMAX})
    assert [diff.problem for diff in diffs] == ["tolerance exceeded"] * 2


def test_a_missing_output_is_refused_and_the_others_are_still_compared():
    diffs = run({"a": SOFTMAX, "b": SOFTMAX}, {"b": SOFTMAX})
    assert [(diff.name, diff.problem) for diff in diffs] == [("a", "missing output"), ("b", "")]
    assert "got `b`" in diffs[0].message


def test_an_extra_output_is_refused():
    diffs = run({"a": SOFTMAX}, {"a": SOFTMAX, "z": SOFTMAX, "b": SOFTMAX})
    assert [(diff.name, diff.problem) for diff in diffs] == [("a", ""), ("b", "extra output"), ("z", "extra output")]


def test_a_renamed_output_is_missing_and_extra_never_matched_by_shape():
    assert [diff.problem for diff in run({"a": SOFTMAX}, {"b": SOFTMAX})] == ["missing output", "extra output"]


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32"])
def test_another_dtype_is_refused_even_with_equal_values(dtype):
    reference = np.array([[1.0], [2.0]], np.float32)
    diff = one(reference, reference.astype(dtype))
    assert diff.problem == "dtype mismatch"
    assert dtype in diff.message
    assert "expected float32" in diff.message


@pytest.mark.parametrize("shape", [(4, 1), (1, 3), (1, 4, 3), (3, 4), (12,), (4, 3, 1)])
def test_a_shape_that_broadcasts_or_has_as_many_elements_is_refused(shape):
    reference = np.ones((4, 3), np.float32)
    diff = one(reference, np.ones(shape, np.float32))
    assert diff.problem == "shape mismatch"
    assert str(list(shape)) in diff.message


@pytest.mark.parametrize(("was", "becomes"), [(0.5, np.nan), (0.5, np.inf), (np.inf, -np.inf), (np.nan, 0.5)])
def test_one_element_that_differs_in_nan_or_infinity_is_refused(was, becomes):
    reference, actual = SOFTMAX.copy(), SOFTMAX.copy()
    reference[1, 2], actual[1, 2] = was, becomes
    diff = one(reference, actual)
    assert diff.problem == "nonfinite mismatch"
    assert (diff.nonfinite_mismatches, diff.failing) == (1, 1)
    assert diff.worst.index == (1, 2)
    assert diff.worst.actual == str(np.float32(becomes))


def test_nan_everywhere_never_passes_a_threshold():
    diff = one(SOFTMAX, np.full_like(SOFTMAX, np.nan))
    assert diff.problem == "nonfinite mismatch"
    assert diff.failing == 12


def test_a_tolerance_of_nan_passes_nothing():
    allowed = {"y": Tolerance(atol=math.nan, rtol=0.0, reason="broken")}
    assert one(SOFTMAX, SOFTMAX.copy(), tolerances=allowed).problem == "tolerance exceeded"


def test_the_same_row_for_every_sample_is_a_constant_output():
    diff = one(SOFTMAX, np.repeat(SOFTMAX[:1], 4, axis=0))
    assert diff.problem == "constant output"
    assert diff.failing == 9


def test_zeros_for_a_single_row_are_a_constant_output():
    assert one(SOFTMAX[:1], np.zeros((1, 3), np.float32)).problem == "constant output"
    assert one(np.array([[0.7]], np.float32), np.array([[0.0]], np.float32)).problem == "tolerance exceeded"


def test_a_constant_halfway_between_all_reference_values_does_not_hide_in_the_tolerance():
    allowed = {"y": Tolerance(atol=1.0, rtol=0.0, reason="wide")}
    diff = one(np.array([[0.0], [1.5]], np.float32), np.array([[0.75], [0.75]], np.float32), tolerances=allowed)
    assert diff.failing == 0
    assert diff.problem == "constant output"


def test_nothing_to_compare_is_a_failure_of_its_own_name():
    assert [diff.problem for diff in run({}, {})] == ["nothing compared"]
    assert [diff.problem for diff in run({}, {"y": SOFTMAX})] == ["nothing compared", "extra output"]
    assert one(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)).problem == "nothing compared"


def test_an_output_nobody_gave_a_tolerance_for_is_not_waved_through():
    with pytest.raises(KeyError, match="y"):
        compare({"y": SOFTMAX}, {"y": SOFTMAX}, sample_set="s", tolerances={})


def test_atol_and_rtol_have_their_own_roles():
    reference, actual = np.array([[100.0], [0.0]], np.float32), np.array([[101.0], [0.0]], np.float32)
    relative = {"y": Tolerance(atol=0.0, rtol=0.02, reason="relative")}
    assert one(reference, actual, tolerances=relative).passed
    absolute = {"y": Tolerance(atol=0.02, rtol=0.0, reason="absolute")}
    assert one(reference, actual, tolerances=absolute).problem == "tolerance exceeded"


def test_the_relative_part_follows_the_reference_and_not_the_actual_value():
    allowed = {"y": Tolerance(atol=0.0, rtol=0.6, reason="wide")}
    reference, actual = np.array([[1.0], [5.0]], np.float32), np.array([[2.0], [5.0]], np.float32)
    assert one(reference, actual, tolerances=allowed).failing == 1


def test_a_float_output_without_a_tolerance_must_be_equal():
    actual = np.nextafter(SOFTMAX, np.float32(2))
    assert one(SOFTMAX, actual, tolerances={"y": None}).problem == "tolerance exceeded"
    assert one(SOFTMAX, SOFTMAX.copy(), tolerances={"y": None}).passed


# Integers, booleans, text


@pytest.mark.parametrize(
    ("dtype", "reference", "actual", "distance"),
    [
        ("uint8", 3, 250, 247.0),
        ("int8", -128, 127, 255.0),
        ("int64", 2**63 - 1, -(2**63), 2.0**64),
        ("int64", 2**53, 2**53 + 1, 1.0),
        ("uint64", 0, 2**64 - 1, 2.0**64),
        ("bool", True, False, 1.0),
    ],
)
def test_integers_are_exact_and_their_distance_does_not_overflow(dtype, reference, actual, distance):
    wide = {"y": Tolerance(atol=1e30, rtol=1.0, reason="meant for floats")}
    same = [reference, reference]
    diff = one(np.array([same], dtype), np.array([[reference, actual]], dtype), tolerances=wide)
    assert diff.problem == "tolerance exceeded"
    assert (diff.failing, diff.max_abs, diff.worst.index) == (1, distance, (0, 1))
    assert diff.tolerance is None
    assert "not equal" in diff.message


@given(hnp.arrays("int64", 5), hnp.arrays("int64", 5))
def test_integer_distances_are_those_of_unbounded_integers(reference, actual):
    diff = one(reference, actual)
    distances = [abs(a - b) for a, b in zip(reference.tolist(), actual.tolist(), strict=True)]
    assert diff.failing == sum(map(bool, distances))
    assert diff.max_abs == float(max(distances))


@pytest.mark.parametrize("dtype", ["int32", "uint64", "float64", "bool"])
def test_equal_values_of_another_type_are_a_dtype_mismatch(dtype):
    reference = np.array([[1], [0]], np.int64)
    assert one(reference, reference.astype(dtype)).problem == "dtype mismatch"


def test_text_is_exact_and_shows_both_values():
    diff = one(np.array([["cat"], ["dog"]], object), np.array([[b"cat"], [b"dot"]], object))
    assert diff.problem == "tolerance exceeded"
    assert (diff.failing, diff.max_abs, diff.worst.index) == (1, None, (1, 0))
    assert (diff.worst.reference, diff.worst.actual) == ("'dog'", "b'dot'")


# The arithmetic of the measure


def test_float16_differences_do_not_overflow():
    reference, actual = np.array([[60000.0], [1.0]], np.float16), np.array([[-60000.0], [1.0]], np.float16)
    assert one(reference, actual).max_abs == 120000.0


def test_the_figures_stay_finite_at_the_ends_of_float64():
    largest = np.finfo(np.float64).max
    diff = one(np.array([[largest], [5e-324]]), np.array([[-largest], [1.0]]))
    assert diff.problem == "tolerance exceeded"
    assert math.isfinite(diff.max_abs)
    assert math.isfinite(diff.max_rel)


def test_denormals_are_not_flushed():
    tiny = np.array([[1e-45], [0.0]], np.float32)
    assert one(tiny, np.zeros_like(tiny), tolerances={"y": None}).failing == 1


def test_the_worst_element_exceeds_its_own_limit_most():
    allowed = {"y": Tolerance(atol=0.0, rtol=0.1, reason="relative")}
    diff = one(np.array([[1000.0, 1.0]]), np.array([[1150.0, 61.0]]), tolerances=allowed)
    assert diff.failing == 2
    assert diff.worst.index == (0, 1)
    assert diff.max_abs == 150.0


def test_relative_difference_ignores_references_that_are_zero():
    diff = one(np.array([[0.0, 2.0]]), np.array([[1.0, 3.0]]))
    assert diff.max_rel == 0.5
    assert one(np.array([[0.0, 0.0]]), np.array([[1.0, 2.0]])).max_rel is None


def test_the_worst_values_read_back_as_the_same_numbers():
    reference = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    actual = reference * np.float32(1.37)
    worst = one(reference, actual).worst
    assert np.float32(worst.reference) == reference[worst.index]
    assert np.float32(worst.actual) == actual[worst.index]


@given(hnp.arrays("float32", (3, 4), elements=st.floats(-1e3, 1e3, width=32)), st.integers(0, 11))
def test_one_element_moved_by_ten_tolerances_never_passes(reference, where):
    allowed = Tolerance(atol=0.05, rtol=1e-4, reason="test")
    actual = reference.copy()
    actual.flat[where] += 10 * (allowed.atol + allowed.rtol * abs(float(reference.flat[where])))
    diff = one(reference, actual, tolerances={"y": allowed})
    assert diff.problem in {"tolerance exceeded", "constant output"}
    assert diff.failing == 1
    assert np.ravel_multi_index(diff.worst.index, (3, 4)) == where


@pytest.mark.parametrize("block", [1, 2, 5, 100])
@pytest.mark.parametrize("dtype", ["float32", "int32", "object"])
def test_a_tensor_is_measured_alike_in_one_block_and_in_many(monkeypatch, block, dtype):
    reference = np.random.default_rng(3).integers(-50, 50, (6, 4)).astype(dtype)
    actual = reference.copy()
    actual[1, 1], actual[4, 2], actual[5, 3] = -70, 99, 12
    whole = one(reference, actual)
    monkeypatch.setattr("validators.compare.distances._BLOCK", block)
    assert one(reference, actual) == whole
    assert whole.failing == 3


@pytest.mark.parametrize("block", [1, 2, 100])
def test_a_nan_in_a_late_block_is_worse_than_any_number_in_an_early_one(monkeypatch, block):
    monkeypatch.setattr("validators.compare.distances._BLOCK", block)
    actual = SOFTMAX.copy()
    actual[0, 0], actual[3, 1] = 1e30, np.nan
    assert one(SOFTMAX, actual).worst.index == (3, 1)


def test_views_in_any_memory_order_are_compared_by_index():
    reference = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert one(reference, np.asfortranarray(reference)).passed
    assert one(reference, reference.T.copy().T).passed
    assert one(reference, reference.astype(">f4")).passed
