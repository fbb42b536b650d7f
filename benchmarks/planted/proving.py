"""One model with all of its faults: exported, searched for witnesses, and judged by the real cell.

Runs where TensorFlow is. Reference, exporters, runtimes and cells are paritygate's own, called as a release calls them;
only that everything happens in one process.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.planted import models, others, search
from benchmarks.planted.answers import Answer, untouched
from benchmarks.planted.kinds import FAULTS, Fault
from benchmarks.planted.stored import overwrite
from exporters.contract import Artifact, Signature, WeightDifference
from exporters.errors import Broken
from exporters.formats.job import Exported, ExportRequest, export
from exporters.formats.registry import EXPORTERS, FORMATS
from exporters.lowering.tracing.job import LowerRequest, lower
from exporters.source.model_source import ModelSource
from validators.compare.outputs import compare
from validators.compare.tolerance import tolerances
from validators.contract import Cell, Device, Placement, Runtime, Tensors
from validators.release.evidence import Evidence, read_evidence
from validators.runtimes.registry import default_requirements, runtime
from validators.runtimes.with_preprocessing import preprocessed
from validators.samples.feeding import UnsteadyOutput, feed

# The first row of a format is its main one, in either table.
_VARIANTS = {row.format: row.key for row in reversed(EXPORTERS)}
_RUNTIMES = {name: default_requirements((name,))[0].runtime for name in FORMATS}
_FRESH_ROWS, _OWN_ROWS = 250, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An artifact: its folder, what the export job answered, and its format."""

    folder: Path
    answer: Exported
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Records the result of one fault.

    Attributes:
        fault, family, model, format: what it is, and what it was planted into.
        ratio: at the witness, the largest distance as a multiple of the tolerance; infinite for NaN and choices.
        distance, tolerance: of that element; None where it is no number.
        witness: whether the cell failed with the witness among the samples, and why.
        generated: the same with only the generated samples.
        weights: whether the weights check names a difference.
        others: criterion -> whether it fails over the generated samples.
        others_witness: the same over the witness.
    """

    fault: str
    family: str
    model: str
    format: str
    ratio: float
    distance: float | None
    tolerance: float | None
    witness: str
    generated: str
    weights: str
    others: Mapping[str, bool]
    others_witness: Mapping[str, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calm:
    """A good artifact: alarms over its own samples and over fresh ones, and how its tolerance stands to the noise.

    Attributes:
        alarms: sentences, empty when all is well.
        rows: fresh rows that were compared.
        furthest: the largest distance of a fresh row, as a multiple of the tolerance.
        to_noise: output -> the allowed distance at the output's scale over the measured noise floor.
        others: criterion -> whether it refuses the artifact over its own samples.
    """

    model: str
    format: str
    alarms: tuple[str, ...]
    rows: int
    furthest: float
    to_noise: Mapping[str, float]
    others: Mapping[str, bool]


class Proving:
    """One good model, its evidence, and what is planted into it.

    Args:
        name: a key of `benchmarks.planted.models.MODELS`.
        folder: for everything that is written.
        endpoint: of a running Chromium, for TF.js.
    """

    def __init__(self, name: str, folder: Path, endpoint: str) -> None:
        self._name = name
        self._options = {"endpoint": endpoint}
        self._folder = folder
        self._domain = models.MODELS[name].domain
        self._model = models.good(name)
        self._path = folder / "good.keras"
        folder.mkdir(parents=True, exist_ok=True)
        self._model.save(self._path)
        self._weights = folder / "weights"
        self._release = self._referred("generated", None)
        self._good = self._caller()
        self._made: dict[str, Made] = {}

    def scores(self, wanted: Callable[[Fault], bool]) -> Iterator[Score]:
        """Plants the wanted faults, one after the other."""
        for number, fault in enumerate(FAULTS):
            if fault.model == self._name and wanted(fault):
                yield self._scored(fault, number)

    def calm(self, format_: str, fresh: int) -> Calm:
        """Holds a good artifact against its evidence and against fresh rows, of the domain that users have."""
        made = self._artifact(format_)
        rng = np.random.default_rng(2024)
        own = self._referred(f"own-{format_}", self._saved(f"own-{format_}", self._fresh(rng, _OWN_ROWS, 0)))
        cell = self._cell(made, own, untouched, "cpu")
        alarms = [] if cell.status == "passed" else [f"samples: {cell.reason}: {cell.message}"]
        if differences := _differences(made):
            alarms.append(f"weights: {differences}")
        noise = read_evidence(own).noise().get("user", {})
        furthest, count = 0.0, -(-fresh // _FRESH_ROWS)
        with self._running(made, untouched) as infer:
            pairs = [pair for _, pairs in _pairs(read_evidence(own), infer) for pair in pairs.values()]
            for number in range(count):
                rows = self._fresh(rng, _FRESH_ROWS, number)
                expected, got = self._good(rows), infer(rows)
                allowed = tolerances(expected, noise=noise, device="cpu")
                for diff in compare(expected, got, sample_set=f"fresh {number}", tolerances=allowed, noise=noise):
                    furthest = max(furthest, _ratio(expected[diff.name], got[diff.name], diff.tolerance)[0])
                    alarms += [] if diff.passed else [diff.message]
        return Calm(
            model=self._name,
            format=format_,
            alarms=tuple(alarms),
            rows=count * _FRESH_ROWS,
            furthest=furthest,
            to_noise={
                diff.name: (diff.tolerance.atol + diff.tolerance.rtol * noise[diff.name].scale) / diff.noise
                for diff in cell.diffs
                if diff.sample_set == "user" and diff.tolerance and diff.noise
            },
            others=others.caught(pairs),
        )

    def _fresh(self, rng: np.random.Generator, rows: int, number: int) -> dict[str, np.ndarray]:
        return search.draw(self._domain, rows, rng, models.LENGTHS[number % len(models.LENGTHS)])

    def _saved(self, name: str, rows: Tensors) -> Path:
        path = self._folder / f"{name}.npz"
        np.savez(path, **{k: v.astype(str) if v.dtype == object else v for k, v in rows.items()})  # type: ignore[arg-type] # allow_pickle is a keyword too
        return path

    def _scored(self, fault: Fault, number: int) -> Score:
        made = self._planted(fault, self._folder / f"fault{number}")
        answer = fault.answer or untouched
        with self._running(made, answer) as infer:
            rows = search.witness(self._domain, self._good, infer, np.random.default_rng(number))
        seen = self._referred(f"witness{number}", self._saved(f"witness-{number}", rows))
        generated = self._cell(made, self._release, answer, fault.device)
        witness = self._cell(made, seen, answer, fault.device)
        with self._running(made, answer) as infer:
            plain = [pair for _, pairs in _pairs(read_evidence(self._release), infer) for pair in pairs.values()]
        with self._running(made, answer) as infer:
            own = [(each.name, pairs) for each, pairs in _pairs(read_evidence(seen), infer) if each.origin == "user"]
        tolerance = {(diff.sample_set, diff.name): diff.tolerance for diff in witness.diffs}
        ratios = [_ratio(*pair, tolerance.get((where, name))) for where, pairs in own for name, pair in pairs.items()]
        ratio, distance, allowed = max(ratios, key=lambda each: each[0])
        differences = _differences(made)
        return Score(
            fault=fault.name,
            family=fault.family,
            model=fault.model,
            format=fault.format,
            ratio=ratio,
            distance=distance,
            tolerance=allowed,
            witness=_told(witness),
            generated=_told(generated),
            weights=f"{differences[0].kind}: {differences[0].weight}" if differences else "",
            others=others.caught(plain),
            others_witness=others.caught([pair for _, pairs in own for pair in pairs.values()]),
        )

    def _planted(self, fault: Fault, folder: Path) -> Made:
        """The faulty artifact."""
        if fault.answer:
            return self._artifact(fault.format)
        folder.mkdir()
        if fault.stored:
            made = self._export(self._path, fault.format, folder)
            like, change = fault.stored
            return _overwritten(made, self._weights, like, change)
        other = models.changed(self._name, self._model, fault.changes)
        if fault.edit:
            fault.edit(other)
        other.save(folder / "faulty.keras")
        return self._export(folder / "faulty.keras", fault.format, folder)

    def _artifact(self, format_: str) -> Made:
        """The good one."""
        if format_ not in self._made:
            folder = self._folder / f"good-{format_}"
            folder.mkdir()
            self._made[format_] = self._export(self._path, format_, folder)
        return self._made[format_]

    def _export(self, model: Path, format_: str, folder: Path) -> Made:
        row = next(row for row in EXPORTERS if row.key == _VARIANTS[format_])
        source, graph = ModelSource(path=model), None
        if row.source != "model":
            lowered = lower(LowerRequest(model=source, destination=folder / "lowered", forms=(row.source,)))
            graph = lowered.forms[row.source].folder
            if graph is None:
                raise Broken(f"{model}: {lowered.forms[row.source].limited}")
            _forget_gradients(graph / "graph.pb")
        answer = export(
            ExportRequest(
                artifact=row.key,
                model=source,
                graph=graph,
                destination=folder / "artifact",
                options=dict(row.options),
                weights=self._weights,
            )
        )
        return Made(folder=folder / "artifact", answer=answer, format=format_)

    def _referred(self, name: str, samples: Path | None) -> Path:
        """A folder with evidence of the good model."""
        import keras

        from validators.reference.job import ReferenceRequest, compute_reference
        from validators.reference.noise_floor import NoiseRequest, measure_noise

        release = self._folder / name
        source, extra_rows = ModelSource(path=self._path), release / "more"
        compute_reference(
            ReferenceRequest(
                model=source,
                release=release,
                samples=samples,
                batches=(1, 2, 7),
                metric=None,
                extra_rows=extra_rows,
                weights=self._weights,
            )
        )
        measure_noise(NoiseRequest(model=source, release=release, extra_rows=extra_rows))
        keras.config.set_floatx("float32")  # measuring the noise leaves its process in float64
        return release

    def _caller(self) -> Callable[[Tensors], dict[str, np.ndarray]]:
        """The original, traced once for any shape: a SavedModel's runtime keeps Keras away while it is active."""
        import tensorflow as tf

        from exporters.source.keras.loading import load
        from exporters.source.keras.model import tensor_specs

        model = load(ModelSource(path=self._path))
        inference = tf.function(lambda **inputs: model.call(inputs), autograph=False)
        call = inference.get_concrete_function(**tensor_specs(model.signature.inputs))
        return lambda rows: {
            name: np.asarray(tensor) for name, tensor in call(**{k: tf.constant(v) for k, v in rows.items()}).items()
        }

    def _cell(self, made: Made, release: Path, answer: Answer, device: Device) -> Cell:
        from validators.cells.job import CellRequest, run_cell

        row = runtime(_RUNTIMES[made.format], device)
        format_, _, variant = _VARIANTS[made.format].partition("/")
        artifact = Artifact(
            format=format_,
            variant=variant,
            status="exported",
            signature=made.answer.signature,
            preprocessing=made.answer.preprocessing,
        )
        request = CellRequest(
            release=release,
            artifact=artifact,
            path=made.folder,
            runtime=row.name,
            device=row.device,
            options=self._options,
            tolerances=(),
            gpu="any",
            sample_seconds=60.0,
            software_seconds=60.0,
            task_output=None,
            metric=None,
        )
        with _between(row.module, answer, row.adapter, device):
            return run_cell(request)

    @contextmanager
    def _running(self, made: Made, answer: Answer) -> Iterator[Callable[[Tensors], Tensors]]:
        """The artifact in its runtime, with what stands between."""
        row = runtime(_RUNTIMES[made.format], "cpu")
        signature = made.answer.signature
        load = row.module.load
        with load(made.folder, signature, "cpu", {**row.options, **self._options}) as loaded:
            infer = preprocessed(loaded.infer, made.folder, made.answer.preprocessing, signature)
            yield lambda rows: answer(rows, infer(rows))


