"""Chooses the one call of a failed cell that is diagnosed.

In: the cell and the evidence of its release. Out: a `FailingCall`.
"""

from dataclasses import dataclass
from pathlib import Path

from exporters.errors import BadInput
from flows.diagnose.experiments import Experiments
from flows.diagnose.target import DiagnosisTarget
from validators.contract import Cell, SampleSet, Tensors
from validators.release.evidence import Evidence, read_evidence
from validators.samples import fixed_batch
from validators.samples.feeding import batches


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingCall:
    """Describes one call of a failed cell.

    Attributes:
        inputs: folder of its inputs.
        fed: the same inputs, in memory.
        expected: the original's outputs; those without a row axis are left out.
        output: the output with the largest difference; empty where nothing was compared.
        sample_set: the sample set that the rows are from.
        rows: number of rows.
    """

    inputs: Path
    fed: Tensors
    expected: Tensors
    output: str
    sample_set: str
    rows: int


_MOST_ROWS = 8
"""Rows beyond which a call costs more memory than it adds evidence: everything that each layer computes is kept."""


def choose_failing_call(target: DiagnosisTarget, cell: Cell, experiments: Experiments) -> FailingCall:
    """Chooses the batch with the worst row, from a sample set whose batches have about 8 rows.

    Raises:
        BadInput: the evidence cannot be read, or has nothing that this artifact takes.
    """
    evidence = read_evidence(target.release)
    fixed = fixed_batch(target.artifact.signature.inputs) if target.artifact.signature else None
    sets = [s for s in evidence.sets if fixed in {None, s.batch} and s.name not in cell.skipped]
    failed_diffs = {diff.sample_set: diff for diff in cell.diffs if not diff.passed}
    if failed_diffs:
        sets = [s for s in sets if s.name in failed_diffs]
    if not sets:
        raise BadInput(f"{cell.key}: the evidence has no sample set that this artifact was fed")
    chosen = min(sets, key=lambda s: (s.batch > _MOST_ROWS, abs(_MOST_ROWS - s.batch)))
    diff = failed_diffs.get(chosen.name)
    row = diff.worst.index[0] if diff and diff.worst and diff.worst.index else 0
    return _call(evidence, chosen, min(row, chosen.rows - 1), diff.name if diff else "", experiments)


def _call(evidence: Evidence, chosen: SampleSet, row: int, output: str, experiments: Experiments) -> FailingCall:
    number = row // chosen.batch
    tensors = list(batches(evidence.samples(chosen), chosen.batch))[number]
    reference = evidence.reference(chosen)
    by_rows = {name: array for name, array in reference.items() if array.shape[:1] == (chosen.rows,)}
    return FailingCall(
        inputs=experiments.write_inputs(tensors),
        fed=tensors,
        expected=list(batches(by_rows, chosen.batch))[number] if by_rows else {},
        output=output,
        sample_set=chosen.name,
        rows=len(next(iter(tensors.values()))),
    )
