"""Constants held against the source's weights: every layout is found, and whatever is not the weight is told."""

from dataclasses import replace

import numpy as np
import pytest

from exporters.formats.registry import EXPORTERS
from exporters.weights.match import match as match_with
from exporters.weights.source_weights import Normalization, SourceWeight, SourceWeights

RANDOM = np.random.default_rng(3)
EPSILON = 1e-3


def match(format_, *given):
    layouts = next(row.exporter.WEIGHTS for row in EXPORTERS if row.format == format_)
    return match_with(layouts, *given)


def weight(name, *shape, array=None):
    values = RANDOM.normal(size=shape).astype("float32") if array is None else np.asarray(array, "float32")
    return SourceWeight(name=name, layer=name.split("/")[0], array=values)


def source(*weights, normalizations=(), scales=()):
    return SourceWeights(weights=weights, normalizations=normalizations, scales=scales)


def normalized(channels=8, layer="norm"):
    """The weights of a batch normalization, and what it does."""
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    own = [weight(f"{layer}/{name}", array=RANDOM.uniform(0.5, 1.5, channels)) for name in names]
    gamma, beta, mean, variance = (each.array.astype("float64") for each in own)
    inverse = gamma / np.sqrt(variance + EPSILON)
    return own, Normalization(layer=layer, inverse=inverse, centre=mean * inverse, beta=beta)


def moved(array, ulps=1, at=3):
    """The same with one element some units in the last place further from zero."""
    copy = np.array(array, order="C")
    flat = copy.reshape(-1)
    flat[at] = (flat[at : at + 1].view("i4") + ulps).view("f4")[0]
    return copy


KERNEL, DENSE, ATTENTION = (
    weight("conv/kernel", 3, 3, 2, 8),
    weight("dense/kernel", 6, 5),
    weight("heads/kernel", 6, 2, 4),
)
STORED = {
    "the same": ("saved_model", KERNEL, KERNEL.array),
    "TF Lite's filters": ("tflite", KERNEL, KERNEL.array.transpose(3, 0, 1, 2)),
    "ONNX' filters": ("onnx", KERNEL, KERNEL.array.transpose(3, 2, 0, 1)),
    "TF Lite's depthwise filters": ("tflite", KERNEL, KERNEL.array.reshape(1, 3, 3, 16)),
    "ONNX' depthwise filters": ("onnx", KERNEL, KERNEL.array.transpose(2, 3, 0, 1).reshape(16, 1, 3, 3)),
    "TF Lite's transposed convolution": ("tflite", KERNEL, KERNEL.array.transpose(2, 0, 1, 3)),
    "a dense kernel": ("tfjs", DENSE, DENSE.array),
    "a dense kernel transposed": ("tflite", DENSE, DENSE.array.T),
    "heads side by side": ("tfjs", ATTENTION, ATTENTION.array.reshape(6, 8)),
    "heads transposed": ("tflite", ATTENTION, ATTENTION.array.reshape(6, 8).T),
}
each_layout = pytest.mark.parametrize("case", STORED.values(), ids=STORED.keys())


@each_layout
def test_a_weight_is_found_in_every_layout(case):
    format_, own, stored = case
    found = match(format_, source(own), {"constant": stored})
    assert (found.exact, found.unmatched, found.differences, found.computed) == (1, {}, (), 0)


@each_layout
@pytest.mark.parametrize("ulps", [1, 10, 100])
def test_one_element_by_one_unit_in_the_last_place_is_told_with_its_layer(case, ulps):
    format_, own, stored = case
    (found,) = match(format_, source(own), {"constant": moved(stored, ulps)}).differences
    assert (found.kind, found.weight, found.layer, found.tensor) == ("changed", own.name, own.layer, "constant")
    assert (found.elements, found.ulps) == (1, ulps)


@each_layout
def test_the_weights_of_the_epoch_before_are_told(case):
    format_, own, stored = case
    stale = (stored + 0.1 * RANDOM.normal(size=stored.shape)).astype("float32")
    (found,) = match(format_, source(own), {"constant": stale}).differences
    assert (found.kind, found.elements) == ("changed", own.array.size)


