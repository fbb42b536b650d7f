"""Every kind of fault that `benchmarks/faults.py` plants, in a network of NumPy: seen by numbers, or by the weights."""

import numpy as np
import pytest
from tiny_model import CHANNELS, STEPS, parameters, reordered, tiny

from benchmarks.planted import answers
from benchmarks.planted.stored import by_ulps, through
from exporters.weights.match import match
from exporters.weights.source import Source, SourceWeight
from validators.compare import compare
from validators.contract import Noise
from validators.tolerance import tolerances

GOOD = parameters()
CHANGES = {
    "padding": {"padding": "shifted"},
    "causal padding": {"padding": "causal"},
    "stride in another phase": {"phase": 1},
    "dilation": {"dilation": 2},
    "ReLU for ReLU6": {"first": "relu"},
    "a leaky slope": {"first": "leaky"},
    "ELU": {"first": "elu"},
    "epsilon of a batch normalization": {"epsilon": 1e-5},
    "epsilon of a layer normalization": {"layer_epsilon": 1e-5},
    "a residual connection dropped": {"residual": False},
    "rescaling": {"scale": 1 / 2.008},
    "channels in another order": {"flip": True},
    "average for maximum pooling": {"pool": "average"},
    "softmax over the batch": {"final_axis": 0},
    "softmax over the wrong axis": {"axis": 1},
    "attention without the root": {"root": False},
    "a mask ignored": {"masked": False},
    "GELU by tanh": {"second": "gelu by tanh"},
    "swish for GELU": {"second": "swish"},
    "hard swish": {"second": "hard swish"},
    "hard sigmoid": {"gate": "hard sigmoid"},
    "backwards": {"backwards": True},
    "the last but one step": {"last": False},
    "truncation for rounding": {"decimals": 0.0},
    "inputs in another order": {"exchanged": True},
    "another bound": {"bound": 1.0},
}


def relative(factor):
    def change(array):
        flat = array.reshape(-1)
        flat[np.abs(flat).argmax()] *= np.float32(factor)
        return array

    return change


WEIGHTS = {
    "one weight by a thousandth": ("head", relative(1 + 1e-3)),
    "one weight by a ten thousandth": ("head", relative(1 + 1e-4)),
    "a bias by a thousandth": ("head_bias", lambda a: a + np.float32(1e-3) * np.eye(4)[0]),
    "a variance": ("variance", relative(1.02)),
    "a mean": ("mean", relative(1.05)),
    "two channels swapped": ("filter", lambda a: a[..., [1, 0, 2, 3, 4, 5]]),
    "a kernel the other way round": ("filter", lambda a: a[::-1]),
    "a kernel transposed": ("dense", lambda a: a.T),
    "stale": ("dense", lambda a: a * np.linspace(0.98, 1.02, a.size).reshape(a.shape)),
    "float16": ("dense", through("float16")),
    "eight bits": ("dense", lambda a: np.round(a * 50) / np.float32(50)),
}
SILENT = {f"{ulps} ULP": ("dense", by_ulps(ulps)) for ulps in (1, 10, 100)}
ANSWERS = {
    "unsteady": answers.unsteady,
    "rows in another order": answers.turns_rows,
    "the batch's mean": answers.mixes_rows,
    "wrong in batches of seven": answers.wrong_at_seven,
    "the last element is zero": answers.last_zero,
    "half precision": answers.in_halves,
    "the answer to the call before": answers.Late(),
}


def samples(rows, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.uniform(-4, 4, (rows, STEPS, CHANNELS)).astype("float32") for name in ("left", "right")}


SETS = {f"batch{rows}": samples(rows, seed=rows) for rows in (1, 2, 7)} | {"batch7 again": samples(7, seed=8)}


@pytest.fixture(scope="module")
def noise():
    """The network's own rounding over many rows."""
    many = samples(256, seed=9)
    narrow, wide = tiny(many, GOOD)["odds"], tiny(many, GOOD, "float64")["odds"]
    return {"odds": Noise(floor=float(np.abs(narrow - wide).max()), scale=float(np.abs(wide).max()), rows=256)}


@pytest.fixture
def caught(noise):
    """The problems that a copy of the network shows over the sets."""

    def run(copy, answer=answers.untouched):
        found = []
        for name, inputs in SETS.items():
            expected, got = tiny(inputs, GOOD), answer(inputs, copy(inputs))
            allowed = tolerances(expected, noise=noise, device="cpu")
            exact = {"level": tiny(inputs, GOOD, "float64")["level"]}
            found += [
                diff.problem
                for diff in compare(expected, got, sample_set=name, tolerances=allowed, noise=noise, exact=exact)
                if not diff.passed
            ]
        return found

    return run


def changed(weight, change):
    return GOOD | {weight: change(np.array(GOOD[weight])).astype("float32")}


def held_against_the_source(weights):
    source = Source(
        weights=tuple(SourceWeight(name=f"{n}/kernel", layer=n, array=a) for n, a in GOOD.items()), normalizations=()
    )
    return match("saved_model", source, {f"{name}/kernel": array for name, array in weights.items()}).differences


def test_the_network_itself_and_another_order_of_its_sums_raise_no_alarm(caught):
    assert caught(lambda inputs: tiny(inputs, GOOD)) == []
    assert caught(lambda inputs: reordered(inputs, GOOD)) == []
    assert held_against_the_source(GOOD) == ()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_what_is_computed_otherwise_is_caught(caught, change):
    assert caught(lambda inputs: tiny(inputs, GOOD, **change))


@pytest.mark.parametrize("fault", WEIGHTS.values(), ids=WEIGHTS.keys())
def test_another_weight_is_caught_by_the_numbers(caught, fault):
    weights = changed(*fault)
    assert caught(lambda inputs: tiny(inputs, weights))


@pytest.mark.parametrize("fault", SILENT.values(), ids=SILENT.keys())
def test_what_no_number_shows_is_told_by_the_weights(fault):
    (found,) = held_against_the_source(changed(*fault))
    assert found.layer == "dense"


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_what_a_runtime_makes_of_a_sound_artifact_is_caught(caught, answer):
    assert caught(lambda inputs: tiny(inputs, GOOD), answer)


def test_nan_in_one_row_is_caught_as_such(caught):
    def nan(inputs):
        found = tiny(inputs, GOOD)
        found["odds"][-1] = np.nan
        return found

    assert set(caught(nan)) == {"nonfinite mismatch"}


@pytest.mark.parametrize("missing", ["odds", "level"])
def test_a_lost_output_is_caught(caught, missing):
    lost = {"missing output"}
    assert set(caught(lambda inputs: {n: a for n, a in tiny(inputs, GOOD).items() if n != missing})) == lost


def test_another_type_is_caught(caught):
    wide = caught(lambda inputs: {name: a.astype("float64") for name, a in tiny(inputs, GOOD).items()})
    assert set(wide) == {"dtype mismatch"}
