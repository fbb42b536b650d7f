"""Chooses the one call of a failed cell that is looked into."""

from dataclasses import dataclass
from pathlib import Path

from exporters.errors import BadInput
from flows.diagnose.experiments import Laboratory
from flows.diagnose.target import Subject
from validators.contract import Cell, SampleSet, Tensors
from validators.release.evidence import Evidence, read_evidence
from validators.samples import fixed_batch
from validators.samples.feeding import batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """One call.

    Attributes:
        inputs: folder of its inputs.
        fed: the same.
        expected: what the original gave; outputs that are not by rows are left out.
        output: the output that is furthest off; empty where nothing was compared.
        sample_set: where the rows are from.
        rows: how many.
    """

    inputs: Path
    fed: Tensors
    expected: Tensors
    output: str
    sample_set: str
    rows: int


_MOST = 8
"""Rows beyond which a call costs more memory than it adds evidence: everything that each layer computes is kept."""


def failing_call(subject: Subject, cell: Cell, laboratory: Laboratory) -> Sampled:
    """The inputs of one call that fails: of many rows, and of these the worst.

    Raises:
        BadInput: the evidence cannot be read, or has nothing that this artifact takes.
    """
    evidence = read_evidence(subject.release)
    fixed = fixed_batch(subject.artifact.signature.inputs) if subject.artifact.signature else None
    sets = [s for s in evidence.sets if fixed in {None, s.batch} and s.name not in cell.skipped]
    failing = {diff.sample_set: diff for diff in cell.diffs if not diff.passed}
    if failing:
        sets = [s for s in sets if s.name in failing]
    if not sets:
        raise BadInput(f"{cell.key}: the evidence has no sample set that this artifact was fed")
    chosen = min(sets, key=lambda s: (s.batch > _MOST, abs(_MOST - s.batch)))
    diff = failing.get(chosen.name)
    row = diff.worst.index[0] if diff and diff.worst and diff.worst.index else 0
    return _call(evidence, chosen, min(row, chosen.rows - 1), diff.name if diff else "", laboratory)


def _call(evidence: Evidence, chosen: SampleSet, row: int, output: str, laboratory: Laboratory) -> Sampled:
    number = row // chosen.batch
    tensors = list(batches(evidence.samples(chosen), chosen.batch))[number]
    reference = evidence.reference(chosen)
    by_rows = {name: array for name, array in reference.items() if array.shape[:1] == (chosen.rows,)}
    return Sampled(
        inputs=laboratory.keep(tensors),
        fed=tensors,
        expected=list(batches(by_rows, chosen.batch))[number] if by_rows else {},
        output=output,
        sample_set=chosen.name,
        rows=len(next(iter(tensors.values()))),
    )