def _forget_gradients(path: Path) -> None:
    """Takes the names of gradients out of a graph: the process that traced it would save them along with it."""
    from tensorflow.core.framework import graph_pb2

    graph = graph_pb2.GraphDef.FromString(path.read_bytes())
    for node in [*graph.node, *(node for function in graph.library.function for node in function.node_def)]:
        node.attr.pop("_gradient_op_type", None)
    path.write_bytes(graph.SerializeToString(deterministic=True))


def _overwritten(made: Made, weights: Path, like: str, change: Callable[[np.ndarray], np.ndarray]) -> Made:
    """The artifact with one constant changed, and what the weights check says then."""
    from exporters.weights.match import match
    from exporters.weights.source_weights import read_weights

    source = read_weights(weights)
    own = next(weight.array for weight in source.weights if like in weight.name)
    module = next(row.exporter for row in EXPORTERS if row.format == made.format)
    alike = [array for array in module.constants(made.folder).values() if array.size == own.size]
    overwrite(made.folder, next(a for a in alike if np.isin(np.sort(a, axis=None), own).all()), change)
    record = match(module.WEIGHTS, source, module.constants(made.folder))
    return replace(made, answer=replace(made.answer, weights=record))


def _differences(made: Made) -> Sequence[WeightDifference]:
    """Returns the differences that the weights check finds in an artifact."""
    return made.answer.weights.differences if made.answer.weights else ()


