"""Measures the noise floor as a job: how far the original's float32 answers are from its float64 answers, by output.

In: an admitted model and the evidence of the reference. Out: `evidence/noise.json`: for every sample set and output
the noise floor that every cell's tolerance comes from; and the float64 answers of integer outputs where they differ.
Runs in parallel to the exports; only cells wait for it.

The floor is the larger of two distances from the float64 answers. One is that of the float32 answers, in which every
sum rounds. The other is that of float64 answers with each weight moved by its last bits: folding constants and adding
in another order may do the same.

Sets are measured together where their inputs are of one kind: the user's rows; rows drawn from each input's range and
its edges; and rows far beyond it. The largest error over few rows says little about many, so each kind is also measured
over additional rows (`validators.reference.extra_rows`), which are not kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from exporters.source.keras.float64 import NoDouble, in_float64
from exporters.source.keras.graph_function import graph_function
from exporters.source.keras.loading import load
from exporters.source.keras.model import SourceModel, cause, tensor_specs
from exporters.source.model_source import ModelSource
from validators.compare.distances import kind_of
from validators.compare.tolerance import dtype_name, most_noise, scale_of
from validators.contract import Noise, NoiseBySet, Origin, Tensors
from validators.reference.job import inference
from validators.reference.usable_sets import Infer, UnusableSamples
from validators.release.evidence import Evidence, read_evidence, unmeasured, write_exact, write_noise
from validators.samples import fixed_batch
from validators.samples.feeding import UnsteadyOutput, feed
from validators.samples.tensor_files import read_tensors

KINDS: Mapping[Origin, str] = {"user": "user", "seeded": "seeded", "edges": "seeded", "beyond": "beyond"}
"""Origin of a set -> the kind of its inputs."""
_BEYOND = KINDS["beyond"]

_BATCH = 64

JITTERS = 2
"""How many times all weights are moved by their last bits."""
_SEED = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Holds rows of one kind with the original's float32 answers: a named set, or additional rows without a name."""

    name: str
    samples: Tensors
    batch: int
    narrow: Tensors

    def through(self, call: Infer) -> Tensors:
        return feed(call, self.samples, self.batch).outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRequest:
    """Names a model whose rounding is to be measured, once its reference is there.

    Attributes:
        model: the admitted model.
        release: directory with `evidence/`.
        extra_rows: folder with additional rows of each kind, see `ReferenceRequest`.
    """

    model: ModelSource
    release: Path
    extra_rows: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredNoise:
    """Holds the original's rounding error, by sample set and output."""

    by_set: NoiseBySet


def measure_noise(request: NoiseRequest) -> MeasuredNoise:
    """Measures the noise of every output over every set, and writes it into the evidence.

    Raises:
        BadInput: the evidence cannot be read.
    """
    model = load(request.model)
    evidence = read_evidence(request.release)
    noise = noise_by_set(model, evidence, request.extra_rows)
    write_noise(evidence.release, noise)
    return MeasuredNoise(by_set=noise)


def noise_by_set(model: SourceModel, evidence: Evidence, more: Path) -> NoiseBySet:
    """Measures the noise of every output over every set; without floors, but with the reason, where float64 fails.

    Args:
        model: the original.
        evidence: samples and reference.
        more: a folder for each kind, with additional rows of it.
    """
    kinds = dict.fromkeys(KINDS[each.origin] for each in evidence.sets)
    try:
        # First in float32: a float64 model changes what Keras takes for a number's type by default.
        fed = {kind: [*_sets(evidence, kind), *_extra_parts(model, more / kind)] for kind in kinds}
        double = in_float64(model)
        call = _traced(double)
        exact = {kind: [part.through(call) for part in parts] for kind, parts in fed.items()}
        floors = {kind: _floors([part.narrow for part in parts], exact[kind]) for kind, parts in fed.items()}
        for _ in _jittered(double):
            for kind, parts in fed.items():
                moved = _floors([part.through(call) for part in parts], exact[kind])
                floors[kind] = {name: max(floor, moved[name]) for name, floor in floors[kind].items()}
    except (NoDouble, UnusableSamples, UnsteadyOutput) as error:
        return unmeasured(" ".join(str(error).split())[:300], evidence.sets, evidence.signature)
    noise = {
        kind: {name: _noise(name, floor, fed[kind], exact[kind], evidence) for name, floor in floors[kind].items()}
        for kind in kinds
    }
    _keep_ties(evidence, {kind: parts for kind, parts in fed.items() if _float64_is_trusted(parts, noise[kind])}, exact)
    if _BEYOND in noise:
        noise[_BEYOND] = {
            name: _noise_beyond_domain(each, floors[_BEYOND][name]) for name, each in noise[_BEYOND].items()
        }
    return {each.name: noise[KINDS[each.origin]] for each in evidence.sets}


def _noise_beyond_domain(noise: Noise, distance: float) -> Noise:
    """Returns the noise of an output beyond the domain, where rounding may change every digit.

    A softmax that is saturated by values far outside the domain flips from one answer to another with the last bit of
    its scores. No copy can be nearer to the original than the original is to itself.
    """
    return replace(noise, floor=distance, why="") if noise.floor is None and noise.scale > 0 else noise


