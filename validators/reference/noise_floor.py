"""The job of the oracle: how far the original's float32 answers lie from its own float64 ones, output by output.

In: an admitted model and the evidence of the reference. Out: `evidence/noise.json`: for every sample set and output
the noise floor that every cell's tolerance comes from; and the float64 answers of whole-numbered outputs where they are
others. Runs beside the exports; only cells wait for it.

The floor is the larger of two distances from the float64 answers: that of the float32 ones, whose every sum rounds, and
that of float64 ones with each weight moved by its last bits, which is what folding constants and adding in another
order may do.

Sets are measured together where their inputs are of one kind: the user's rows; those drawn from each input's range with
the edges of it; and those far beyond it. The largest error over few rows says little about many, so each kind is
measured over further rows as well, which the reference has drawn and which are not kept.
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
from validators.reference.usable_sets import Infer, Unsound
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
    """Rows of one kind, with what the original answers in float32: all rows of the set so named, or further ones."""

    name: str
    samples: Tensors
    batch: int
    narrow: Tensors

    def through(self, call: Infer) -> Tensors:
        return feed(call, self.samples, self.batch).outputs


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseRequest:
    """A model whose rounding is to be measured, once its reference is there.

    Attributes:
        model: the admitted model.
        release: directory with `evidence/`.
        extra_rows: folder with further rows of each kind, see `ReferenceRequest`.
    """

    model: ModelSource
    release: Path
    extra_rows: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredNoise:
    """The original's own rounding, by sample set and output."""

    by_set: NoiseBySet


def measure_noise(request: NoiseRequest) -> MeasuredNoise:
    """Measures the noise of every output over every set, and writes it into the evidence.

    Raises:
        BadInput: the evidence cannot be read.
    """
    model = load(request.model)
    evidence = read_evidence(request.release)
    noise = measured(model, evidence, request.extra_rows)
    write_noise(evidence.release, noise)
    return MeasuredNoise(by_set=noise)


def measured(model: SourceModel, evidence: Evidence, more: Path) -> NoiseBySet:
    """The noise of every output over every set; without floors, and with the reason, where float64 cannot be had.

    Args:
        model: the original.
        evidence: samples and reference.
        more: a folder for each kind, with further rows of it.
    """
    kinds = dict.fromkeys(KINDS[each.origin] for each in evidence.sets)
    try:
        # First in float32: a float64 model changes what Keras takes for a number's type by default.
        fed = {kind: [*_sets(evidence, kind), *_further(model, more / kind)] for kind in kinds}
        double = in_float64(model)
        call = _traced(double)
        exact = {kind: [part.through(call) for part in parts] for kind, parts in fed.items()}
        floors = {kind: _floors([part.narrow for part in parts], exact[kind]) for kind, parts in fed.items()}
        for _ in _jittered(double):
            for kind, parts in fed.items():
                moved = _floors([part.through(call) for part in parts], exact[kind])
                floors[kind] = {name: max(floor, moved[name]) for name, floor in floors[kind].items()}
    except (NoDouble, Unsound, UnsteadyOutput) as error:
        return unmeasured(" ".join(str(error).split())[:300], evidence.sets, evidence.signature)
    noise = {
        kind: {name: _noise(name, floor, fed[kind], exact[kind], evidence) for name, floor in floors[kind].items()}
        for kind in kinds
    }
    _keep_ties(evidence, {kind: parts for kind, parts in fed.items() if _faithful(parts, noise[kind])}, exact)
    if _BEYOND in noise:
        noise[_BEYOND] = {name: _however_far(each, floors[_BEYOND][name]) for name, each in noise[_BEYOND].items()}
    return {each.name: noise[KINDS[each.origin]] for each in evidence.sets}


def _however_far(noise: Noise, distance: float) -> Noise:
    """The noise of an output beyond the domain, where rounding may cost it every digit.

    Saturated by values that the model is not made for, a softmax flips from one answer to another with the last bit of
    its scores. No copy lies nearer to the original than the original to itself.
    """
    return replace(noise, floor=distance, why="") if noise.floor is None and noise.scale > 0 else noise


