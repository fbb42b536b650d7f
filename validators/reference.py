"""The job of the reference: the original model in Keras, fp32 on CPU, over every sample set.

In: an admitted model and, if given, the user's samples. Out: `evidence/` in the release directory: the
samples every cell will be fed, and what the original computes from them.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from exporters.contract import Signature, TensorSpec, UsedCode
from exporters.errors import BadInput
from exporters.keras_model import SourceModel, load
from exporters.lowering.precision import rounds_to
from exporters.preprocessing.words import entries_of, with_unknown
from validators.contract import Tensors
from validators.evidence import reference_folder, write_evidence
from validators.feeding import feed
from validators.manifest import SampleSet
from validators.samples import WORDS, UserSamples, check_samples, generate, plan, read_samples, sequences
from validators.tensorfiles import write_tensors

_STRETCHES = (1, 8, 64, 512)
"""What lengths of dynamic sequences are multiplied with until the original gives something finite: 16 to 8192 steps."""
_SAME = 1e-3
"""How far two answers to the same samples may lie apart, as a share of the largest one: threads sum in other orders."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What the original computed: for every sample set its inputs and outputs.

    Attributes:
        sets: in the order of `validators.samples.plan`.
        samples, outputs: by the name of the set.
        dropped: why the seeded sets are not among them, in a sentence; empty when they are.
    """

    sets: tuple[SampleSet, ...] = ()
    samples: Mapping[str, Tensors] = field(default_factory=dict)
    outputs: Mapping[str, Tensors] = field(default_factory=dict)
    dropped: str = ""


class Unsound(Exception):
    """The original cannot serve as a reference over some samples: it fails, or gives only NaN or infinity."""


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Computes the reference outputs.

    Args:
        request: `model` (path), `release` (directory to receive `evidence/`), `samples` (path or None), `batches`
            (sizes of the seeded sets), `custom_objects`, `trust_lambda`; if given, `architecture` and `input_shapes`.

    Returns:
        `signature` of the source model, `sets`, `dropped` (see `Answers`), and `code`: what of the user's own code the
        model was built with.

    Raises:
        BadInput: the samples do not fit the model, Keras cannot load it, or the original answers no samples.
    """
    model = load(
        Path(request["model"]),
        architecture=request.get("architecture", ""),
        custom_objects=request["custom_objects"],
        trust_lambda=request["trust_lambda"],
        input_shapes=request.get("input_shapes"),
    )
    release = Path(request["release"])
    given = request["samples"]
    user = check_samples(read_samples(Path(given)), model.signature.inputs) if given else None
    answers = sound(
        partial(_infer, model),
        model.signature.inputs,
        user=user,
        batches=request["batches"],
        known=entries_of(model),
    )
    write_evidence(
        release, signature=model.signature, sets=answers.sets, samples=answers.samples, rounds_to=rounds_to(model)
    )
    for name, tensors in answers.outputs.items():
        write_tensors(reference_folder(release, name), tensors)
    return {
        "signature": TypeAdapter(Signature).dump_python(model.signature, mode="json"),
        "sets": TypeAdapter(tuple[SampleSet, ...]).dump_python(answers.sets, mode="json"),
        "dropped": answers.dropped,
        "code": TypeAdapter(tuple[UsedCode, ...]).dump_python(model.code, mode="json"),
    }


def sound(
    infer: Callable[[Tensors], Tensors],
    inputs: Sequence[TensorSpec],
    *,
    user: UserSamples | None,
    batches: Sequence[int],
    known: Mapping[str, Sequence[str | int]] | None = None,
) -> Answers:
    """Sets, samples and outputs that can serve as evidence: every output has something finite in every set.

    A model that halves a dynamic axis six times has nothing left of sixteen steps, so longer ones are tried. A model
    may also answer no seeded sample at all (a range it checks, a grammar it expects): the user's own are enough then.

    Args:
        infer: one call of the original; raises `Unsound` where it fails.
        inputs: of the original.
        user: the user's samples; None when there are none.
        batches: sizes of the seeded sets.
        known: input -> entries that the original knows there; it may refuse all others.

    Raises:
        BadInput: the original answers neither the user's samples nor, without them, seeded ones of any length.
    """
    own = Answers()
    try:
        if user:
            own = _answers(infer, inputs, [s for s in plan(inputs, user=user) if s.origin == "user"], user)
        seeded = _seeded(infer, inputs, batches, known or {})
    except Unsound as error:
        if own.sets:
            return replace(own, dropped=f"only the given samples are used: over seeded ones the original {error}")
        next_step = "Bring samples of the model's own domain: --samples held_out.npz"
        raise BadInput(f"the original itself {error}", next_step=next_step) from error
    return Answers(
        sets=own.sets + seeded.sets,
        samples={**own.samples, **seeded.samples},
        outputs={**own.outputs, **seeded.outputs},
    )


