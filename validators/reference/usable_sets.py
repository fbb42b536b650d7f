"""Selects the samples that can serve as evidence: the original decides, set by set.

In: one call of the original, and the sources of samples. Out: `Answers`: the sets that it answers, with its answers.
Needs no TensorFlow: tests use a plain function as the original.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import numpy as np

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from exporters.preprocessing.vocabularies import with_unknown
from validators.contract import Batch, SampleSet, Tensors
from validators.reference.output_variation import output_variation
from validators.samples import WORDS, UserSamples, fixed_batch, generate, plan, sequences
from validators.samples.feeding import feed
from validators.samples.sample_sets import spread
from validators.samples.value_ranges import OTHER_RANGES, Range, guessing_otherwise, unknown_range

_STRETCHES = (1, 8, 64, 512)
"""Factors for the lengths of dynamic sequences, tried until the original gives finite values: 16 to 8192 steps."""
_SAME = 1e-3
"""Largest difference of two answers to the same samples, as a share of the largest: threads sum in other orders."""

Infer = Callable[[Tensors], Tensors]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSources:
    """Names the inputs of an original and the sources of values for them.

    Attributes:
        inputs: its inputs.
        user: the user's samples; None when there are none.
        batches: sizes of the seeded sets.
        known: input -> the entries of the original's vocabulary there; it may refuse all others.
        ranges: input -> the range of values that its layers expect.
        beyond: the reason why no values beyond the ranges are fed; empty where they are.
    """

    inputs: Sequence[TensorSpec]
    user: UserSamples | None = None
    batches: Sequence[int] = (1, 2, 7)
    known: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    beyond: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """Holds what the original computed: for every sample set its inputs and outputs.

    Attributes:
        sets: in the order of `validators.samples.plan`.
        samples, outputs: by the name of the set.
        dropped: set -> why it is not used, in a sentence.
        drawn, ranges: the entries and ranges that the seeded values were drawn from, by input.
        chosen: indices of the user's rows in the set `user`.
    """

    sets: tuple[SampleSet, ...] = ()
    samples: Mapping[str, Tensors] = field(default_factory=dict)
    outputs: Mapping[str, Tensors] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    drawn: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    chosen: Sequence[int] = ()

    def __add__(self, other: "Answers") -> "Answers":
        return replace(
            other,
            sets=self.sets + other.sets,
            samples={**self.samples, **other.samples},
            outputs={**self.outputs, **other.outputs},
            dropped={**self.dropped, **other.dropped},
            chosen=self.chosen or other.chosen,
        )


class UnusableSamples(Exception):
    """Reports that the original is no reference over some samples: it fails, or gives only NaN or infinity."""


def usable_answers(infer: Infer, sources: SampleSources) -> Answers:
    """Returns sets, samples and outputs that can serve as evidence: every output has a finite value in every set.

    A model that halves a dynamic axis six times leaves none of sixteen steps, so longer sequences are tried. A model
    may also answer no seeded sample at all (it checks a range, or expects a grammar): then the user's are enough.
    Edges and values beyond the range may give NaN, which is compared too, or fail, which is recorded in `dropped`.

    Args:
        infer: one call of the original; raises `UnusableSamples` where it fails.
        sources: its inputs, and where their values come from.

    Raises:
        BadInput: the original answers neither the user's samples nor, without them, seeded ones of any length.
    """
    from_user = Answers()
    user = sources.user
    try:
        if user:
            sets = [each for each in plan(sources.inputs, user=user) if each.origin == "user"]
            from_user = replace(_answers(infer, sources, sets), chosen=spread(user.rows, sets[0].rows))
        seeded = _best_seeded(infer, sources)
    except UnusableSamples as error:
        if from_user.sets:
            why = f"only the user's samples are used: over seeded ones the original {error}"
            return replace(from_user, dropped={"seeded": why})
        next_step = "Provide samples from the domain of the model: --samples held_out.npz"
        raise BadInput(f"the original itself {error}", next_step=next_step) from error
    return from_user + seeded


def _best_seeded(infer: Infer, sources: SampleSources) -> Answers:
    """Returns the answers to the seeded sets; tries other ranges where a guessed one leaves an output constant."""
    ranges = {spec.name: sources.ranges.get(spec.name) or unknown_range(spec) for spec in sources.inputs}
    best = _seeded(infer, sources, ranges)
    dead = _weak(best)
    if dead and any(known.guessed for known in ranges.values()):
        for ends in OTHER_RANGES:
            with suppress(UnusableSamples):
                other = _seeded(infer, sources, guessing_otherwise(ranges, ends))
                if _weak(other) < dead:
                    best, dead = other, _weak(other)
            if not dead:
                break
    return best + _edges_and_beyond(infer, sources, best)


def _weak(answers: Answers) -> int:
    return sum(each.weak for each in output_variation(answers.sets, answers.outputs).values())


def _seeded(infer: Infer, sources: SampleSources, ranges: Mapping[str, Range]) -> Answers:
    """Returns the answers to the seeded sets, with the first entries and the first length that give any."""
    stretches = _STRETCHES if sequences(sources.inputs) else _STRETCHES[:1]
    mixed = {name: with_unknown(entries, WORDS) for name, entries in sources.known.items()}
    *others, last = itertools.product([mixed, sources.known] if sources.known else [{}], stretches)
    for drawn, stretch in others:
        with suppress(UnusableSamples):
            return _answers(infer, sources, _drawn_sets(sources, stretch), drawn, ranges)
    return _answers(infer, sources, _drawn_sets(sources, last[1]), last[0], ranges)


def _drawn_sets(sources: SampleSources, stretch: int) -> list[SampleSet]:
    return [each for each in plan(sources.inputs, seeded=sources.batches, stretch=stretch) if each.origin == "seeded"]


def _edges_and_beyond(infer: Infer, sources: SampleSources, seeded: Answers) -> Answers:
    """Returns the answers to edges and values beyond the range, with the lengths and entries of the seeded sets."""
    found = Answers(drawn=seeded.drawn, ranges=seeded.ranges)
    for each in plan(sources.inputs, seeded=sources.batches):
        if each.origin not in {"edges", "beyond"}:
            continue
        if each.origin == "beyond" and sources.beyond:
            found = found + replace(found, dropped={each.name: f"not fed to the original: {sources.beyond}"})
            continue
        like = replace(each, dynamic=seeded.sets[0].dynamic)
        try:
            found = found + _answers(infer, sources, [like], seeded.drawn, seeded.ranges, finite=False)
        except UnusableSamples as error:
            found = found + replace(found, dropped={each.name: f"the original {error}"})
    return found


def _answers(  # noqa: PLR0913 - what is drawn from what, named where it differs
    infer: Infer,
    sources: SampleSources,
    sets: Sequence[SampleSet],
    drawn: Mapping[str, Sequence[str | int]] | None = None,
    ranges: Mapping[str, Range] | None = None,
    *,
    finite: bool = True,
) -> Answers:
    """Feeds sets to the original.

    NaN equals NaN in a comparison, so an original that gives only NaN would prove every artifact.

    Args:
        infer: as for `usable_answers`.
        sources: as for `usable_answers`.
        sets: what to feed.
        drawn: entries that values are drawn from, by input.
        ranges: ranges that the others are drawn from.
        finite: whether every output has to have a finite value in every set.

    Raises:
        UnusableSamples: it fails, or some output has no finite value in some set.
        BadInput: it answers the same samples with other numbers when it is called again.
    """
    inputs = sources.inputs
    samples = {s.name: generate(s, inputs, user=sources.user, drawn=drawn, ranges=ranges) for s in sets}
    outputs = {s.name: feed(infer, samples[s.name], s.batch).outputs for s in sets}
    # One set is enough: a layer that draws random numbers does so in every call.
    for first in sets[:1]:
        _refuse_random(outputs[first.name], feed(infer, samples[first.name], first.batch).outputs)
    for name, tensors in outputs.items():
        if finite and (fault := _nothing_finite(name, tensors)):
            raise UnusableSamples(fault)
    return Answers(sets=tuple(sets), samples=samples, outputs=outputs, drawn=drawn or {}, ranges=ranges or {})


def batch_of(answers: Answers, inputs: Sequence[TensorSpec]) -> Batch:
    """Tells whether a row's answer depends on its batch: seeded sets of one seed begin with the same rows."""
    if fixed_batch(inputs):
        return "fixed"
    for one, other in itertools.combinations([each for each in answers.sets if each.origin == "seeded"], 2):
        if one.batch != other.batch and one.dynamic == other.dynamic and not all(_alike(answers, one, other)):
            return "mixes"
    return "independent"


