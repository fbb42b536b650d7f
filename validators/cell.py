"""The job of one cell: feed every sample set to an artifact in its runtime and compare with the reference.

In: a JSON request that names an artifact, a row of `validators.registry` and a release directory with evidence. Out: a
`Cell` as JSON, `passed` or `failed`. What raises here (a runtime that breaks) becomes `errored` in the supervisor.
"""

import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from exporters.contract import Signature
from validators.compare import NOTHING, SHAPE, compare, unmeasured
from validators.contract import Cell, Placement, TensorDiff, Tensors
from validators.evidence import read_evidence
from validators.feeding import Patience, UnsteadyOutput, feed
from validators.manifest import SampleSet
from validators.registry import RuntimeRow, runtime
from validators.samples import fixed_batch
from validators.tolerance import dtype_name, tolerances

WRONG_DEVICE = "wrong device"


def run(request: Mapping[str, Any]) -> dict[str, Any]:
    """Runs one cell.

    Args:
        request: `release` (directory with `evidence/`), `artifact` (folder or file, path), `format`, `variant`,
            `signature` (of the artifact), `runtime`, `device`, `options` (beside the row's own), `atol` and `rtol`
            (None for the default), `sample_seconds` (see `validators.feeding.Patience`).

    Returns:
        The cell as JSON.
    """
    started = time.monotonic()
    row = runtime(request["runtime"], request["device"])
    signature = TypeAdapter(Signature).validate_python(request["signature"])
    evidence = read_evidence(Path(request["release"]))
    options = {**row.options, **request["options"]}
    patience = Patience(request["sample_seconds"])
    fixed = fixed_batch(signature.inputs)
    diffs: list[TensorDiff] = []
    skipped: dict[str, str] = {}
    with import_module(row.module).load(Path(request["artifact"]), signature, row.device, options) as loaded:
        for sample_set in sorted(evidence.sets, key=_turn):
            if why := _another_batch(sample_set, fixed) or patience.refuses(sample_set.rows):
                skipped[sample_set.name] = why
                continue
            reference = evidence.reference(sample_set)
            allowed = tolerances(
                reference, atol=request["atol"], rtol=request["rtol"], dtypes=_computed_in(row, reference)
            )
            try:
                actual = feed(patience.watch(loaded.infer), evidence.samples(sample_set), sample_set.batch)
            except UnsteadyOutput as error:
                diffs.append(unmeasured(error.output, sample_set.name, SHAPE, error.message))
            else:
                diffs += compare(reference, actual, sample_set=sample_set.name, tolerances=allowed)
        placement = loaded.placement
    reason, message = _judge(row, placement, diffs)
    cell = Cell(
        format=request["format"],
        variant=request["variant"],
        runtime=row.name,
        device=row.device,
        status="failed" if reason else "passed",
        reason=reason,
        message=message,
        placement=placement,
        diffs=tuple(diffs),
        skipped=skipped,
        seconds=round(time.monotonic() - started, 3),
    )
    answer: dict[str, Any] = TypeAdapter(Cell).dump_python(cell, mode="json")
    return answer


def _turn(sample_set: SampleSet) -> tuple[int, bool, int]:
    """When a set has its turn: first those of many small calls, which tell soonest how fast a runtime is.

    The user's own samples come before seeded ones of the same batch: they say most if there is no time for all.
    """
    return sample_set.batch, sample_set.origin != "user", sample_set.rows


def _another_batch(sample_set: SampleSet, fixed: int | None) -> str:
    """Why an artifact cannot be held against a set because of its batch; empty when it can.

    One with a fixed batch sees only the sets that the original was fed in the same batch: a model may mix the rows of a
    batch (a maximum over all of it), and then row by row is another question.
    """
    if fixed in {None, sample_set.batch}:
        return ""
    return f"fed in batches of {sample_set.batch}, the artifact takes {fixed}"


def _computed_in(row: RuntimeRow, reference: Tensors) -> dict[str, str]:
    """Outputs whose declared type the runtime lacks, with the type it computes them in."""
    declared = {name: dtype_name(array) for name, array in reference.items()}
    return {name: row.computes[dtype] for name, dtype in declared.items() if dtype in row.computes}


def _judge(row: RuntimeRow, placement: Placement, diffs: Sequence[TensorDiff]) -> tuple[str, str]:
    """The reason why the cell failed, and its sentence; two empty strings when it passed."""
    if placement.device != row.device:
        return WRONG_DEVICE, f"asked for {row.device}, ran on {placement.device} ({placement.adapter})"
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
