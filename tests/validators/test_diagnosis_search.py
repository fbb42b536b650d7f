"""The search for the layer that an artifact gets wrong, on models of a few numpy functions."""

import numpy as np
import pytest

from validators.diagnosis.contract import Call, Result
from validators.diagnosis.search import search
from validators.diagnosis.tensor_match import Tensors

RANDOM = np.random.default_rng(5)
ROWS, WIDTH = 40, 8
INPUT = RANDOM.normal(size=(ROWS, WIDTH)).astype("float32")
KERNELS = [RANDOM.normal(size=(WIDTH, WIDTH)).astype("float32") for _ in range(3)]


def dense(kernel, bias=0.0):
    return lambda x: x @ kernel + np.float32(bias)


def relu(x):
    return np.maximum(x, 0)


def relu6(x):
    return np.clip(x, 0, 1)


def norm(variance, epsilon=1e-3):
    return lambda x: x / np.sqrt(np.asarray(variance, "float32") + np.float32(epsilon))


VARIANCE = np.linspace(0.5, 2, WIDTH)
MODEL = {
    "first": ("Dense", dense(KERNELS[0]), ["input:x"]),
    "norm": ("BatchNormalization", norm(VARIANCE), ["first"]),
    "relu": ("ReLU", relu, ["norm"]),
    "second": ("Dense", dense(KERNELS[1]), ["relu"]),
    "add": ("Add", lambda a, b: a + b, ["relu", "second"]),
    "last": ("Dense", dense(KERNELS[2]), ["add"]),
}


def computed(layers, fused=(), faults=None):
    """What an artifact with these faults holds inside: a tensor for every layer that is not fused into the next one."""
    values = {"input:x": INPUT}
    for name, (_, function, inputs) in layers.items():
        values[name] = (faults or {}).get(name, function)(*(values[each] for each in inputs))
    inside = {f"t/{name}": value for name, value in values.items() if name not in fused}
    return inside, {"y": values[list(layers)[-1]]}


def original(layers):
    def run(visit):
        values, made = {"input:x": INPUT}, {"input:x": "input:x"}
        for number, (name, (kind, function, inputs)) in enumerate(layers.items()):
            call = Call(number=number, layer=name, kind=kind, inputs=tuple(made[each] for each in inputs), outputs=1)
            given = tuple(values[each] for each in inputs)
            (values[name],) = visit(call, given, (function(*given),))
            made[name] = call.value()
        last = list(layers)[-1]
        return Result(arrays={"y": values[last]}, values={"y": made[last]})

    return run


def found(fused=(), faults=None, layers=MODEL):
    return search(original(layers), *computed(layers, fused, faults))


def changed(kernel, by):
    other = kernel.copy()
    other[2, 3] += by
    return dense(other)


FAULTS = {
    "first": dense(KERNELS[0].T),
    "norm": norm(VARIANCE, epsilon=0.5),
    "relu": relu6,
    "second": changed(KERNELS[1], 0.5),
    "add": lambda a, b: a,
    "last": dense(KERNELS[2], bias=1.0),
}


def test_an_artifact_that_is_right_arouses_no_suspicion():
    assert (found().calls, found().misbound) == ((), {})


@pytest.mark.parametrize("layer", FAULTS)
def test_the_layer_at_fault_is_named_although_all_behind_it_carry_the_error_on(layer):
    suspicion = found(faults={layer: FAULTS[layer]})
    assert [call.layer for call in suspicion.calls] == [layer]
    assert suspicion.explains
    assert suspicion.tensor == f"t/{layer}"


@pytest.mark.parametrize("by", [1e-1, 1e-3, 1e-5])
def test_a_small_fault_is_found_as_a_large_one_is(by):
    suspicion = found(faults={"second": changed(KERNELS[1], by)})
    assert [call.layer for call in suspicion.calls] == ["second"]


@pytest.mark.parametrize("layer", ["first", "norm", "relu"])
def test_of_layers_fused_into_one_tensor_the_one_that_explains_it_comes_first(layer):
    suspicion = found(fused=["first", "norm"], faults={layer: FAULTS[layer]})
    assert suspicion.calls[0].layer == layer
    assert {call.layer for call in suspicion.calls} == {"first", "norm", "relu"}


def test_a_layer_whose_right_output_lies_between_two_operators_is_found_by_what_it_passes_on():
    inside, outputs = computed(MODEL, faults={"relu": relu6})
    inside = {"t/first": inside["t/first"], "t/norm": inside["t/norm"], "t/before": relu(inside["t/norm"]), **inside}
    suspicion = search(original(MODEL), inside, outputs)
    assert [call.layer for call in suspicion.calls] == ["relu"]
    assert suspicion.tensor == "t/relu"


def test_so_it_is_where_one_layer_alone_takes_it():
    layers = {
        **MODEL,
        "add": ("Dense", dense(KERNELS[2]), ["second"]),
        "second": ("Dense", MODEL["second"][1], ["relu"]),
    }
    inside, outputs = computed(layers, faults={"relu": relu6})
    inside = {"t/first": inside["t/first"], "t/norm": inside["t/norm"], "t/before": relu(inside["t/norm"]), **inside}
    assert [call.layer for call in search(original(layers), inside, outputs).calls] == ["relu"]


def test_a_layer_with_weights_comes_before_a_rescaling_that_was_folded_into_it():
    layers = {
        **MODEL,
        "first": ("Rescaling", lambda x: x / 2, ["input:x"]),
        "norm": ("Dense", dense(KERNELS[0]), ["first"]),
    }
    suspicion = found(fused=["first"], faults={"norm": dense(KERNELS[0].T)}, layers=layers)
    assert [call.layer for call in suspicion.calls] == ["norm", "first"]


def test_layers_without_a_tensor_of_their_own_are_acquitted_by_the_one_behind_them():
    suspicion = found(fused=["first", "norm"], faults={"second": FAULTS["second"]})
    assert [call.layer for call in suspicion.calls] == ["second"]


def test_what_the_suspect_takes_is_told_with_the_tensors_that_hold_it():
    feeds = found(faults={"second": FAULTS["second"]}).feeds
    assert {value: [match.tensor for match in held] for value, held in feeds.items()} == {"2.0": ["t/relu"]}


def test_two_faults_name_the_first_and_do_not_claim_to_explain_everything():
    suspicion = found(faults={"first": FAULTS["first"], "last": FAULTS["last"]})
    assert suspicion.calls[0].layer == "first"
    assert not suspicion.explains


def test_an_output_under_a_wrong_name_is_no_layers_fault():
    inside, _ = computed(MODEL)
    suspicion = search(original(MODEL), inside, {"y": inside["t/first"]})
    assert suspicion.misbound == {"y": ""}
    assert not suspicion.calls


def test_nan_in_one_row_is_found_where_it_comes_up():
    def poisoned(x):
        out = relu(x)
        out[1, 1] = np.nan
        return out

    assert [call.layer for call in found(faults={"relu": poisoned}).calls] == ["relu"]


def test_a_value_is_found_with_its_channels_first_and_comes_back_in_its_own_layout():
    value = RANDOM.normal(size=(2, 4, 5, 3)).astype("float32")
    inside = Tensors({"nchw": value.transpose(0, 3, 1, 2), "other": value + 1})
    (match, *_) = inside.nearest(value)
    assert (match.tensor, match.axes, match.distance) == ("nchw", (0, 3, 1, 2), 0.0)
    np.testing.assert_array_equal(inside.like(value, match), value)
