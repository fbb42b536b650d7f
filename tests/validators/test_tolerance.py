import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporters.errors import BadInput
from validators.compare.tolerance import dtype_name, scale_of, tolerance, tolerances
from validators.contract import Noise, ToleranceOverride

FLOATS = ["float16", "bfloat16", "float32", "float64", "complex64"]


def test_the_float32_default_is_a_share_of_each_value_and_of_the_outputs_scale():
    found = tolerance("float32", 20.0)
    assert found.rtol == 1e-4
    assert found.atol == pytest.approx(2e-4)
    assert "float32 default" in found.reason
    assert "20" in found.reason


def test_an_output_that_is_zero_everywhere_still_allows_some_noise():
    assert tolerance("float32", 0.0).atol == pytest.approx(1e-14, abs=0)


def test_an_output_that_is_small_everywhere_is_allowed_the_rounding_of_one_as_sigmoid_leaves_it():
    assert tolerance("float32", 1.6e-4).atol == pytest.approx(2.0**-22, abs=0)


@pytest.mark.parametrize("scale", [1e-3, 1e-5, 1e-7, 1e-11])
def test_an_artifact_that_answers_zero_is_beyond_the_tolerance_at_any_scale(scale):
    assert tolerance("float32", scale).atol < scale / 50


def test_atol_and_rtol_are_not_swapped():
    found = tolerance("float32", 1.0, atol=3.0, rtol=0.5)
    assert (found.atol, found.rtol) == (3.0, 0.5)


@pytest.mark.parametrize("dtype", ["int32", "uint8", "int64", "bool", "string"])
def test_discrete_types_are_exact_even_when_a_tolerance_is_set_by_hand(dtype):
    assert tolerance(dtype, 100.0) is None
    assert tolerance(dtype, 100.0, atol=5.0, rtol=1.0) is None


def test_what_is_set_by_hand_replaces_its_part_only_and_says_so():
    found = tolerance("float32", 2.0, atol=0.5)
    assert found.atol == 0.5
    assert found.rtol == 1e-4
    assert found.reason.startswith("atol set in release.toml")
    assert "0.0001 of each value" in found.reason
    assert tolerance("float32", 2.0, atol=0.0, rtol=0.0).reason == "atol and rtol set in release.toml"


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e-9])
@pytest.mark.parametrize("part", ["atol", "rtol"])
def test_a_tolerance_that_would_pass_everything_or_nothing_is_bad_input(part, value):
    with pytest.raises(BadInput, match=part):
        tolerance("float32", 1.0, **{part: value})


@pytest.mark.parametrize("scale", [math.nan, math.inf, -1.0])
def test_a_scale_that_is_no_magnitude_is_refused(scale):
    with pytest.raises(ValueError, match="scale"):
        tolerance("float32", scale)


@pytest.mark.parametrize("dtype", FLOATS)
def test_each_type_allows_more_than_its_own_rounding(dtype):
    epsilon = {"float16": 2.0**-10, "bfloat16": 2.0**-7, "float64": 2.0**-52}.get(dtype, 2.0**-23)
    assert 2 * epsilon < tolerance(dtype, 1.0).rtol < 0.05
    assert tolerance(dtype, 1.0).atol >= epsilon


@given(st.sampled_from(FLOATS), st.floats(0, 1e300), st.floats(0, 1e300))
def test_a_larger_output_never_gets_a_smaller_tolerance(dtype, one, other):
    low, high = sorted((one, other))
    assert 0 < tolerance(dtype, low).atol <= tolerance(dtype, high).atol


def test_the_scale_is_the_largest_finite_magnitude():
    assert scale_of(np.array([1.0, -7.0, np.nan, np.inf, -np.inf], np.float32)) == 7.0
    assert scale_of(np.array([np.nan, np.inf])) == 0.0
    assert scale_of(np.zeros((0, 3), np.float32)) == 0.0
    assert scale_of(np.float32(-2.0).reshape(())) == 2.0
    assert scale_of(np.array([3 + 4j], np.complex64)) == 5.0


def test_every_output_gets_the_tolerance_of_its_own_scale_and_type():
    reference = {
        "probabilities": np.array([[0.25, 0.75]], np.float32),
        "logits": np.array([[100.0, -400.0]], np.float32),
        "ids": np.array([[1, 2]], np.int64),
        "words": np.array([["a"]], dtype=object),
    }
    found = tolerances(reference)
    assert found["ids"] is None
    assert found["words"] is None
    assert found["probabilities"].atol == pytest.approx(0.75e-5)
    assert found["logits"].atol == pytest.approx(400e-5)


