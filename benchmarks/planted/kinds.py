"""The faults: what is done to which model, one row each.

A fault changes how the model is built, or its weights, or the artifact's bytes, or what the runtime answers. The
evidence is the good model's every time.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.planted import answers
from benchmarks.planted.answers import Answer
from benchmarks.planted.models import MODELS
from benchmarks.planted.stored import Change, by_ulps, through
from validators.contract import Device

Edit = Callable[[Any], None]

_STORED, _COMPUTED, _NAMED = "stored weights", "layers and operators", "names, order and whole numbers"
_ANSWERED, _ON_GPU = "the runtime", "the GPU alone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One kind of fault.

    Attributes:
        name: in a few words.
        family: what it is a fault of, a key of the summary.
        model: a key of `benchmarks.planted.models.MODELS`.
        format: of the artifact that it is planted into.
        changes: arguments of the model's builder.
        edit: changes the weights of the Keras model that is exported in the good one's place.
        stored: (part of a weight's name, change of the constant in the artifact that holds it).
        answer: what stands between the runtime and who asks it.
        device: where the runtime says it ran.
    """

    name: str
    family: str
    model: str
    format: str = "onnx"
    changes: Mapping[str, Any] = field(default_factory=dict)
    edit: Edit | None = None
    stored: tuple[str, Change] | None = None
    answer: Answer | None = None
    device: Device = "cpu"


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
    moved: np.ndarray = array + 0.02 * np.random.default_rng(5).normal(size=array.shape) * np.abs(array).mean()
    return moved.astype(array.dtype)


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
    """Lists faults of stored values."""
    for ulps, format_ in ((1, "onnx"), (10, "tflite"), (100, "tfjs")):
        change = ("logits/kernel", by_ulps(ulps))
        yield Fault(name=f"one weight by {ulps} ULP", family=_STORED, model="pixels", format=format_, stored=change)
    rows: tuple[tuple[str, str, str, Edit], ...] = (
        ("one weight by 0.0001 relative", "tokens", "onnx", on("up", 0, times(1 + 1e-4))),
        ("one weight by 0.001 relative", "tokens", "saved_model", on("up", 0, times(1 + 1e-3))),
        ("one weight of a folded kernel by 1 %", "pixels", "tflite", on("stem", 0, times(1.01))),
        ("a bias by a thousandth", "series", "tfjs", on("head", 1, lambda a: a + np.float32(1e-3))),
        ("a variance of a normalization by 2 %", "pixels", "tfjs", on("stem_norm", 3, times(1.02))),
        ("a mean of a normalization", "both_ways", "onnx", on("norm", 2, times(1.05))),
        ("two output channels swapped", "upscaler", "tflite", on("encode", 0, _swapped_channels)),
        ("a kernel's height and width swapped", "pixels", "onnx", on("stem", 0, lambda a: a.transpose(1, 0, 2, 3))),
        ("a dense kernel transposed", "tokens", "tfjs", on("query", 0, lambda a: a.T)),
        ("stale weights", "recurrent", "tflite", everywhere(_stale)),
        ("float16 weights sold as float32", "pixels", "onnx", everywhere(through("float16"))),
        ("float16 weights of a recurrent model", "recurrent", "saved_model", everywhere(through("float16"))),
        ("weights rounded to eight bits", "upscaler", "tfjs", everywhere(_eight_bits)),
        ("two layers of one shape swapped", "tokens", "onnx", trade("query", "key")),
        ("one word's embedding", "tokens", "onnx", on("words", 0, _row(57))),
        ("two gates of an LSTM swapped", "recurrent", "onnx", on("lstm", 0, _gates)),
        ("a forget gate's bias", "recurrent", "tflite", on("lstm", 2, times(1.1))),
        ("a small rate by a twentieth", "rates", "onnx", on("odds", 1, lambda a: a + np.float32(0.05))),
        ("float16 weights behind a large price", "rates", "tfjs", on("worth", 0, through("float16"))),
    )
    for name, model, format_, edit in rows:
        yield Fault(name=name, family=_STORED, model=model, format=format_, edit=edit)


def _built() -> Iterator[Fault]:
    """Lists faults of the computation; in the formats that take the model, one after the other."""
    rows: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("padding valid for same", "pixels", {"padding": "valid"}),
        ("stride in another phase", "pixels", {"phase": ((1, 0), (1, 0))}),
        ("ReLU for ReLU6", "pixels", {"activation": "relu"}),
        ("ReLU6 for ReLU", "pixels", {"inner": "relu6"}),
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
        ("a bound left out", "tabular", {"bound": 1e6}),
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
        ("a softmax that overflows", "heads", {"stable": False}),
    )
    yield from _in_turn(_COMPUTED, rows)


def _whole() -> Iterator[Fault]:
    """Lists faults of names, counts and tables."""
    rows: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("inputs in another order", "tabular", {"swapped": True}),
        ("outputs in another order", "heads", {"exchanged": True}),
        ("truncation for rounding to whole numbers", "tabular", {"decimals": 0.0}),
        ("a cast towards zero for one downwards", "tabular", {"downwards": False}),
        ("ids cast to eight bits", "tokens", {"bits": "uint8"}),
        ("the last of equals for the first", "heads", {"last_of_equals": True}),
        ("a truncated vocabulary", "words", {"known": 20}),
    )
    yield from _in_turn(_NAMED, rows)


def _in_turn(family: str, rows: Iterable[tuple[str, str, dict[str, Any]]]) -> Iterator[Fault]:
    for index, (name, model, changes) in enumerate(rows):
        formats = MODELS[model].formats
        yield Fault(name=name, family=family, model=model, format=formats[index % len(formats)], changes=changes)


def _answered() -> Iterator[Fault]:
    """Lists faults of a runtime over a right artifact."""
    rows: tuple[tuple[str, str, str, Answer], ...] = (
        ("another answer every time", "series", "onnx", answers.unsteady),
        ("NaN for one rare input", "series", "tfjs", answers.nan_where_rare),
        ("wrong in batches of seven", "both_ways", "tflite", answers.wrong_at_seven),
        ("the batch's mean taken away", "recurrent", "onnx", answers.mixes_rows),
        ("rows of a batch in another order", "recurrent", "tflite", answers.turns_rows),
        ("wrong beyond twenty steps", "tokens", "saved_model", answers.wrong_when_long),
        ("the answer to the call before", "series", "saved_model", answers.Late()),
        ("values that end at two", "heads", "onnx", answers.saturates),
        ("the last pixel is zero", "upscaler", "tfjs", answers.last_zero),
    )
    for name, model, format_, answer in rows:
        yield Fault(name=name, family=_ANSWERED, model=model, format=format_, answer=answer)
    for name, model in (("half precision on a GPU", "pixels"), ("half precision on a GPU, recurrent", "recurrent")):
        yield Fault(name=name, family=_ON_GPU, model=model, answer=answers.in_halves, device="gpu")


FAULTS: tuple[Fault, ...] = (*_weights(), *_built(), *_whole(), *_answered())