class _Between:
    """A runtime whose answers pass through a function, and that says where else it ran."""

    def __init__(self, inner: Any, answer: Answer, elsewhere: Mapping[str, Any]) -> None:
        self._inner, self._answer, self._elsewhere = inner, answer, elsewhere

    @property
    def placement(self) -> Placement:
        inner: Placement = self._inner.placement
        return replace(inner, **self._elsewhere)

    def infer(self, rows: Tensors) -> Tensors:
        return self._answer(rows, self._inner.infer(rows))


@contextmanager
def _between(owner: Runtime, answer: Answer, adapter: str, device: str) -> Iterator[None]:
    """While active, a runtime's answers pass through a function, and it says that it ran on the device asked for."""
    load = owner.load

    @contextmanager
    def loading(artifact: Path, signature: Signature, asked: Any, options: Mapping[str, str]) -> Iterator[Any]:
        del asked
        with load(artifact, signature, "cpu", options) as inner:
            yield _Between(inner, answer, {} if device == "cpu" else {"device": device, "adapter": adapter})

    with mock.patch.object(owner, "load", loading):
        yield


def _pairs(evidence: Evidence, infer: Callable[[Tensors], Tensors]) -> Iterator[tuple[Any, dict[str, others.Pair]]]:
    """Reference and actual of every output over every set; an unsteady output has no numbers."""
    for sample_set in evidence.sets:
        expected = evidence.reference(sample_set)
        try:
            got = feed(infer, evidence.samples(sample_set), sample_set.batch).outputs
        except UnsteadyOutput:
            continue
        yield sample_set, {name: (expected[name], got[name]) for name in expected if name in got}


