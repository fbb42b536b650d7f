import dataclasses
import itertools

import pytest

from exporters.contract import Artifact
from validators.contract import Cell, Placement, Requirement, TensorDiff
from validators.gate import judge

EVIDENCE = {"sample_sets": ["seeded_batch2"], "outputs": ["y"]}
ONNX = Requirement(format="onnx", runtime="onnxruntime", device="cpu")
TFLITE = Requirement(format="tflite", runtime="litert-xnnpack", device="cpu")
DIFF = TensorDiff(
    name="y",
    sample_set="seeded_batch2",
    problem="",
    message="",
    elements=6,
    failing=0,
    max_abs=1e-8,
    max_rel=1e-7,
    nonfinite_mismatches=0,
    worst=None,
    tolerance=None,
)


def artifact(key="onnx/default", status="exported", reason=""):
    fmt, variant = key.split("/")
    return Artifact(format=fmt, variant=variant, status=status, reason=reason, path=f"artifacts/{key}")


def cell(key="onnx/default", runtime="onnxruntime", device="cpu", status="passed", **fields):
    fmt, variant = key.split("/")
    if status in {"passed", "failed"}:
        fields.setdefault("placement", Placement(device=device, runtime=f"{runtime} 1.0", adapter="CPU"))
        fields.setdefault("diffs", (DIFF,))
    return Cell(format=fmt, variant=variant, runtime=runtime, device=device, status=status, **fields)


def lite(variant, status="passed", **fields):
    return cell(f"tflite/{variant}", "litert-xnnpack", status=status, **fields)


def found(verdict):
    return [(reason.code, reason.subject) for reason in verdict.reasons]


def one(**arguments):
    defaults = {"cells": [cell()], "artifacts": [artifact()], "required": [ONNX], **EVIDENCE}
    arguments = defaults | arguments
    verdict = judge(**arguments)
    assert verdict.passed is (not verdict.reasons)
    assert all(reason.code and reason.subject and reason.message for reason in verdict.reasons)
    return verdict


def test_a_release_goes_out_when_every_required_cell_passed():
    verdict = one()
    assert verdict.passed
    assert verdict.exit_code == 0
    assert verdict.required == (ONNX,)


def test_an_empty_report_is_refused():
    verdict = one(cells=[])
    assert found(verdict) == [("empty report", "release"), ("missing required cell", "onnx/default onnxruntime cpu")]
    assert verdict.exit_code == 1


def test_a_policy_that_requires_nothing_proves_nothing():
    assert found(one(required=[])) == [("empty report", "policy")]


def test_evidence_without_samples_or_outputs_proves_nothing():
    for nothing in ("sample_sets", "outputs"):
        assert found(one(**{nothing: []})) == [("incomplete cell", "onnx/default onnxruntime cpu")]


def test_a_required_cell_that_did_not_run_is_missing():
    verdict = one(required=[ONNX, TFLITE])
    assert found(verdict) == [("missing required cell", "tflite litert-xnnpack cpu")]
    assert verdict.reasons[0].message.endswith("no tflite artifact was exported")


def test_an_artifact_of_a_status_nobody_knows_is_no_artifact():
    verdict = one(artifacts=[artifact(), artifact("tflite/dynamic", "fine")], required=[ONNX, TFLITE])
    assert found(verdict) == [("missing required cell", "tflite litert-xnnpack cpu")]


@pytest.mark.parametrize("change", [{"runtime": "other"}, {"device": "gpu"}, {"key": "tflite/default"}])
def test_a_cell_in_another_runtime_device_or_format_does_not_stand_in(change):
    verdict = one(cells=[cell(**change)], artifacts=[artifact(), artifact("tflite/default")])
    assert ("missing required cell", "onnx/default onnxruntime cpu") in found(verdict)


def test_a_failed_cell_refuses_with_its_own_reason():
    verdict = one(cells=[cell(status="failed", reason="tolerance exceeded", message="y is off by 3")])
    assert found(verdict) == [("tolerance exceeded", "onnx/default onnxruntime cpu")]
    assert verdict.reasons[0].message == "y is off by 3"
    assert verdict.exit_code == 1


def test_a_cell_that_failed_refuses_even_where_nobody_required_it():
    verdict = one(cells=[cell(), cell(runtime="extra", status="failed", reason="constant output", message="zeros")])
    assert found(verdict) == [("constant output", "onnx/default extra cpu")]


