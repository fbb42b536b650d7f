"""Every fault that `benchmarks/faults.py` plants, in networks of NumPy: seen by numbers, or by the weights."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import tiny_model
import tiny_words
from tiny_model import CHANNELS, STEPS, reordered, tiny
from tiny_words import WORDS, worded

from benchmarks.planted import answers
from benchmarks.planted.kinds import FAULTS
from benchmarks.planted.stored import by_ulps, through
from exporters.weights.match import match
from exporters.weights.source_weights import SourceWeight, SourceWeights
from exporters.weights.weight_layout import WeightLayout
from validators.compare.outputs import compare
from validators.compare.tolerance import tolerances
from validators.contract import Noise


@dataclass(frozen=True, kw_only=True)
class Small:
    """A fault: arguments of the network, or weights with what they become, or what a runtime answers."""

    network: Callable[..., Any] = tiny
    changes: Mapping[str, Any] = field(default_factory=dict)
    weights: Mapping[str, Any] = field(default_factory=dict)
    answer: Any = answers.untouched
    device: str = "cpu"


def computed(**changes):
    return Small(changes=changes)


def in_words(**changes):
    return Small(network=worded, changes=changes)


def stored(network=tiny, **weights):
    return Small(network=network, weights=weights)


def relative(factor):
    def change(array):
        flat = array.reshape(-1)
        flat[np.abs(flat).argmax()] *= np.float32(factor)
        return array

    return change


def one_word(array):
    array[WORD] += 0.5
    return array


def gates(array):
    i, f, c, o = np.split(array, 4, axis=-1)
    return np.concatenate([f, i, c, o], axis=-1)


GOOD = {tiny: tiny_model.parameters(), worded: tiny_words.parameters()}
WORD = 57  # one that occurs in every set
HALVES = dict.fromkeys(("kernel", "recurrent"), through("float16"))
SMALL = {
    "one weight by 1 ULP": stored(dense=by_ulps(1)),
    "one weight by 10 ULP": stored(dense=by_ulps(10)),
    "one weight by 100 ULP": stored(dense=by_ulps(100)),
    "one weight by 0.0001 relative": stored(head=relative(1 + 1e-4)),
    "one weight by 0.001 relative": stored(head=relative(1 + 1e-3)),
    "one weight of a folded kernel by 1 %": stored(filter=relative(1.01)),
    "a bias by a thousandth": stored(head_bias=lambda a: a + np.float32(1e-3) * np.eye(4)[0]),
    "a variance of a normalization by 2 %": stored(variance=relative(1.02)),
    "a mean of a normalization": stored(mean=relative(1.05)),
    "two output channels swapped": stored(filter=lambda a: a[..., [1, 0, 2, 3, 4, 5]]),
    "a kernel's height and width swapped": stored(filter=lambda a: a[::-1]),
    "a dense kernel transposed": stored(dense=lambda a: a.T),
    "stale weights": stored(dense=lambda a: a * np.linspace(0.98, 1.02, a.size).reshape(a.shape)),
    "float16 weights sold as float32": stored(dense=through("float16")),
    "float16 weights of a recurrent model": stored(worded, **HALVES),
    "weights rounded to eight bits": stored(dense=lambda a: np.round(a * 50) / np.float32(50)),
    "two layers of one shape swapped": stored(query=lambda _: GOOD[tiny]["key"], key=lambda _: GOOD[tiny]["query"]),
    "one word's embedding": stored(worded, words=one_word),
    "two gates of an LSTM swapped": stored(worded, kernel=gates),
    "a forget gate's bias": stored(worded, bias=relative(1.1)),
    "a small rate by a twentieth": stored(worded, rate_bias=lambda a: a + np.float32(0.05)),
    "float16 weights behind a large price": stored(worded, price=through("float16")),
    "padding valid for same": computed(padding="shifted"),
    "stride in another phase": computed(phase=1),
    "ReLU for ReLU6": computed(first="relu"),
    "ReLU6 for ReLU": computed(bend="relu6"),
    "epsilon of a batch normalization": computed(epsilon=1e-5),
    "a residual connection dropped": computed(residual=False),
    "rescaling by 1/256": computed(scale=1 / 2.008),
    "BGR for RGB": computed(flip=True),
    "average for maximum pooling": computed(pool="average"),
    "softmax over the batch": computed(final_axis=0),
    "nearest for bilinear resizing": in_words(resize="nearest"),
    "bicubic for bilinear resizing": in_words(resize="bicubic"),
    "an image shifted by one pixel": in_words(shift=1),
    "slope of a leaky ReLU": computed(first="leaky"),
    "hard sigmoid for sigmoid": computed(gate="hard sigmoid"),
    "padding of a transposed convolution": in_words(transposed="valid"),
    "GELU by tanh": computed(second="gelu by tanh"),
    "GELU by tanh in a transformer": computed(second="gelu by tanh"),
    "epsilon of a layer normalization": computed(layer_epsilon=1e-5),
    "a bound left out": computed(bound=1e6),
    "attention without the root": computed(root=False),
    "softmax over the wrong axis": computed(axis=1),
    "places counted from one": in_words(offset=1),
    "a mask ignored": computed(masked=False),
    "hard sigmoid in an LSTM": in_words(gate="hard sigmoid"),
    "an LSTM backwards": computed(backwards=True),
    "the last but one step": computed(last=False),
    "both directions exchanged": in_words(order=(1, 0)),
    "ReLU for ELU": computed(first="elu"),
    "hard swish for swish": computed(second="hard swish"),
    "dilation of one for two": computed(dilation=2),
    "same for causal padding": computed(padding="causal"),
    "four groups for two": in_words(groups=4),
    "epsilon of a group normalization": in_words(epsilon=1e-5),
    "a softmax that overflows": in_words(stable=False),
    "inputs in another order": computed(exchanged=True),
    "outputs in another order": in_words(exchanged=True),
    "truncation for rounding to whole numbers": computed(decimals=0.0),
    "a cast towards zero for one downwards": computed(downwards=False),
    "ids cast to eight bits": in_words(bits="uint8"),
    "the last of equals for the first": in_words(last_of_equals=True),
    "a truncated vocabulary": in_words(known=WORDS - 40),
    "another answer every time": Small(answer=answers.unsteady),
    "NaN for one rare input": Small(answer=answers.nan_where_rare),
    "wrong in batches of seven": Small(answer=answers.wrong_at_seven),
    "the batch's mean taken away": Small(answer=answers.mixes_rows),
    "rows of a batch in another order": Small(answer=answers.turns_rows),
    "wrong beyond twenty steps": Small(network=worded, answer=answers.wrong_when_long),
    "the answer to the call before": Small(answer=answers.Late()),
    "values that end at two": Small(network=worded, answer=answers.saturates),
    "the last pixel is zero": Small(answer=answers.last_zero),
    "half precision on a GPU": Small(answer=answers.in_halves, device="gpu"),
    "half precision on a GPU, recurrent": Small(network=worded, answer=answers.in_halves, device="gpu"),
}
SILENT = [name for name in SMALL if name.endswith("ULP")]


def samples(network, rows, seed=0):
    rng = np.random.default_rng(seed)
    if network is worded:
        ids = rng.integers(0, WORDS, (rows, 8 if seed % 2 else 24))
        ids[-1, -1] = WORD
        return {"ids": ids}
    return {name: rng.uniform(-4, 4, (rows, STEPS, CHANNELS)).astype("float32") for name in ("left", "right")}


@pytest.fixture(scope="module")
def noise():
    """Each network's own rounding over many rows."""

    def of(network):
        many = [samples(network, 256, seed=seed) for seed in (9, 10)]
        pairs = [(network(each, GOOD[network]), network(each, GOOD[network], "float64")) for each in many]
        real = [name for name, array in pairs[0][0].items() if array.dtype.kind == "f"]
        return {
            name: Noise(
                floor=max(float(np.abs(narrow[name] - wide[name]).max()) for narrow, wide in pairs),
                scale=max(float(np.abs(wide[name]).max()) for _, wide in pairs),
                rows=512,
            )
            for name in real
        }

    return {network: of(network) for network in GOOD}