@each_layout
@pytest.mark.parametrize("sold_as", ["float16", "float32"])
def test_half_precision_is_told_whatever_type_it_is_stored_in(case, sold_as):
    format_, own, stored = case
    (found,) = match(format_, source(own), {"constant": stored.astype("float16").astype(sold_as)}).differences
    assert (found.kind, found.into) == ("rounded", "float16")


@pytest.mark.parametrize("channels", [None, (0, 1, 2)], ids=["one scale", "one for each channel"])
def test_small_integers_are_told(channels):
    stored = np.round(127 * KERNEL.array / np.abs(KERNEL.array).max(axis=channels)).astype("int8")
    (found,) = match("tflite", source(KERNEL), {"constant": stored.transpose(3, 0, 1, 2)}).differences
    assert (found.kind, found.into) == ("quantized", "int8")


def test_a_filter_whose_height_and_width_changed_places_is_not_the_weight():
    (found,) = match(
        "onnx", source(KERNEL), {"constant": KERNEL.array.transpose(1, 0, 2, 3).transpose(3, 2, 0, 1)}
    ).differences
    assert (found.kind, found.weight) == ("changed", "conv/kernel")


def test_a_filter_for_each_group_is_the_weight_cut_up():
    own = weight("grouped/kernel", 3, 3, 2, 6)
    halves = dict(zip(("first", "second"), np.split(own.array, 2, axis=3), strict=True))
    assert match("tfjs", source(own), halves).exact == 1
    (found,) = match("tfjs", source(own), halves | {"second": moved(halves["second"])}).differences
    assert (found.weight, found.tensor, found.ulps) == ("grouped/kernel", "second", 1)


def onnx_lstm(kernel, bias):
    """`W` and `B` of ONNX' LSTM: its gates are i, o, f, c, Keras' i, f, c, o; the second half of the bias is unused."""
    order = (0, 3, 1, 2)
    w = np.concatenate([np.split(kernel.T, 4)[gate] for gate in order])[None]
    b = np.concatenate([*(np.split(bias, 4)[gate] for gate in order), np.zeros_like(bias)])[None]
    return {"W": w, "B": b}


def test_gates_in_another_order_are_found_and_a_changed_one_is_told():
    kernel, bias = weight("lstm/kernel", 3, 16), weight("lstm/bias", 16)
    good = match("onnx", source(kernel, bias), onnx_lstm(kernel.array, bias.array))
    assert (good.exact, good.unmatched, good.differences) == (2, {}, ())
    (found,) = match("onnx", source(kernel, bias), onnx_lstm(moved(kernel.array), bias.array)).differences
    assert (found.weight, found.tensor, found.ulps) == ("lstm/kernel", "W", 1)
    (found,) = match("onnx", source(kernel, bias), onnx_lstm(kernel.array, moved(bias.array))).differences
    assert (found.weight, found.tensor, found.ulps) == ("lstm/bias", "B", 1)


def folded(kernel, bias, norm):
    """What a converter makes of a convolution and the normalization behind it, in float32."""
    inverse = norm.inverse.astype("float32")
    shift = (norm.beta - norm.centre).astype("float32")
    return {"kernel": kernel.array * inverse, "bias": bias.array * inverse + shift}


@pytest.mark.parametrize("more", [(), (weight("place/places", 1, 6, 4),)], ids=["a bias", "a bias and another table"])
def test_a_table_that_others_were_added_to_is_no_fault_and_a_changed_element_of_it_is_told(more):
    positions, bias = weight("position/embeddings", 6, 4), weight("patch/bias", array=RANDOM.normal(0, 0.1, 4))
    total = sum((each.array for each in more), (positions.array + bias.array)[None])
    own = source(positions, bias, *more)
    found = match("onnx", own, {"added": total})
    assert (found.folded, found.unmatched, found.differences) == (2 + len(more), {}, ())
    assert not match("onnx", own, {"added": moved(total, 50)}).folded
    assert not match("saved_model", own, {"added": total}).folded