def test_an_output_that_the_target_narrows_gets_the_tolerance_of_the_narrow_type():
    reference = {"y": np.array([1.0])}
    assert tolerances(reference)["y"].rtol < 1e-12
    assert tolerances(reference, dtypes={"y": "float32"})["y"].rtol == 1e-4


def test_of_each_part_set_by_hand_the_first_entry_counts_that_fits_the_output_and_has_it():
    reference = {name: np.ones((1, 2), np.float32) for name in ("near", "far")}
    by_hand = [
        ToleranceOverride(output="far", atol=0.5),
        ToleranceOverride(rtol=0.25),
        ToleranceOverride(atol=2.0, rtol=2.0),
    ]
    found = tolerances(reference, by_hand=by_hand)
    assert [(found[name].atol, found[name].rtol) for name in ("near", "far")] == [(2.0, 0.25), (0.5, 0.25)]
    assert found["far"].reason == "atol and rtol set in release.toml"


def test_another_multiple_of_the_noise_floor_takes_the_place_of_the_rules():
    noise = {"y": Noise(floor=1e-3, rows=13, scale=1.0)}
    found = tolerances({"y": np.ones((1, 2), np.float32)}, noise=noise, by_hand=[ToleranceOverride(multiple=20)])["y"]
    assert found.atol == pytest.approx(20e-3)
    assert found.reason.startswith("20 (set in release.toml) times the original's own rounding")


def test_an_entry_holds_for_the_cells_it_names():
    assert ToleranceOverride().fits("onnx/default", "onnxruntime", "cpu")
    assert ToleranceOverride(cells="tfjs * gpu").fits("tfjs/default", "tfjs-webgl", "gpu")
    for other in ("tfjs/default tfjs-wasm cpu", "onnx/default ort-web-webgpu gpu"):
        assert not ToleranceOverride(cells="tfjs * gpu").fits(*other.split())


def test_text_of_any_storage_is_called_string():
    assert {dtype_name(np.array(["a"])), dtype_name(np.array([b"a"])), dtype_name(np.array(["a"], object))} == {
        "string"
    }
    assert dtype_name(np.zeros(1, np.float32)) == "float32"


def test_small_probabilities_may_carry_the_rounding_of_one_and_other_small_numbers_less_of_it():
    noise = {"y": Noise(floor=1.5e-9, rows=13, scale=1.8e-3)}
    shares = np.array([[1.8e-3, 4.5e-8, 0.0]], np.float32)
    for values, epsilons in ((shares, 2.0), (-shares, 0.5), (np.array([[1.5, 4.5e-8]], np.float32), None)):
        allowed = tolerances({"y": values}, noise=noise)["y"]
        if epsilons is None:
            assert allowed.atol == pytest.approx(2 * 2.0**-23 * 1.5)
        else:
            assert allowed.atol == pytest.approx(epsilons * 2.0**-23)
            assert f"{epsilons:g} epsilon of float32 of one" in allowed.reason


def test_an_entry_can_name_one_variant():
    own = ToleranceOverride(cells="tflite/batch1 * cpu")
    assert own.fits("tflite/batch1", "litert-xnnpack", "cpu")
    assert not own.fits("tflite/dynamic", "litert-xnnpack", "cpu")
    assert ToleranceOverride(cells="*/batch1 * *").fits("tflite/batch1", "litert-xnnpack", "cpu")
    assert not ToleranceOverride(cells="onnx/* * *").fits("tflite/batch1", "litert-xnnpack", "cpu")


@pytest.mark.parametrize("precision", ["float16", "float16 weights"])
def test_the_tolerance_is_that_of_the_type_which_the_artifact_declares(precision):
    reference = {"y": np.ones((1, 2), np.float32), "id": np.ones((1,), np.int64)}
    noise = {"y": Noise(floor=1e-7, rows=13, scale=1.0)}
    found = tolerances(reference, noise=noise, precision=precision)
    assert found["y"].rtol == pytest.approx(4 * 2.0**-10)
    assert found["id"] is None
    assert tolerances(reference, noise=noise)["y"].rtol == pytest.approx(2.0**-22)


@pytest.mark.parametrize("precision", ["int8", "int8 weights", "int16x8", "int4 weights"])
def test_a_quantized_artifact_has_no_tolerance_until_a_policy_sets_one(precision):
    reference = {"y": np.ones((1, 2), np.float32)}
    with pytest.raises(BadInput, match="no tolerance is derived"):
        tolerances(reference, precision=precision, by_hand=[ToleranceOverride(atol=0.1)])
    by_hand = [ToleranceOverride(atol=0.1), ToleranceOverride(rtol=0.2)]
    found = tolerances(reference, precision=precision, by_hand=by_hand)["y"]
    assert (found.atol, found.rtol) == (0.1, 0.2)