def _alike(answers: Answers, one: SampleSet, other: SampleSet) -> Iterator[bool]:
    rows = min(one.rows, other.rows)
    for name, array in answers.outputs[one.name].items():
        twin = answers.outputs[other.name][name]
        by_rows = array.shape[:1] == (one.rows,) and twin.shape[:1] == (other.rows,)
        yield by_rows and _close(array[:rows], twin[:rows])


def _refuse_random(once: Tensors, again: Tensors) -> None:
    """Refuses an original that draws random numbers at inference: no copy can draw the same ones."""
    for name, array in once.items():
        if not _close(array, again[name]):
            raise BadInput(
                f"the original gives other numbers for output `{name}` when it is called again with the same samples: "
                "a layer of it draws random numbers at inference",
                next_step="Let that layer draw only where `training` is true, and save the model again.",
            )


def _close(one: np.ndarray, other: np.ndarray) -> bool:
    """Tells whether two answers are the same except for the order in which threads sum."""
    if one.dtype.kind not in "fcV":  # V: bfloat16
        return np.array_equal(one, other)
    wide = np.complex128 if one.dtype.kind == "c" else np.float64
    first, second = one.astype(wide), other.astype(wide)
    largest = np.abs(first[np.isfinite(first)]).max(initial=0.0)
    return np.allclose(first, second, rtol=0.0, atol=_SAME * largest, equal_nan=True)


def _nothing_finite(sample_set: str, tensors: Tensors) -> str:
    """Names the first output that holds only NaN and infinity; empty when there is none."""
    for name, array in tensors.items():
        if array.dtype.kind in "fc" and not np.isfinite(array).any():
            return f"gives only NaN or infinity for output `{name}` over sample set `{sample_set}`"
    return ""