def test_a_folded_normalization_is_computed_again():
    own, norm = normalized()
    bias = weight("conv/bias", 8)
    stored = folded(KERNEL, bias, norm)
    found = match("tflite", source(KERNEL, bias, *own, normalizations=(norm,)), stored)
    assert (found.folded, found.exact, found.unmatched, found.differences) == (6, 0, {}, ())
    assert 0 < found.ulps < 4


def test_one_weight_of_a_folded_kernel_by_a_ten_thousandth_is_told():
    own, norm = normalized()
    bias = weight("conv/bias", 8)
    stored = folded(KERNEL, bias, norm)
    stored["kernel"].reshape(-1)[5] *= 1 + 1e-4
    (found,) = match("tfjs", source(KERNEL, bias, *own, normalizations=(norm,)), stored).differences
    assert (found.weight, found.layer, found.elements) == ("conv/kernel", "conv", 1)


@pytest.mark.parametrize("statistic", [2, 3], ids=["mean", "variance"])
def test_one_statistic_that_changed_is_told_with_the_layer(statistic):
    own, norm = normalized()
    bias = weight("conv/bias", 8)
    changed = np.array(own[statistic].array, "float64")
    changed[2] *= 1.01
    gamma, beta, mean, variance = (
        changed if index == statistic else each.array.astype("float64") for index, each in enumerate(own)
    )
    inverse = gamma / np.sqrt(variance + EPSILON)
    other = Normalization(layer="norm", inverse=inverse, centre=mean * inverse, beta=beta)
    found = match("tflite", source(KERNEL, bias, *own, normalizations=(norm,)), folded(KERNEL, bias, other))
    assert {each.layer for each in found.differences} == {"norm"}
    assert {each.elements for each in found.differences} == {1}


def test_a_kernel_that_took_up_a_factor_of_the_input_is_no_fault():
    found = match("tfjs", source(KERNEL), {"constant": KERNEL.array * np.float32(1 / 255)})
    assert (found.folded, found.differences) == (1, ())


CHANNELS = np.linspace(0.5, 1.5, 8).astype("float32")


@pytest.mark.parametrize("format_", ["saved_model", "tflite", "tfjs", "onnx"])
@pytest.mark.parametrize("axis", [2, 3], ids=["of the input", "of the output"])
def test_factors_of_channels_that_nothing_in_the_original_explains_are_told(format_, axis):
    factors = CHANNELS[: KERNEL.array.shape[axis]].reshape([-1 if axis == each else 1 for each in range(4)])
    found = match(format_, source(KERNEL), {"constant": KERNEL.array * factors})
    assert [(each.kind, each.weight) for each in found.differences] == [("changed", "conv/kernel")]
    assert found.folded == 0


def multiplying(what):
    """A kernel's factors with what the original holds that explains them."""
    own, norm = normalized()
    vector = weight("scale/gamma", array=RANDOM.uniform(0.5, 1.5, 8))
    wide = vector.array.astype("float64")
    return {
        "a weight": (source(KERNEL, vector), wide),
        "what a weight divides by": (source(KERNEL, vector), 1 / wide),
        "a scaling layer": (source(KERNEL, scales=(wide,)), wide),
        "a normalization and a number": (source(KERNEL, *own, normalizations=(norm,)), 4 * norm.inverse),
        "a normalization and a weight": (source(KERNEL, vector, *own, normalizations=(norm,)), norm.inverse * wide),
        "the same number for all": (source(KERNEL), np.full(8, 0.25)),
        "the weight's own length": (source(KERNEL), 1 / np.linalg.norm(KERNEL.array.reshape(-1, 8), axis=0)),
    }[what]


@pytest.mark.parametrize(
    "what",
    [
        *("a weight", "what a weight divides by", "a scaling layer", "a normalization and a number"),
        *("a normalization and a weight", "the same number for all", "the weight's own length"),
    ],
)
def test_factors_of_channels_that_the_original_multiplies_with_are_folding(what):
    original, factors = multiplying(what)
    found = match("tflite", original, {"constant": (KERNEL.array * factors).astype("float32")})
    assert found.differences == ()
    assert found.folded >= 1