def _traced(model: SourceModel) -> Infer:
    """Traces a model as one graph for any shape that it takes, so that a loop over time is built once.

    Raises:
        NoDouble: some operation does not take float64.
    """
    import tensorflow as tf

    @graph_function
    def inference(**inputs: Any) -> dict[str, Any]:
        return model.call(inputs)

    specs = tensor_specs(model.signature.inputs)
    try:
        traced = inference.get_concrete_function(**specs)
    except (tf.errors.OpError, ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise NoDouble(f"the model cannot be computed in float64: {cause(error)[:300]}") from error

    def call(batch: Tensors) -> dict[str, np.ndarray]:
        try:
            outputs = traced(**{name: tf.constant(array, specs[name].dtype) for name, array in batch.items()})
        except (tf.errors.OpError, ValueError) as error:
            raise UnusableSamples(f"fails in float64: {cause(error)[:300]}") from error
        return {name: np.asarray(tensor) for name, tensor in outputs.items()}

    return call


def _sets(evidence: Evidence, kind: str) -> Iterator[_Part]:
    """Yields the sets of a kind with all rows: of a saturated output only few rows show how it rounds."""
    for each in (each for each in evidence.sets if KINDS[each.origin] == kind):
        yield _Part(
            name=each.name,
            samples=evidence.samples(each),
            batch=each.batch,
            narrow=evidence.reference(each),
        )


def _extra_parts(model: SourceModel, folder: Path) -> Iterator[_Part]:
    """Yields the additional rows of a kind; nothing where the original fails on one of them."""
    if not folder.is_dir():
        return
    samples = read_tensors(folder)
    batch = fixed_batch(model.signature.inputs) or _BATCH
    with suppress(UnusableSamples, UnsteadyOutput):
        narrow = feed(inference(model), samples, batch).outputs
        yield _Part(name="", samples=samples, batch=batch, narrow=narrow)


def _jittered(double: SourceModel) -> Iterator[None]:
    """Moves every weight by up to two epsilon of float32, differently in each of the rounds, and back in the end.

    One random epsilon for each weight stands for rounding it twice: a converter folds a normalization into a kernel,
    and multiplies. One more, up or down for all weights of a unit (the last axis), stands for addition: where terms
    have one sign, partial sums grow to the sum itself, and each addition has an error in proportion to it.
    """
    variables = [value for _, value in double.variables_of(double.graph) if value.dtype.is_floating]
    original = [variable.numpy() for variable in variables]
    stream = np.random.default_rng(_SEED)
    for _ in range(JITTERS):
        for variable, values in zip(variables, original, strict=True):
            units = stream.choice((-1.0, 1.0), values.shape[-1:])
            variable.assign(values * (1.0 + 2.0**-23 * (stream.uniform(-1.0, 1.0, values.shape) + units)))
        yield
    for variable, values in zip(variables, original, strict=True):
        variable.assign(values)


def _float64_is_trusted(parts: Sequence[_Part], noise: Mapping[str, Noise]) -> bool:
    """Tells whether the float64 answers can be trusted: each numeric output is as close as rounding explains."""
    return all(noise[name].floor is not None for name, array in parts[0].narrow.items() if kind_of(array) == "real")


def _keep_ties(evidence: Evidence, fed: Mapping[str, Sequence[_Part]], exact: Mapping[str, Sequence[Tensors]]) -> None:
    """Writes the float64 answers of integer outputs where they differ from the float32 answers."""
    for kind, parts in fed.items():
        for part, wide in zip(parts, exact[kind], strict=True):
            ties = {
                name: wide[name].astype(array.dtype)
                for name, array in part.narrow.items()
                if part.name and kind_of(array) in {"integer", "bool"} and not np.array_equal(array, wide[name])
            }
            write_exact(evidence.release, part.name, ties)


def _floors(answers: Sequence[Tensors], exact: Sequence[Tensors]) -> dict[str, float]:
    """Returns the largest distance of each output from its exact answers."""
    return {
        name: max(_distance(one[name], other[name]) for one, other in zip(answers, exact, strict=True))
        for name in answers[0]
    }


def _noise(output: str, floor: float, parts: Sequence[_Part], exact: Sequence[Tensors], evidence: Evidence) -> Noise:
    """Returns the noise of one output over all rows of a kind, or the reason why it has no floor."""
    arrays = [part.narrow[output] for part in parts]
    rows = sum(len(array) if array.ndim else 1 for array in arrays)
    if kind_of(arrays[0]) != "real":
        return Noise(floor=None, scale=0.0, rows=rows, why="this output holds no numbers that round")
    if dtype_name(arrays[0]) in {"float64", "complex128"}:
        return Noise(floor=None, scale=0.0, rows=rows, why="the original computes in float64 itself")
    scale = max(scale_of(answers[output]) for answers in exact)
    if floor <= most_noise(evidence.rounds_to.get(output) or dtype_name(arrays[0])) * scale:
        return Noise(floor=floor, scale=scale, rows=rows)
    why = f"the model in float64 differs by {floor:.2g} over an output of {scale:.2g}: more than rounding explains"
    return Noise(floor=None, scale=scale, rows=rows, why=why)


def _distance(narrow: np.ndarray, wide: np.ndarray) -> float:
    """Returns the largest distance between numbers finite in both; 0 for outputs that are not numeric."""
    if kind_of(narrow) != "real":
        return 0.0
    common = np.complex128 if narrow.dtype.kind == "c" else np.float64
    a, b = narrow.astype(common), wide.astype(common)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):  # Inf - Inf is masked
        return float(np.max(np.abs(a - b), where=finite, initial=0.0))
