"""Artifacts that are wrong on purpose are refused, each with its own reason, and right ones are not.

Every artifact here loads and runs. The real cell and the real gate judge it.
"""

import shutil
from dataclasses import replace

import numpy as np
import pytest

from exporters.formats.registry import EXPORTERS
from exporters.lowering.tracing.forms import FORMS
from exporters.source.model_source import ModelSource
from validators.release.evidence import read_evidence
from validators.runtimes.registry import RUNTIMES

pytestmark = pytest.mark.slow

TWINS = "tests.contract.more_models:twins"
VARIANTS = {row.format: row.variant for row in reversed(EXPORTERS)}
ROWS = [pytest.param(row, id=f"{row.format} {row.name}") for row in RUNTIMES if row.accelerator != "cuda"]
ON_CPU = [row for row in ROWS if row.values[0].device == "cpu"]
"""For faults that tell nothing of a GPU which another fault does not."""
ONNX = [row for row in ROWS if row.values[0].name == "onnxruntime"]


def variant(row):
    """The variant that a row runs; LiteRT.js takes no dynamic batch."""
    return "batch1" if row.name.startswith("litertjs") else VARIANTS[row.format]


def key(row):
    return f"{row.format}/{variant(row)}"


SINGLE = {"seeded_batch1", "edges", "beyond"}


def sets(row):
    return SINGLE if variant(row) == "batch1" else SINGLE | {"seeded_batch2", "seeded_batch7"}


@pytest.fixture
def proof(bench):
    return bench.proof(TWINS)


@pytest.fixture
def copied(proof, tmp_path):
    """The good release once more, free to be changed."""
    shutil.copytree(proof.release, tmp_path / "release")
    return tmp_path / "release"


@pytest.fixture
def wrong(bench, proof, copied):
    """Tampers with an artifact of the copy and runs its cell."""

    def run(row, fault, **needs):
        artifact = proof.artifacts[key(row)]
        request = {"format": row.format, "fault": fault, "folder": str(copied / artifact.path), **needs}
        bench.call("tests.tamper:tamper", request)
        return bench.cell(copied, artifact, row)

    return run


def reasons_with(proof, cell):
    """The gate's reasons when this cell stands in the place of the good one."""
    verdict = proof.verdict(cell)
    assert verdict.passed == (not verdict.reasons)
    return [(reason.code, reason.subject) for reason in verdict.reasons]


def refused(proof, cell, reason):
    """Asserts that cell and gate refuse for this reason; returns the outputs that fail and the sets they fail over."""
    assert (cell.status, cell.reason) == ("failed", reason), cell.message
    assert reasons_with(proof, cell) == [(reason, cell.key)]
    assert cell.message
    failed = [diff for diff in cell.diffs if not diff.passed]
    assert failed[0].message in cell.message
    return {diff.name for diff in failed}, {diff.sample_set for diff in failed}


def allowed(proof):
    """How far `third` may move over each sample set, at its largest value there."""
    evidence = read_evidence(proof.release)
    largest = {s.name: np.abs(evidence.reference(s)["third"][:, 0]).max() for s in evidence.sets}
    diffs = [diff for diff in proof.cells["onnx/default onnxruntime cpu"].diffs if diff.name == "third"]
    return [float(diff.tolerance.atol + diff.tolerance.rtol * largest[diff.sample_set]) for diff in diffs]


@pytest.mark.parametrize("row", ROWS)
def test_the_untouched_artifact_passes(proof, row):
    cell = next(
        c for c in proof.cells.values() if (c.runtime, c.device, c.variant) == (row.name, row.device, variant(row))
    )
    assert cell.status == "passed", cell.message
    assert reasons_with(proof, cell) == []


@pytest.mark.parametrize("row", ONNX)
def test_an_artifact_that_was_only_written_again_passes(wrong, row):
    cell = wrong(row, "nothing")
    assert (cell.status, cell.reason) == ("passed", "")


@pytest.mark.parametrize("row", ROWS)
def test_one_weight_that_moves_an_output_by_ten_tolerances_is_refused(wrong, proof, row):
    by = 10 * max(allowed(proof))
    cell = wrong(row, "weight", by=by)
    assert refused(proof, cell, "tolerance exceeded") == ({"third"}, sets(row))
    worst = max(diff.max_abs for diff in cell.diffs)
    assert worst == pytest.approx(by, rel=0.05)
    for diff in cell.diffs:
        if not diff.passed:  # one of its three columns
            assert diff.failing == diff.elements / 3
            assert diff.worst.index[1] == 0