@pytest.fixture
def caught(noise):
    """The problems that a copy of a network shows over sets of rows."""

    def run(copy, network=tiny, answer=answers.untouched, device="cpu"):
        found = []
        for rows, seed in ((1, 1), (2, 2), (7, 7), (7, 8)):
            inputs = samples(network, rows, seed)
            expected, got = network(inputs, GOOD[network]), answer(inputs, copy(inputs))
            allowed = tolerances(expected, noise=noise[network], device=device)
            wide = network(inputs, GOOD[network], "float64")
            exact = {name: array for name, array in wide.items() if array.dtype.kind == "i"}
            found += compare(expected, got, sample_set=f"{seed}", tolerances=allowed, noise=noise[network], exact=exact)
        return [diff.problem for diff in found if not diff.passed]

    return run


def changed(fault):
    good = GOOD[fault.network]
    return good | {name: change(np.array(good[name])).astype("float32") for name, change in fault.weights.items()}


def held_against_the_source(good, weights):
    source = SourceWeights(
        weights=tuple(SourceWeight(name=f"{n}/kernel", layer=n, array=a) for n, a in good.items()), normalizations=()
    )
    return match(
        WeightLayout(kernels="source", computes=False),
        source,
        {f"{name}/kernel": array for name, array in weights.items()},
    ).differences


def test_every_fault_of_the_benchmark_is_here():
    assert set(SMALL) == {fault.name for fault in FAULTS}


@pytest.mark.parametrize("network", GOOD, ids=lambda network: network.__name__)
def test_a_network_itself_raises_no_alarm(caught, network):
    assert caught(lambda inputs: network(inputs, GOOD[network]), network) == []
    assert held_against_the_source(GOOD[network], GOOD[network]) == ()


def test_another_order_of_its_sums_raises_no_alarm(caught):
    assert caught(lambda inputs: reordered(inputs, GOOD[tiny])) == []


@pytest.mark.parametrize("name", [name for name in SMALL if name not in SILENT])
def test_a_fault_is_caught_by_the_numbers(caught, name):
    fault = SMALL[name]
    weights = changed(fault)
    assert caught(
        lambda inputs: fault.network(inputs, weights, **fault.changes), fault.network, fault.answer, fault.device
    )


@pytest.mark.parametrize("name", SILENT)
def test_what_no_number_shows_is_told_by_the_weights(name):
    (found,) = held_against_the_source(GOOD[tiny], changed(SMALL[name]))
    assert found.layer == "dense"


def test_nan_in_one_row_is_caught_as_such(caught):
    def nan(inputs):
        found = tiny(inputs, GOOD[tiny])
        found["odds"][-1] = np.nan
        return found

    assert set(caught(nan)) == {"nonfinite mismatch"}


@pytest.mark.parametrize("missing", ["odds", "level"])
def test_a_lost_output_is_caught(caught, missing):
    lost = {"missing output"}
    assert set(caught(lambda inputs: {n: a for n, a in tiny(inputs, GOOD[tiny]).items() if n != missing})) == lost


def test_another_type_is_caught(caught):
    wide = caught(lambda inputs: {name: a.astype("float64") for name, a in tiny(inputs, GOOD[tiny]).items()})
    assert set(wide) == {"dtype mismatch"}