def _seeded(
    infer: Callable[[Tensors], Tensors],
    inputs: Sequence[TensorSpec],
    batches: Sequence[int],
    known: Mapping[str, Sequence[str | int]],
) -> Answers:
    """The answers to the seeded sets, of the first entries and the first length at which there are any."""
    stretches = _STRETCHES if sequences(inputs) else _STRETCHES[:1]
    mixed = {name: with_unknown(entries, WORDS) for name, entries in known.items()}
    *others, last = itertools.product([mixed, known] if known else [{}], stretches)
    for drawn, stretch in others:
        with suppress(Unsound):
            return _answers(infer, inputs, plan(inputs, seeded=batches, stretch=stretch), drawn=drawn)
    return _answers(infer, inputs, plan(inputs, seeded=batches, stretch=last[1]), drawn=last[0])


def _answers(
    infer: Callable[[Tensors], Tensors],
    inputs: Sequence[TensorSpec],
    sets: Sequence[SampleSet],
    user: UserSamples | None = None,
    drawn: Mapping[str, Sequence[str | int]] | None = None,
) -> Answers:
    """Feeds sets to the original.

    NaN equals NaN in a comparison: an original that gives nothing else would prove every artifact.

    Raises:
        Unsound: it fails, or some output has nothing finite in some set.
        BadInput: it answers the same samples with other numbers when it is called again.
    """
    samples = {s.name: generate(s, inputs, user=user, drawn=drawn) for s in sets}
    outputs = {s.name: feed(infer, samples[s.name], s.batch).outputs for s in sets}
    for first in sets[:1]:
        _refuse_random(outputs[first.name], feed(infer, samples[first.name], first.batch).outputs)
    for name, tensors in outputs.items():
        if fault := _nothing_finite(name, tensors):
            raise Unsound(fault)
    return Answers(sets=tuple(sets), samples=samples, outputs=outputs)


def _refuse_random(once: Tensors, again: Tensors) -> None:
    """An original that draws random numbers at inference is no reference: no copy can draw the same ones."""
    for name, array in once.items():
        if array.dtype.kind in "fcV":  # V: bfloat16
            wide = np.complex128 if array.dtype.kind == "c" else np.float64
            first, second = array.astype(wide), again[name].astype(wide)
            largest = np.abs(first[np.isfinite(first)]).max(initial=0.0)
            same = np.allclose(first, second, rtol=0.0, atol=_SAME * largest, equal_nan=True)
        else:
            same = np.array_equal(array, again[name])
        if not same:
            raise BadInput(
                f"the original gives other numbers for output `{name}` when it is called again with the same samples: "
                "a layer of it draws random numbers at inference",
                next_step="Let that layer draw only where `training` is true, and save the model again.",
            )


def _nothing_finite(sample_set: str, tensors: Tensors) -> str:
    """The first output that is nothing but NaN and infinity."""
    for name, array in tensors.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).any():
            return f"gives only NaN or infinity for output `{name}` over sample set `{sample_set}`"
    return ""


def _infer(model: SourceModel, batch: Tensors) -> dict[str, np.ndarray]:
    import tensorflow as tf

    try:
        outputs = model.call({name: tf.constant(array) for name, array in batch.items()})
    except (tf.errors.OpError, ValueError) as error:
        raise Unsound(f"fails: {' '.join(str(error).split())[:300]}") from error
    return {name: np.asarray(tensor) for name, tensor in outputs.items()}