def test_another_epsilon_of_a_normalization_is_told_with_its_layer():
    own, norm = normalized()
    bias = weight("conv/bias", 8)
    gamma, beta, mean, variance = (each.array.astype("float64") for each in own)
    inverse = gamma / np.sqrt(variance + EPSILON / 100)
    other = Normalization(layer="norm", inverse=inverse, centre=mean * inverse, beta=beta)
    found = match("tflite", source(KERNEL, bias, *own, normalizations=(norm,)), folded(KERNEL, bias, other))
    assert {each.weight for each in found.differences} == {"norm/gamma|moving_variance"}


def test_a_channel_of_zeros_says_nothing_of_its_factor():
    own, norm = normalized()
    pruned = np.array(KERNEL.array)
    pruned[..., 3] = 0
    kernel, bias = weight("conv/kernel", array=pruned), weight("conv/bias", 8)
    stored = folded(kernel, bias, norm)
    original = source(kernel, bias, *own, normalizations=(norm,))
    assert match("tflite", original, stored).differences == ()
    stored["kernel"][0, 0, 0, 3] = 0.1
    (found,) = match("tflite", original, stored).differences
    assert (found.layer, found.elements) == ("conv", 1)


def test_two_kernels_that_changed_places_are_told():
    first, second, third = (weight(f"{name}/kernel", 4, 4) for name in ("dense", "dense_1", "other"))
    good = {f"{each.layer}_1/MatMul": each.array for each in (first, second, third)}
    assert match("tfjs", source(first, second, third), good).differences == ()
    swapped = good | {"dense_1/MatMul": second.array, "dense_1_1/MatMul": first.array}
    found = match("tfjs", source(first, second, third), swapped).differences
    assert {(each.kind, each.weight, each.into) for each in found} == {
        ("swapped", "dense/kernel", "dense_1/kernel"),
        ("swapped", "dense_1/kernel", "dense/kernel"),
    }


def test_a_bias_of_zeros_that_the_converter_dropped_is_no_fault():
    bias = weight("dense/bias", array=np.zeros(5))
    found = match("onnx", source(DENSE, bias), {"constant": DENSE.array})
    assert (found.exact, list(found.unmatched), found.differences) == (1, ["dense/bias"], ())


def test_a_constant_that_resembles_no_weight_is_counted_and_no_fault():
    found = match(
        "onnx", source(DENSE), {"constant": DENSE.array, "mask": RANDOM.normal(size=(6, 5)).astype("float32")}
    )
    assert (found.exact, found.computed, found.differences) == (1, 1, ())


@each_layout
def test_the_weights_of_another_training_are_told(case):
    format_, kernel, stored = case
    other = RANDOM.normal(size=stored.shape).astype("float32")
    (found,) = match(format_, source(kernel), {"constant": other}).differences
    assert (found.kind, found.weight, found.tensor) == ("changed", kernel.name, "constant")


@pytest.mark.parametrize(
    ("original", "stored"),
    [
        (replace(DENSE, as_is=False), np.sign(DENSE.array)),
        (DENSE, np.full_like(DENSE.array, 0.25)),
        (DENSE, np.abs(DENSE.array).astype("int32")),
        (weight("dense/bias", 30), RANDOM.normal(size=30).astype("float32")),
    ],
    ids=["made of the kernel of a layer of the user's own", "a constant", "whole numbers", "a vector"],
)
def test_what_stands_in_no_kernels_place_is_no_fault(original, stored):
    found = match("tflite", source(original), {"constant": stored})
    assert (found.differences, list(found.unmatched)) == ((), [original.name])


def test_a_type_that_holds_more_digits_holds_the_weight():
    half = SourceWeight(name="dense/kernel", layer="dense", array=DENSE.array.astype("float16"))
    assert match("tflite", source(half), {"constant": half.array.astype("float32")}).exact == 1
