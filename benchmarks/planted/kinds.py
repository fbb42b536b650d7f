"""The faults: what is done to which model, one row each.

A fault changes how the model is built, or its weights, or the artifact's bytes, or what the runtime answers. The
evidence is the good model's every time.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.planted import answers
from benchmarks.planted.answers import Answer
from benchmarks.planted.models import MODELS
from benchmarks.planted.stored import Change, by_ulps, through

Edit = Callable[[Any], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: in a few words.
        model: a key of `benchmarks.planted.models.MODELS`.
        format: `onnx` or `tflite`; the artifact it is planted into.
        changes: arguments of the model's builder.
        edit: changes the weights of the Keras model that is exported in the good one's place.
        stored: (part of a weight's name, change of the constant in the artifact that holds it).
        answer: what stands between the runtime and who asks it.
        device: where the runtime says it ran.
    """

    name: str
    model: str
    format: str = "onnx"
    changes: Mapping[str, Any] = field(default_factory=dict)
    edit: Edit | None = None
    stored: tuple[str, Change] | None = None
    answer: Answer | None = None
    device: str = "cpu"


def on(layer: str, which: int, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Changes one of a layer's weights."""

    def edit(model: Any) -> None:
        variable = model.get_layer(layer).weights[which]
        variable.assign(change(np.array(variable)))

    return edit


def everywhere(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    """Changes all weights."""

    def edit(model: Any) -> None:
        model.set_weights([change(each) if each.dtype.kind == "f" else each for each in model.get_weights()])

    return edit


def trade(first: str, second: str) -> Edit:
    """Two layers of one shape change places."""

    def edit(model: Any) -> None:
        one, other = model.get_layer(first), model.get_layer(second)
        mine, theirs = one.get_weights(), other.get_weights()
        one.set_weights(theirs)
        other.set_weights(mine)

    return edit


def times(factor: float, at: int = 0) -> Callable[[np.ndarray], np.ndarray]:
    """The element of the largest magnitude, or the one after it by rank, times a factor."""

    def change(array: np.ndarray) -> np.ndarray:
        flat = array.reshape(-1)
        flat[np.argsort(-np.abs(flat))[at]] *= np.float32(factor)
        return array

    return change


def _stale(array: np.ndarray) -> np.ndarray:
    return (array + 0.02 * np.random.default_rng(5).normal(size=array.shape) * np.abs(array).mean()).astype(array.dtype)


def _eight_bits(array: np.ndarray) -> np.ndarray:
    step = np.abs(array).max() / 127 or 1.0
    return (np.round(array / step) * step).astype(array.dtype)


def _row(index: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] += 0.5
        return array

    return change


def _swapped_channels(array: np.ndarray) -> np.ndarray:
    array[..., [0, 1]] = array[..., [1, 0]]
    return array


def _gates(array: np.ndarray) -> np.ndarray:
    i, f, c, o = np.split(array, 4, axis=-1)
    return np.concatenate([f, i, c, o], axis=-1)


def _weights() -> Iterator[Fault]:
    """What is stored."""
    for ulps in (1, 10, 100):
        yield Fault(name=f"one weight by {ulps} ULP", model="pixels", stored=("logits/kernel", by_ulps(ulps)))
    for relative in (1e-4, 1e-3):
        yield Fault(
            name=f"one weight by {relative:g} relative",
            model="tokens",
            format="onnx",
            edit=on("up", 0, times(1 + relative)),
        )
    yield Fault(name="one weight of a folded kernel by 1 %", model="pixels", edit=on("stem", 0, times(1.01)))
    yield Fault(name="a bias by a thousandth", model="series", edit=on("head", 1, lambda a: a + np.float32(1e-3)))
    yield Fault(name="a variance of a normalization by 2 %", model="pixels", edit=on("stem_norm", 3, times(1.02)))
    yield Fault(name="a mean of a normalization", model="both_ways", edit=on("norm", 2, times(1.05)))
    yield Fault(
        name="two output channels swapped", model="upscaler", format="tflite", edit=on("encode", 0, _swapped_channels)
    )
    yield Fault(
        name="a kernel's height and width swapped",
        model="pixels",
        edit=on("stem", 0, lambda a: a.transpose(1, 0, 2, 3)),
    )
    yield Fault(name="a dense kernel transposed", model="tokens", edit=on("query", 0, lambda a: a.T))
    yield Fault(name="stale weights", model="recurrent", format="tflite", edit=everywhere(_stale))
    yield Fault(name="float16 weights sold as float32", model="pixels", edit=everywhere(through("float16")))
    yield Fault(name="float16 weights of a recurrent model", model="recurrent", edit=everywhere(through("float16")))
    yield Fault(name="weights rounded to eight bits", model="upscaler", format="tflite", edit=everywhere(_eight_bits))
    yield Fault(name="two layers of one shape swapped", model="tokens", edit=trade("query", "key"))
    yield Fault(name="one word's embedding", model="tokens", edit=on("words", 0, _row(57)))
    yield Fault(name="two gates of an LSTM swapped", model="recurrent", edit=on("lstm", 0, _gates))
    yield Fault(name="a forget gate's bias", model="recurrent", format="tflite", edit=on("lstm", 2, times(1.1)))


def _built() -> Iterator[Fault]:
    """What is computed."""
    rows: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("padding valid for same", "pixels", {"padding": "valid"}),
        ("stride in another phase", "pixels", {"phase": ((1, 0), (1, 0))}),
        ("ReLU for ReLU6", "pixels", {"activation": "relu"}),
        ("epsilon of a batch normalization", "pixels", {"epsilon": 1e-5}),
        ("a residual connection dropped", "pixels", {"residual": False}),
        ("rescaling by 1/256", "pixels", {"scale": 1 / 256}),
        ("BGR for RGB", "pixels", {"channels": (2, 1, 0)}),
        ("average for maximum pooling", "pixels", {"pooling": "average"}),
        ("softmax over the batch", "pixels", {"axis": 0}),
        ("nearest for bilinear resizing", "upscaler", {"interpolation": "nearest"}),
        ("bicubic for bilinear resizing", "upscaler", {"interpolation": "bicubic"}),
        ("an image shifted by one pixel", "upscaler", {"shift": 1}),
        ("slope of a leaky ReLU", "upscaler", {"slope": 0.2}),
        ("hard sigmoid for sigmoid", "upscaler", {"final": "hard_sigmoid"}),
        ("padding of a transposed convolution", "upscaler", {"transposed_padding": "valid"}),
        ("GELU by tanh", "tabular", {"approximate": True}),
        ("GELU by tanh in a transformer", "tokens", {"approximate": True}),
        ("epsilon of a layer normalization", "tabular", {"epsilon": 1e-5}),
        ("inputs in another order", "tabular", {"swapped": True}),
        ("a bound left out", "tabular", {"bound": 1e6}),
        ("truncation for rounding to whole numbers", "tabular", {"decimals": 0.0}),
        ("attention without the root", "tokens", {"root": False}),
        ("softmax over the wrong axis", "tokens", {"axis": 1}),
        ("places counted from one", "tokens", {"offset": 1}),
        ("a mask ignored", "tokens", {"masked": False}),
        ("hard sigmoid in an LSTM", "recurrent", {"gate": "hard_sigmoid"}),
        ("an LSTM backwards", "recurrent", {"backwards": True}),
        ("the last but one step", "recurrent", {"last": False}),
        ("both directions exchanged", "both_ways", {"order": (1, 0)}),
        ("ReLU for ELU", "both_ways", {"activation": "relu"}),
        ("hard swish for swish", "series", {"activation": "hard_swish"}),
        ("dilation of one for two", "series", {"dilation": 1}),
        ("same for causal padding", "series", {"padding": "same"}),
        ("four groups for two", "series", {"groups": 4}),
        ("epsilon of a group normalization", "series", {"epsilon": 1e-5}),
        ("outputs in another order", "heads", {"exchanged": True}),
        ("the last of equals for the first", "heads", {"last_of_equals": True}),
        ("a softmax that overflows", "heads", {"stable": False}),
        ("a truncated vocabulary", "words", {"known": 20}),
    )
    for index, (name, model, changes) in enumerate(rows):
        yield Fault(
            name=name, model=model, format=MODELS[model].formats[index % len(MODELS[model].formats)], changes=changes
        )


def _answered() -> Iterator[Fault]:
    """What a runtime makes of a sound artifact."""
    rows: tuple[tuple[str, str, Answer], ...] = (
        ("another answer every time", "series", answers.unsteady),
        ("NaN for one rare input", "series", answers.nan_where_rare),
        ("wrong in batches of seven", "both_ways", answers.wrong_at_seven),
        ("the batch's mean taken away", "recurrent", answers.mixes_rows),
        ("rows of a batch in another order", "recurrent", answers.turns_rows),
        ("wrong beyond twenty steps", "tokens", answers.wrong_when_long),
        ("the answer to the call before", "series", answers.Late()),
        ("values that end at two", "heads", answers.saturates),
        ("the last pixel is zero", "upscaler", answers.last_zero),
    )
    for name, model, answer in rows:
        yield Fault(name=name, model=model, answer=answer)
    for name, model in (("half precision on a GPU", "pixels"), ("half precision on a GPU, recurrent", "recurrent")):
        yield Fault(name=name, model=model, answer=answers.in_halves, device="gpu")


FAULTS: tuple[Fault, ...] = (*_weights(), *_built(), *_answered())