@pytest.mark.parametrize("status", ["errored", "unavailable", "limited"])
def test_what_never_ran_is_no_reason_where_nobody_required_it(status):
    assert one(cells=[cell(), cell(runtime="extra", status=status, reason="why")]).passed


@pytest.mark.parametrize(("status", "exit_code"), [("errored", 3), ("unavailable", 1), ("limited", 1)])
def test_a_required_cell_that_never_ran_refuses_under_its_own_name(status, exit_code):
    verdict = one(cells=[cell(status=status, reason="timeout", message="after 60 s")])
    assert found(verdict) == [(status, "onnx/default onnxruntime cpu")]
    assert verdict.reasons[0].message == "timeout: after 60 s"
    assert verdict.exit_code == exit_code


def test_a_status_nobody_knows_satisfies_nothing():
    assert found(one(cells=[cell(status="fine")])) == [("missing required cell", "onnx/default onnxruntime cpu")]


def test_broken_comes_before_refused_in_the_exit_code():
    cells = [cell(status="failed", reason="tolerance exceeded"), lite("dynamic", "errored", reason="crashed (SIGSEGV)")]
    verdict = one(cells=cells, artifacts=[artifact(), artifact("tflite/dynamic")], required=[ONNX, TFLITE])
    assert {code for code, _ in found(verdict)} == {"tolerance exceeded", "errored"}
    assert verdict.exit_code == 3


@pytest.mark.parametrize("placement", [None, Placement(device="gpu", runtime="onnxruntime 1.0", adapter="CUDA")])
@pytest.mark.parametrize("required", [[ONNX], [TFLITE]])
def test_a_cell_that_ran_elsewhere_than_asked_is_refused_required_or_not(placement, required):
    cells = [cell(placement=placement), lite("dynamic")]
    verdict = one(cells=cells, artifacts=[artifact(), artifact("tflite/dynamic")], required=required)
    assert found(verdict) == [("wrong device", "onnx/default onnxruntime cpu")]


@pytest.mark.parametrize("diffs", [(), (DIFF, dataclasses.replace(DIFF, elements=0))])
def test_a_cell_that_passed_by_comparing_nothing_is_refused(diffs):
    assert found(one(cells=[cell(diffs=diffs)])) == [("nothing compared", "onnx/default onnxruntime cpu")]


@pytest.mark.parametrize(
    "lie",
    [{"problem": "shape mismatch", "message": "output `y` has shape [1]"}, {"failing": 1}, {"nonfinite_mismatches": 2}],
)
def test_a_cell_that_says_passed_over_a_difference_that_did_not_is_inconsistent(lie):
    diffs = (DIFF, dataclasses.replace(DIFF, **lie))
    assert found(one(cells=[cell(diffs=diffs)])) == [("inconsistent cell", "onnx/default onnxruntime cpu")]


def test_a_passed_cell_of_an_artifact_that_was_not_exported_proves_nothing():
    verdict = one(cells=[cell("onnx/stale")])
    assert found(verdict) == [
        ("missing required cell", "onnx/default onnxruntime cpu"),
        ("unknown artifact", "onnx/stale onnxruntime cpu"),
    ]
    verdict = one(artifacts=[artifact(status="limited", reason="no string ops")])
    assert ("unknown artifact", "onnx/default onnxruntime cpu") in found(verdict)


def test_a_digest_that_does_not_match_is_refused_though_all_cells_passed():
    verdict = one(digest_problems=["artifacts/onnx/default/model.onnx: got aa, expected bb"])
    assert found(verdict) == [("digest mismatch", "release")]
    assert "model.onnx" in verdict.reasons[0].message
    assert verdict.exit_code == 1


# Variants


BOTH = [artifact("tflite/batch1"), artifact("tflite/dynamic")]


def test_a_variant_that_one_runtime_cannot_run_is_tolerated_when_its_sibling_passed_there():
    cells = [lite("batch1"), lite("dynamic", "limited", reason="loop"), cell("tflite/dynamic", "litert-reference")]
    assert one(cells=cells, artifacts=BOTH, required=[TFLITE]).passed