def _ratio(expected: np.ndarray, got: np.ndarray, tolerance: Any) -> tuple[float, float | None, float | None]:
    """The largest distance as a multiple of what is allowed, with both."""
    if expected.shape != got.shape:
        return float("inf"), None, None
    if tolerance is None or expected.dtype.kind != "f":
        return (0.0 if (expected == got).all() else float("inf")), None, None
    if (np.isfinite(expected) != np.isfinite(got)).any():
        return float("inf"), None, None
    allowed = tolerance.atol + tolerance.rtol * np.abs(expected.astype("float64"))
    distance = np.nan_to_num(np.abs(got.astype("float64") - expected.astype("float64")))
    worst = np.unravel_index(np.argmax(distance / allowed), distance.shape) if distance.size else None
    if worst is None:
        return 0.0, None, None
    return float((distance / allowed)[worst]), float(distance[worst]), float(allowed[worst])


def _told(cell: Cell) -> str:
    return (
        cell.reason if cell.status == "failed" else "" if cell.status == "passed" else f"{cell.status}: {cell.message}"
    )


def prove(name: str, folder: str, fresh: int, wanted: Sequence[str], endpoint: str) -> dict[str, Any]:
    """One model as plain data; runs in a process of its own.

    Args:
        name: of the model.
        folder: for everything that is written.
        fresh: rows for false alarms; 0 for none.
        wanted: parts of the names of the faults to plant; empty for all.
        endpoint: of a running Chromium.
    """
    proving = Proving(name, Path(folder), endpoint)
    calm = [asdict(proving.calm(format_, fresh)) for format_ in models.MODELS[name].formats if fresh]
    scores = [asdict(s) for s in proving.scores(lambda f: not wanted or any(part in f.name for part in wanted))]
    return {"calm": calm, "scores": scores}