def _traced(model: SourceModel) -> Infer:
    """One call of a model as a graph for any shape that it takes: a loop over time is thereby built once.

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
            raise Unsound(f"fails in float64: {cause(error)[:300]}") from error
        return {name: np.asarray(tensor) for name, tensor in outputs.items()}

    return call


def _sets(evidence: Evidence, kind: str) -> Iterator[_Part]:
    """The sets of a kind, all rows: over a saturated output few show how it rounds, and any may be one of these."""
    for each in (each for each in evidence.sets if KINDS[each.origin] == kind):
        yield _Part(
            name=each.name,
            samples=evidence.samples(each),
            batch=each.batch,
            narrow=evidence.reference(each),
        )


def _further(model: SourceModel, folder: Path) -> Iterator[_Part]:
    """Further rows of a kind; nothing where one of them is one that the original does not take."""
    if not folder.is_dir():
        return
    samples = read_tensors(folder)
    batch = fixed_batch(model.signature.inputs) or _BATCH
    with suppress(Unsound, UnsteadyOutput):
        narrow = feed(inference(model), samples, batch).outputs
        yield _Part(name="", samples=samples, batch=batch, narrow=narrow)


def _jittered(double: SourceModel) -> Iterator[None]:
    """Moves every weight by up to two epsilon of float32, another way in each turn, and back in the end.

    One epsilon at random for each weight is what rounding it twice may do: a converter folds a normalization into a
    kernel, and multiplies. One more, up or down for all weights of a unit (the last axis), is what adding may do: where
    terms have one sign, partial sums grow to the sum itself, and each addition errs by a share of it.
    """
    variables = [value for _, value in double.variables_of(double.graph) if value.dtype.is_floating]
    own = [variable.numpy() for variable in variables]
    stream = np.random.default_rng(_SEED)
    for _ in range(JITTERS):
        for variable, values in zip(variables, own, strict=True):
            units = stream.choice((-1.0, 1.0), values.shape[-1:])
            variable.assign(values * (1.0 + 2.0**-23 * (stream.uniform(-1.0, 1.0, values.shape) + units)))
        yield
    for variable, values in zip(variables, own, strict=True):
        variable.assign(values)


def _faithful(parts: Sequence[_Part], noise: Mapping[str, Noise]) -> bool:
    """Whether the float64 answers are the original's: no output of numbers lies further away than it rounds."""
    return all(noise[name].floor is not None for name, array in parts[0].narrow.items() if kind_of(array) == "real")


def _keep_ties(evidence: Evidence, fed: Mapping[str, Sequence[_Part]], exact: Mapping[str, Sequence[Tensors]]) -> None:
    """Keeps the float64 answers of whole-numbered outputs where they are others than the float32 ones."""
    for kind, parts in fed.items():
        for part, wide in zip(parts, exact[kind], strict=True):
            ties = {
                name: wide[name].astype(array.dtype)
                for name, array in part.narrow.items()
                if part.name and kind_of(array) in {"integer", "bool"} and not np.array_equal(array, wide[name])
            }
            write_exact(evidence.release, part.name, ties)


def _floors(answers: Sequence[Tensors], exact: Sequence[Tensors]) -> dict[str, float]:
    """The largest distance of each output from its exact answers."""
    return {
        name: max(_distance(one[name], other[name]) for one, other in zip(answers, exact, strict=True))
        for name in answers[0]
    }


def _noise(output: str, floor: float, parts: Sequence[_Part], exact: Sequence[Tensors], evidence: Evidence) -> Noise:
    """The noise of one output over all rows of a kind, or why its floor is none."""
    arrays = [part.narrow[output] for part in parts]
    rows = sum(len(array) if array.ndim else 1 for array in arrays)
    if kind_of(arrays[0]) != "real":
        return Noise(floor=None, scale=0.0, rows=rows, why="this output holds no numbers that round")
    if dtype_name(arrays[0]) in {"float64", "complex128"}:
        return Noise(floor=None, scale=0.0, rows=rows, why="the original computes in float64 itself")
    scale = max(scale_of(answers[output]) for answers in exact)
    if floor <= most_noise(evidence.rounds_to.get(output) or dtype_name(arrays[0])) * scale:
        return Noise(floor=floor, scale=scale, rows=rows)
    why = f"the model in float64 lies {floor:.2g} away over an output of {scale:.2g}: more than rounding explains"
    return Noise(floor=None, scale=scale, rows=rows, why=why)


def _distance(narrow: np.ndarray, wide: np.ndarray) -> float:
    """The largest distance between numbers finite in both; 0 for what is no real number."""
    if kind_of(narrow) != "real":
        return 0.0
    common = np.complex128 if narrow.dtype.kind == "c" else np.float64
    a, b = narrow.astype(common), wide.astype(common)
    finite = np.isfinite(a) & np.isfinite(b)
    with np.errstate(invalid="ignore"):  # Inf - Inf is masked
        return float(np.max(np.abs(a - b), where=finite, initial=0.0))