def test_a_variant_that_no_runtime_can_run_does_not_ship_although_its_sibling_passed():
    cells = [lite("batch1"), lite("dynamic", "limited", reason="loop")]
    verdict = one(cells=cells, artifacts=BOTH, required=[TFLITE])
    assert found(verdict) == [("unproven artifact", "tflite/dynamic")]
    assert verdict.reasons[0].message.endswith("no cell proves it: litert-xnnpack cpu is limited: loop")


def test_a_limited_export_without_any_cell_is_tolerated_when_its_sibling_passed():
    artifacts = [artifact("tflite/batch1"), artifact("tflite/dynamic", "limited", "loops need a static batch")]
    assert one(cells=[lite("batch1")], artifacts=artifacts, required=[TFLITE]).passed


def test_a_sibling_that_passed_in_another_runtime_does_not_help_a_limited_variant():
    other = cell("tflite/batch1", "litert-reference")
    verdict = one(cells=[other, lite("dynamic", "limited", reason="loop")], artifacts=BOTH, required=[TFLITE])
    assert found(verdict) == [
        ("limited", "tflite/dynamic litert-xnnpack cpu"),
        ("missing required cell", "tflite/batch1 litert-xnnpack cpu"),
    ]


def test_a_sibling_whose_record_belies_its_pass_excuses_no_limited_variant():
    cells = [lite("batch1", diffs=()), lite("dynamic", "limited", reason="loop")]
    verdict = one(cells=cells, artifacts=BOTH, required=[TFLITE])
    assert {code for code, _ in found(verdict)} == {"limited", "nothing compared"}


def test_all_variants_limited_is_refused_as_limited():
    cells = [lite("batch1", "limited", reason="no string ops"), lite("dynamic", "limited", reason="no string ops")]
    verdict = one(cells=cells, artifacts=BOTH, required=[TFLITE])
    assert {code for code, _ in found(verdict)} == {"limited"}
    assert verdict.exit_code == 1


def test_an_export_that_is_limited_everywhere_is_refused_as_limited():
    artifacts = [
        artifact("tflite/batch1", "limited", "no strings"),
        artifact("tflite/dynamic", "limited", "no strings"),
    ]
    verdict = one(cells=[cell()], artifacts=[artifact(), *artifacts], required=[ONNX, TFLITE])
    assert found(verdict) == [("limited", "tflite/batch1"), ("limited", "tflite/dynamic")]
    assert verdict.reasons[0].message == "no strings"


@pytest.mark.parametrize("status", ["failed", "errored", "unavailable"])
def test_a_sibling_that_passed_excuses_no_other_fate(status):
    verdict = one(cells=[lite("batch1"), lite("dynamic", status, reason=status)], artifacts=BOTH, required=[TFLITE])
    assert found(verdict) == [(status, "tflite/dynamic litert-xnnpack cpu")]


def test_an_exporter_that_broke_is_broken_though_a_sibling_passed():
    artifacts = [artifact("tflite/batch1"), artifact("tflite/dynamic", "errored", "crashed (SIGSEGV)")]
    required = [TFLITE, dataclasses.replace(TFLITE, runtime="litert-reference")]
    cells = [lite("batch1"), cell("tflite/batch1", "litert-reference")]
    verdict = one(cells=cells, artifacts=artifacts, required=required)
    assert found(verdict) == [("errored", "tflite/dynamic")], "said once, not once for each requirement"
    assert verdict.exit_code == 3


def test_an_exported_variant_that_no_required_runtime_saw_is_not_proven():
    verdict = one(cells=[lite("batch1")], artifacts=BOTH, required=[TFLITE])
    assert found(verdict) == [("missing required cell", "tflite/dynamic litert-xnnpack cpu")]


def test_every_exported_variant_needs_a_cell_in_every_required_runtime():
    required = [TFLITE, dataclasses.replace(TFLITE, runtime="litert-reference")]
    cells = [lite("batch1"), lite("dynamic"), cell("tflite/dynamic", "litert-reference")]
    verdict = one(cells=cells, artifacts=BOTH, required=required)
    assert found(verdict) == [("missing required cell", "tflite/batch1 litert-reference cpu")]
    assert one(cells=[*cells, cell("tflite/batch1", "litert-reference")], artifacts=BOTH, required=required).passed


# Coverage


THREE = {"sample_sets": ["seeded_batch2", "user", "slow"], "outputs": ["y", "z"]}


def diffs(*pairs):
    return tuple(dataclasses.replace(DIFF, sample_set=sample_set, name=name) for sample_set, name in pairs)