@pytest.mark.parametrize("row", ON_CPU)
def test_one_weight_that_moves_an_output_by_a_tenth_of_a_tolerance_is_not(wrong, proof, row):
    assert wrong(row, "weight", by=0.02 * min(allowed(proof))).status == "passed"


@pytest.mark.parametrize("row", ROWS)
def test_two_swapped_outputs_are_refused(wrong, proof, row):
    assert refused(proof, wrong(row, "swapped outputs"), "tolerance exceeded") == ({"first", "second"}, sets(row))


@pytest.mark.parametrize("row", ROWS)
def test_two_swapped_inputs_of_one_shape_are_refused(wrong, proof, row):
    cell = wrong(row, "swapped inputs")
    # The edges are the same for both: zeros, ones, the ends of the range.
    assert refused(proof, cell, "tolerance exceeded") == ({"first", "second", "third"}, sets(row) - {"edges"})


@pytest.mark.parametrize("row", ON_CPU)
def test_a_stale_artifact_of_the_same_architecture_is_refused(bench, proof, copied, row):
    artifact = proof.artifacts[key(row)]
    shutil.rmtree(copied / artifact.path)
    shutil.copytree(stale(bench, artifact.key), copied / artifact.path)
    cell = bench.cell(copied, artifact, row)
    assert refused(proof, cell, "tolerance exceeded") == ({"first", "second", "third"}, sets(row))


def stale(bench, artifact):
    """The artifact of a model that differs by its seed only."""
    folder = bench.folder / "stale"
    if not folder.exists():
        model = bench.build(TWINS, seed=8)
        source = ModelSource(path=model)
        forms = bench.lower(source, folder, list(FORMS)).unwrap().forms
        for row in EXPORTERS:
            if row.key == f"tflite/{row.variant}" or row.variant == VARIANTS[row.format]:
                destination = folder / row.key
                destination.parent.mkdir(exist_ok=True)
                bench.export(row, source, forms.get(row.source), destination).unwrap()
    return folder / artifact


@pytest.mark.parametrize("row", ONNX)
@pytest.mark.parametrize(
    "case",
    [
        ("missing output", "missing output", "second"),
        ("extra output", "extra output", "fourth"),
        ("dtype", "dtype mismatch", "first"),
        ("shape", "shape mismatch", "first"),
        ("constant", "constant output", "first"),
    ],
    ids=lambda case: case[0],
)
def test_each_fault_of_an_output_is_refused_for_its_own_reason(wrong, proof, row, case):
    fault, reason, output = case
    assert refused(proof, wrong(row, fault), reason) == ({output}, sets(row))


@pytest.mark.parametrize("row", ONNX)
def test_nan_in_one_output_of_one_rare_row_is_refused(wrong, proof, row):
    evidence = read_evidence(proof.release)
    columns = {s.name: evidence.samples(s)["zeta"][:, 0] for s in evidence.sets}
    second, largest = np.sort(np.concatenate(list(columns.values())))[-2:]
    rare = max(columns, key=lambda name: columns[name].max())
    cell = wrong(row, "nan in a rare row", above=float((second + largest) / 2))
    assert refused(proof, cell, "nonfinite mismatch") == ({"first"}, {rare})
    (diff,) = [diff for diff in cell.diffs if not diff.passed]
    assert diff.nonfinite_mismatches == 3
    assert diff.worst.index[0] == columns[rare].argmax()
    assert diff.worst.actual == "nan"


@pytest.mark.parametrize("row", ONNX)
def test_an_output_of_one_row_that_would_broadcast_is_refused_where_the_batch_is_larger(wrong, proof, row):
    outputs, over = refused(proof, wrong(row, "one row"), "shape mismatch")
    assert (outputs, over) == ({"first"}, {"seeded_batch2", "seeded_batch7"})


@pytest.mark.parametrize("row", ONNX)
def test_an_artifact_that_is_wrong_at_one_batch_size_only_is_refused(wrong, proof, row):
    assert refused(proof, wrong(row, "wrong at batch 7"), "tolerance exceeded") == ({"first"}, {"seeded_batch7"})


def test_the_gate_refuses_a_changed_byte_even_where_every_cell_passed(proof):
    verdict = proof.verdict(digest_problems=["artifacts/onnx/default/model.onnx: was changed"])
    assert [reason.code for reason in verdict.reasons] == ["digest mismatch"]


def test_a_cell_that_ran_elsewhere_does_not_count_although_its_numbers_agree(proof):
    cell = proof.cells["onnx/default onnxruntime cpu"]
    elsewhere = replace(cell, placement=replace(cell.placement, device="gpu"))
    assert reasons_with(proof, elsewhere) == [("wrong device", cell.key)]
