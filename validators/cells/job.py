"""Runs one cell as a job: feeds every sample set to an artifact in its runtime and compares with the reference.

In: an artifact, a row of `validators.runtimes.registry` and a release directory with evidence. Out: a `Cell`. An
exception here (a runtime that breaks) becomes `errored` in the supervisor.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from exporters.contract import Artifact
from exporters.errors import Unavailable
from validators.cells.findings import findings
from validators.cells.stopwatch import Stopwatch
from validators.compare.outputs import NOTHING, SHAPE, compare, unmeasured
from validators.compare.task_metric import accuracy, fitting, function_named, scored
from validators.compare.tolerance import dtype_name, tolerances
from validators.contract import (
    Cell,
    Device,
    Gpu,
    Noise,
    Origin,
    Placement,
    SampleSet,
    Skip,
    TensorDiff,
    Tensors,
    ToleranceOverride,
)
from validators.release.evidence import Evidence, read_evidence
from validators.runtimes.registry import runtime
from validators.runtimes.row import RuntimeRow
from validators.runtimes.with_preprocessing import preprocessed
from validators.samples import misfit
from validators.samples.feeding import FeedResult, Patience, UnsteadyOutput, feed, first_rows
from validators.text import operators

WRONG_DEVICE = "wrong device"
NO_DEVICE = "no such device"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellRequest:
    """Names one cell to run.

    Attributes:
        release: directory with `evidence/`.
        artifact: the artifact to load.
        path: the artifact's file or folder.
        runtime, device: a row of `validators.runtimes.registry`.
        options: for the runtime; they override the row's.
        tolerances: the parts of this cell's tolerances that the policy sets.
        gpu: what counts as a GPU.
        sample_seconds, software_seconds: see `PolicyRecord`.
        task_output: the output that accuracy is read from; None for none.
        metric: the user's function over labels; None for none.
    """

    release: Path
    artifact: Artifact
    path: Path
    runtime: str
    device: Device
    options: Mapping[str, str]
    tolerances: tuple[ToleranceOverride, ...]
    gpu: Gpu
    sample_seconds: float
    software_seconds: float
    task_output: str | None
    metric: str | None


def run_cell(request: CellRequest) -> Cell:
    """Runs one cell: `passed`, `failed` or `unavailable`; errors of a runtime are not caught here."""
    started = time.monotonic()
    row = runtime(request.runtime, request.device)
    asked = Cell(
        format=request.artifact.format,
        variant=request.artifact.variant,
        runtime=row.name,
        device=row.device,
        status="unavailable",
    )
    try:
        cell = _compared(asked, row, request)
    except Unavailable as error:
        cell = replace(asked, reason=NO_DEVICE, message=f"{error.message}: {error.next_step}")
    return replace(cell, seconds=round(time.monotonic() - started, 3))


def _compared(asked: Cell, row: RuntimeRow, request: CellRequest) -> Cell:
    artifact = request.artifact
    signature = artifact.exported_signature()
    evidence = read_evidence(request.release)
    measured, task = evidence.noise(), _metric_over_user_set(evidence, request)
    values: dict[str, float | None] = {}
    options = {**row.options, **request.options}
    diffs: list[TensorDiff] = []
    skipped: dict[str, Skip] = {}
    rows = 0
    load = row.module.load
    started = time.perf_counter()
    with load(request.path, signature, row.device, options) as loaded:
        watch = Stopwatch(loaded, load=time.perf_counter() - started)
        infer = preprocessed(watch.infer, request.path, artifact.preprocessing, signature)

        # Evaluated during the calls: some runtimes know only after a call whether they run on a software adapter.
        def bound() -> tuple[float, str]:
            if loaded.placement.software:
                return request.software_seconds, "limits.software_seconds"
            return request.sample_seconds, "limits.sample_seconds"

        patience = Patience(bound)
        for sample_set in sorted(evidence.sets, key=_feeding_order):
            if other := misfit(artifact.variant, signature.inputs, sample_set):
                skipped[sample_set.name] = other
                continue
            reference = evidence.reference(sample_set)
            dtypes = _computed_in(row, reference, evidence, measured.get(sample_set.name, {}))
            noise = measured.get(sample_set.name, {})
            allowed = tolerances(
                reference,
                noise=noise,
                device=row.device,
                by_hand=request.tolerances,
                dtypes=dtypes,
                precision=artifact.precision,
            )
            try:
                fed = feed(infer, evidence.samples(sample_set), sample_set.batch, patience)
            except UnsteadyOutput as error:
                diffs.append(unmeasured(error.output, sample_set.name, SHAPE, error.message))
                continue
            if fed.stopped:
                skipped[sample_set.name] = Skip(kind="too slow", why=fed.stopped)
            if fed.rows:
                rows += fed.rows
                expected = first_rows(reference, sample_set, fed.rows)
                exact = first_rows(evidence.exact(sample_set), sample_set, fed.rows)
                diffs += compare(
                    expected,
                    fed.outputs,
                    sample_set=sample_set.name,
                    tolerances=allowed,
                    noise=noise,
                    exact=exact,
                )
                values[sample_set.name] = task(sample_set, fed)
        # Repetitions are for latency only: not where time was short already, nor on a software adapter.
        if not any(skip.kind == "too slow" for skip in skipped.values()) and not loaded.placement.software:
            watch.repeat()
        placement = loaded.placement
    if placement.software and request.gpu == "hardware":
        raise Unavailable(
            f"policy.gpu asks for a real card, and this is a software adapter: {placement.adapter}",
            next_step="verify the release on a machine with a card: `paritygate verify RELEASE_DIR --device gpu`",
        )
    reason, message = _judge(row, placement, diffs)
    return replace(
        asked,
        status="failed" if reason else "passed",
        reason=reason,
        message=message,
        placement=placement,
        diffs=tuple(diffs),
        skipped=skipped,
        rows=rows,
        performance=watch.read(threads=placement.threads),
        task=values.get("user"),
        findings=findings(row, placement),
    )


def _feeding_order(sample_set: SampleSet) -> tuple[int, int, int]:
    """Returns the sort key of a set: first sets of many small calls, which show soonest how fast a runtime is.

    The user's samples come before seeded ones of the same batch, and edges last: the former prove most if there is no
    time for all.
    """
    return sample_set.batch, get_args(Origin).index(sample_set.origin), sample_set.rows


def _metric_over_user_set(evidence: Evidence, request: CellRequest) -> Callable[[SampleSet, FeedResult], float | None]:
    """Returns a function that computes the task metric over the set `user`, and None over all other sets.

    The user's function comes with the request, never from the evidence: a user who verifies a release of another
    person runs no code that the release names.
    """
    labels, output, metric = evidence.labels(), request.task_output, request.metric
    function = function_named(metric) if metric else None

    def value(sample_set: SampleSet, fed: FeedResult) -> float | None:
        if labels is None or sample_set.name != "user" or fed.stopped:
            return None
        if metric and function:
            return scored(metric, function, labels, fed.outputs)
        return accuracy(labels, fed.outputs[output]) if output and fitting(labels, fed.outputs) == output else None

    return value


def _computed_in(row: RuntimeRow, reference: Tensors, evidence: Evidence, noise: Mapping[str, Noise]) -> dict[str, str]:
    """Returns the outputs that are rounded to another type than they declare, with that type.

    The original may round to half precision on its way to a float32 output, which matters only where no noise was
    measured, since the noise includes it. A runtime may lack the declared type.
    """
    unmeasured = (name for name in evidence.rounds_to if name not in noise or noise[name].floor is None)
    rounds_to = {name: evidence.rounds_to[name] for name in unmeasured}
    declared = {name: dtype_name(array) for name, array in reference.items()}
    narrowed = {name: row.computes[dtype] for name, dtype in declared.items() if dtype in row.computes}
    rounded = {name: half for name, half in rounds_to.items() if declared.get(name) in {"float32", "float64"}}
    return narrowed | rounded


def _judge(row: RuntimeRow, placement: Placement, diffs: Sequence[TensorDiff]) -> tuple[str, str]:
    """Returns the reason why the cell failed, and its sentence; two empty strings when it passed."""
    if placement.device != row.device:
        fell_back = f"; fell back: {operators(placement.fallbacks)}" if placement.fallbacks else ""
        return WRONG_DEVICE, f"asked for {row.device}, ran on {placement.device} ({placement.adapter}){fell_back}"
    if not placement.adapter.startswith(row.adapter):
        return WRONG_DEVICE, f"asked for the adapter {row.adapter}, ran on {placement.adapter}"
    if not diffs:
        return NOTHING, "no sample set was fed to the artifact"
    for diff in diffs:
        if not diff.passed:
            others = sum(not other.passed for other in diffs) - 1
            more = f" (and {others} more)" if others else ""
            return diff.problem, f"{diff.message}, sample set `{diff.sample_set}`{more}"
    return "", ""