def test_a_passed_cell_has_compared_every_output_over_every_set_that_it_does_not_name_as_skipped():
    pairs = list(itertools.product(THREE["sample_sets"], THREE["outputs"]))
    assert one(cells=[cell(diffs=diffs(*pairs))], **THREE).passed
    assert one(cells=[cell(diffs=diffs(*pairs[:2]), skipped={"user": "why", "slow": "why"})], **THREE).passed
    for left_out in pairs:
        partial = [pair for pair in pairs if pair != left_out]
        verdict = one(cells=[cell(diffs=diffs(*partial))], **THREE)
        assert found(verdict) == [("incomplete cell", "onnx/default onnxruntime cpu")]
        assert verdict.reasons[0].message.endswith(f"it lacks `{left_out[1]}` over `{left_out[0]}`")


def test_a_skipped_set_excuses_no_other():
    verdict = one(cells=[cell(diffs=diffs(("seeded_batch2", "y")), skipped={"slow": "too slow"})], **THREE)
    says = "it lacks `z` over `seeded_batch2`, `y` over `user`, `z` over `user`"
    assert verdict.reasons[0].message.endswith(says)


def test_many_gaps_are_counted():
    verdict = one(sample_sets=[f"set{n}" for n in range(9)])
    assert verdict.reasons[0].message.endswith("`y` over `set3` and 5 more")


@pytest.mark.parametrize("compared", ["seeded_batch2", "made up"])
def test_a_cell_that_skipped_every_set_is_incomplete_whatever_it_compared(compared):
    everything = dict.fromkeys(EVIDENCE["sample_sets"], "too slow")
    verdict = one(cells=[cell(diffs=diffs((compared, "y")), skipped=everything)])
    assert found(verdict) == [("incomplete cell", "onnx/default onnxruntime cpu")]


# What ships


@pytest.mark.parametrize(("status", "exit_code"), [("errored", 3), ("unavailable", 1), ("limited", 1), (None, 1)])
def test_an_exported_artifact_that_nothing_proves_does_not_ship_though_nobody_required_its_format(status, exit_code):
    cells = [cell(), *([lite("dynamic", status, reason="why")] if status else [])]
    verdict = one(cells=cells, artifacts=[artifact(), artifact("tflite/dynamic")])
    assert found(verdict) == [("unproven artifact", "tflite/dynamic")]
    assert verdict.exit_code == exit_code


def test_a_format_that_nobody_required_ships_once_any_runtime_proves_it():
    assert one(cells=[cell(), lite("dynamic")], artifacts=[artifact(), artifact("tflite/dynamic")]).passed


def test_an_artifact_that_was_never_exported_needs_no_proof_where_nobody_required_it():
    assert one(artifacts=[artifact(), artifact("tflite/dynamic", "errored", "crashed")]).passed


def test_a_failed_cell_is_not_reported_a_second_time_as_an_unproven_artifact():
    cells = [cell(), lite("dynamic", "failed", reason="constant output")]
    verdict = one(cells=cells, artifacts=[artifact(), artifact("tflite/dynamic")])
    assert found(verdict) == [("constant output", "tflite/dynamic litert-xnnpack cpu")]


def test_a_name_that_begins_like_another_hides_nothing():
    cells = [cell(), lite("dynamic2", "failed", reason="constant output")]
    verdict = one(cells=cells, artifacts=[artifact(), artifact("tflite/dynamic"), artifact("tflite/dynamic2")])
    assert ("unproven artifact", "tflite/dynamic") in found(verdict)


def test_the_verdict_does_not_depend_on_the_order_in_which_cells_finished():
    cells = [
        lite("batch1", "failed", reason="constant output"),
        lite("dynamic", "errored", reason="timeout"),
        cell(status="failed", reason="nonfinite mismatch"),
        cell(runtime="extra", status="failed", reason="shape mismatch"),
    ]
    verdicts = {
        judge(
            cells=order,
            artifacts=[artifact(), *BOTH],
            required=[TFLITE, ONNX],
            digest_problems=["x: changed"],
            **EVIDENCE,
        )
        for order in itertools.permutations(cells)
    }
    assert len(verdicts) == 1
    assert found(verdicts.pop())[:2] == [
        ("digest mismatch", "release"),
        ("errored", "tflite/dynamic litert-xnnpack cpu"),
    ]
