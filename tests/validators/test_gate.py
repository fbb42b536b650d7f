import dataclasses
import itertools
from datetime import date

import factory
import pytest

from exporters.contract import Artifact, Signature, TensorSpec
from validators.contract import Cell, Comparison, Placement, Requirement, SampleSet, Skip, TensorDiff, Waiver


def sample_set(name, rows=6, batch=2):
    return SampleSet(name=name, rows=rows, batch=batch, origin="seeded", seed=1)


EVIDENCE = {"sample_sets": [sample_set("seeded_batch2")], "outputs": ["y"]}
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


def artifact(key="onnx/default", status="exported", reason="", **fields):
    fmt, variant = key.split("/")
    if status == "exported":
        fields.setdefault("weights", factory.WEIGHTS)
    return Artifact(format=fmt, variant=variant, status=status, reason=reason, path=f"artifacts/{key}", **fields)


def cell(key="onnx/default", runtime="onnxruntime", device="cpu", status="passed", **fields):
    fmt, variant = key.split("/")
    if status in {"passed", "failed"}:
        fields.setdefault("placement", Placement(device=device, runtime=f"{runtime} 1.0", adapter="CPU"))
        fields.setdefault("diffs", (DIFF,))
        fields.setdefault("rows", 6)
    return Cell(format=fmt, variant=variant, runtime=runtime, device=device, status=status, **fields)


def lite(variant, status="passed", **fields):
    return cell(f"tflite/{variant}", "litert-xnnpack", status=status, **fields)


def found(verdict):
    return [(reason.code, reason.subject) for reason in verdict.reasons]


def one(**arguments):
    defaults = {"cells": [cell()], "artifacts": [artifact()], "required": [ONNX], **EVIDENCE}
    arguments = defaults | arguments
    verdict = factory.judged(**arguments)
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
    verdict = one(problems=["artifacts/onnx/default/model.onnx: got aa, expected bb"])
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


# OutputVariation


SETS = [sample_set("seeded_batch2"), sample_set("user", 64, 32), sample_set("slow", 4, 1)]
THREE = {"sample_sets": SETS, "outputs": ["y", "z"]}
SLOW = Skip(kind="too slow", why="70 s were spent")
BATCH = Skip(kind="other batch", why="fed in other batches")


def diffs(*pairs):
    return tuple(dataclasses.replace(DIFF, sample_set=sample_set, name=name) for sample_set, name in pairs)


def test_a_passed_cell_has_compared_every_output_over_every_set_that_it_does_not_name_as_skipped():
    pairs = list(itertools.product([each.name for each in SETS], THREE["outputs"]))
    assert one(cells=[cell(diffs=diffs(*pairs), rows=74)], **THREE).passed
    assert one(cells=[cell(diffs=diffs(*pairs[:2]), skipped={"user": SLOW, "slow": SLOW})], **THREE).passed
    for left_out in pairs:
        partial = [pair for pair in pairs if pair != left_out]
        verdict = one(cells=[cell(diffs=diffs(*partial))], **THREE)
        assert found(verdict) == [("incomplete cell", "onnx/default onnxruntime cpu")]
        assert verdict.reasons[0].message.endswith(f"it lacks `{left_out[1]}` over `{left_out[0]}`")


def test_a_skipped_set_excuses_no_other():
    verdict = one(cells=[cell(diffs=diffs(("seeded_batch2", "y")), skipped={"slow": SLOW})], **THREE)
    says = "it lacks `z` over `seeded_batch2`, `y` over `user`, `z` over `user`"
    assert verdict.reasons[0].message.endswith(says)


def test_many_gaps_are_counted():
    verdict = one(sample_sets=[sample_set(f"set{n}") for n in range(9)])
    assert verdict.reasons[0].message.endswith("`y` over `set3` and 5 more")


@pytest.mark.parametrize(("compared", "why"), [("seeded_batch2", BATCH), ("made up", BATCH), ("made up", SLOW)])
def test_a_cell_that_skipped_every_set_is_incomplete_whatever_it_compared(compared, why):
    taken = [artifact(signature=takes(1))]
    verdict = one(cells=[cell(diffs=diffs((compared, "y")), skipped={"seeded_batch2": why})], artifacts=taken)
    assert found(verdict) == [("incomplete cell", "onnx/default onnxruntime cpu")]


def takes(*batches):
    """The signature of an artifact whose inputs have these batches."""
    specs = (TensorSpec(name=f"x{n}", dtype="float32", shape=(n, 4), native="x") for n in batches)
    return Signature(inputs=tuple(specs), outputs=())


def test_a_set_of_another_batch_is_excused_only_where_the_artifact_does_not_take_it():
    left_out = cell(diffs=diffs(("seeded_batch2", "y")), skipped={"slow": BATCH})
    evidence = {"cells": [left_out], "sample_sets": [SETS[0], SETS[2]]}
    assert one(artifacts=[artifact(signature=takes(2))], **evidence).passed
    for signature, why in {
        takes(None): "takes them",
        takes(1): "takes them",
        takes(1, 2): "inputs fix different batches: 1, 2; valid is one",
        None: "takes them",
    }.items():
        verdict = one(artifacts=[artifact(signature=signature)], **evidence)
        assert found(verdict) == [("incomplete cell", left_out.key)]
        assert verdict.reasons[0].message.endswith(why)


@pytest.mark.parametrize(
    ("variant", "length", "good"), [("static", 16, True), ("static", 24, False), ("dynamic", 16, False)]
)
def test_a_set_of_another_length_is_excused_only_in_a_static_variant_that_does_not_take_it(variant, length, good):
    longer = dataclasses.replace(SETS[0], name="longer", batch=1, dynamic={"x0[1]": 24})
    shorter = dataclasses.replace(longer, name="shorter", dynamic={"x0[1]": 16})
    skipped = {"longer": Skip(kind="other length", why="x0[1] is 24")}
    key, specs = f"tflite/{variant}", (TensorSpec(name="x0", dtype="float32", shape=(1, length), native="x"),)
    verdict = one(
        cells=[cell(key, "litert-xnnpack", diffs=diffs(("shorter", "y")), skipped=skipped)],
        artifacts=[artifact(key, signature=Signature(inputs=specs, outputs=()))],
        required=[TFLITE],
        sample_sets=[shorter, longer],
    )
    assert verdict.passed == good
    assert good or found(verdict) == [("incomplete cell", f"{key} litert-xnnpack cpu")]


def test_the_original_takes_every_batch_of_its_evidence():
    placement = Placement(device="gpu", runtime="tensorflow 2.21", adapter="CUDA")
    own = cell("original/default", "keras", "gpu", placement=placement, skipped={"slow": BATCH})
    assert found(one(cells=[cell(), own], sample_sets=[SETS[0], SETS[2]]))[-1] == ("incomplete cell", own.key)


@pytest.mark.parametrize(
    ("skipped", "right", "wrong"),
    [
        ({}, {68}, {0, 67, 69}),
        ({"user": SLOW}, {36}, {0, 4, 35, 37, 68}),
        ({"slow": SLOW}, {65, 66, 67}, {0, 64, 68}),
        ({"slow": SLOW, "user": SLOW}, {33, 35}, {1, 32, 36, 68}),
    ],
)
def test_a_cell_counts_as_many_rows_as_it_can_have_been_fed(skipped, right, wrong):
    def judged(rows):
        compared = diffs(("user", "y"), ("slow", "y"))
        return one(cells=[cell(diffs=compared, skipped=skipped, rows=rows)], sample_sets=SETS[1:])

    assert all(judged(rows).passed for rows in right)
    for rows in wrong:
        (reason,) = judged(rows).reasons
        assert reason.code == "incomplete cell"
        assert f"it counts {rows} rows, and the sets that it was fed have " in reason.message


def test_a_set_that_was_not_begun_counts_no_rows():
    compared = {"diffs": diffs(("user", "y")), "skipped": {"slow": SLOW}}
    assert one(cells=[cell(**compared, rows=64)], sample_sets=SETS[1:]).passed
    assert not one(cells=[cell(**compared, rows=65)], sample_sets=SETS[1:]).passed


def test_a_set_of_a_single_call_cannot_be_broken_off():
    verdict = one(cells=[cell(skipped={"seeded_batch2": SLOW})], sample_sets=[sample_set("seeded_batch2", 2, 2)])
    assert verdict.reasons[0].message.endswith("stopped within `seeded_batch2`, which is a single call")


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
        factory.judged(
            cells=order,
            artifacts=[artifact(), *BOTH],
            required=[TFLITE, ONNX],
            problems=["x: changed"],
            **EVIDENCE,
        )
        for order in itertools.permutations(cells)
    }
    assert len(verdicts) == 1
    assert found(verdicts.pop())[:2] == [
        ("digest mismatch", "release"),
        ("errored", "tflite/dynamic litert-xnnpack cpu"),
    ]


CARD = Requirement(format="onnx", runtime="onnxruntime", device="gpu")


def attested(status="passed", *, software=False, **fields):
    if status in {"passed", "failed"}:
        fields["placement"] = Placement(device="gpu", runtime="onnxruntime 1.0", adapter="A card", software=software)
    return cell(device="gpu", status=status, **fields)


def test_a_cell_from_elsewhere_is_awaited_until_an_attestation_has_it():
    assert found(one(elsewhere=(CARD,))) == [("awaiting attestation", "onnx/default onnxruntime gpu")]
    assert one(elsewhere=(CARD,), attested=[attested()]).passed


def test_the_release_own_cell_does_not_stand_in_for_one_from_elsewhere():
    here = attested(software=True)
    assert found(one(cells=[cell(), here], elsewhere=(CARD,))) == [
        ("awaiting attestation", "onnx/default onnxruntime gpu")
    ]


def test_a_machine_without_the_device_leaves_the_cell_awaited():
    verdict = one(elsewhere=(CARD,), attested=[attested("unavailable", message="no card here")])
    assert found(verdict) == [("awaiting attestation", "onnx/default onnxruntime gpu")]
    assert "no card here" in verdict.reasons[0].message


def test_a_failure_on_any_machine_stands_against_the_release_even_where_another_passed():
    failed = attested("failed", reason="tolerance exceeded", message="far off")
    for order in itertools.permutations([attested(), failed]):
        assert found(one(elsewhere=(CARD,), attested=order)) == [("tolerance exceeded", failed.key)]
    assert found(one(attested=[failed])) == [("tolerance exceeded", failed.key)]


def test_what_broke_on_one_machine_says_nothing_once_another_ran_it():
    broken = attested("errored", reason="crashed", message="it died")
    assert found(one(elsewhere=(CARD,), attested=[broken])) == [("errored", broken.key)]
    assert one(elsewhere=(CARD,), attested=[broken, attested()]).passed


def test_every_exported_variant_is_awaited():
    requirement = Requirement(format="tflite", runtime="litert-webgpu", device="gpu")
    artifacts = [artifact("tflite/dynamic"), artifact("tflite/batch1")]
    placement = Placement(device="gpu", runtime="litert 1.0", adapter="A card")
    proof = cell("tflite/batch1", "litert-webgpu", "gpu", placement=placement)
    cells = [lite("dynamic"), lite("batch1")]
    verdict = one(cells=cells, artifacts=artifacts, required=[TFLITE], elsewhere=(requirement,), attested=[proof])
    assert found(verdict) == [("awaiting attestation", "tflite/dynamic litert-webgpu gpu")]


def test_a_software_adapter_proves_nothing_where_the_policy_demands_a_card():
    soft = attested(software=True)
    assert one(elsewhere=(CARD,), attested=[soft]).passed
    assert found(one(elsewhere=(CARD,), attested=[soft], gpu="hardware"))[0] == ("wrong device", soft.key)


def test_an_attested_cell_that_compared_too_little_is_no_proof():
    assert found(one(elsewhere=(CARD,), attested=[attested(diffs=())]))[0][0] == "nothing compared"


def test_an_attestation_proves_an_artifact_that_nothing_ran_here():
    artifacts, cells = [artifact(), artifact("tfjs/default")], [cell()]
    assert found(one(cells=cells, artifacts=artifacts)) == [("unproven artifact", "tfjs/default")]
    proof = cell("tfjs/default", "tfjs-wasm")
    assert one(cells=cells, artifacts=artifacts, attested=[proof]).passed


def test_a_set_that_was_broken_off_counts_if_it_has_every_output():
    why = {"seeded_batch2": SLOW}
    assert one(cells=[cell(skipped=why, rows=4)]).passed
    assert found(one(cells=[cell(skipped=why, rows=4)], outputs=["y", "z"])) == [
        ("incomplete cell", "onnx/default onnxruntime cpu")
    ]


def test_the_original_is_no_artifact_and_its_cell_counts_all_the_same():
    placement = Placement(device="gpu", runtime="tensorflow 2.21", adapter="CUDA")
    own = cell("original/default", "keras", "gpu", placement=placement)
    assert one(cells=[cell(), own]).passed


def test_a_regression_refuses_under_its_own_name_hides_nothing_and_can_be_waived():
    subject = cell().key
    worse = Comparison(what="latency", subject=subject, before=1.0, now=3.0, allowed=2.0)
    waiver = Waiver(cell=subject, until=date(2026, 11, 27), by="Ann", why="known")
    given = {"comparisons": [worse], "waivers": (waiver,)}
    assert found(one(comparisons=[worse])) == [("latency regression", subject)]
    waived = one(**given, today=date(2026, 11, 27))
    assert (waived.passed, [reason.code for reason in waived.waived]) == (True, ["latency regression"])
    assert found(one(**given, today=date(2026, 11, 28))) == [("latency regression", subject)]
    size = Comparison(what="size", subject="tflite/dynamic", before=10, now=12, allowed=11)
    codes = [code for code, _ in found(one(artifacts=[artifact(), artifact("tflite/dynamic")], comparisons=[size]))]
    assert codes == ["unproven artifact", "size regression"]


def test_an_artifact_that_stores_another_weight_is_refused_with_the_layer_although_every_cell_passed():
    changed = dataclasses.replace(factory.WEIGHTS, differences=(factory.weight_difference(),))
    verdict = one(artifacts=[artifact(weights=changed)])
    assert found(verdict) == [("weights differ", "onnx/default")]
    assert "layer `conv2d`" in verdict.reasons[0].message
    assert "1 ULP" in verdict.reasons[0].message


@pytest.mark.parametrize("kind", ["rounded", "quantized", "swapped"])
def test_every_kind_of_difference_says_what_stands_there_instead(kind):
    other = factory.weight_difference(kind=kind, ulps=None, into="float16")
    changed = dataclasses.replace(factory.WEIGHTS, differences=(other,))
    verdict = one(artifacts=[artifact(weights=changed)])
    assert "float16" in verdict.reasons[0].message


def test_an_artifact_whose_weights_nobody_looked_at_is_refused():
    assert found(one(artifacts=[artifact(weights=None)])) == [("weights unchecked", "onnx/default")]


def test_what_was_never_exported_has_no_weights():
    verdict = one(artifacts=[artifact(), artifact("tflite/batch1", "limited", "no string ops")])
    assert verdict.passed


@pytest.mark.parametrize(
    ("precision", "kind", "into", "allowed"),
    [
        ("float32", "rounded", "float16", False),
        ("float32", "quantized", "int8", False),
        ("float16 weights", "rounded", "float16", True),
        ("float16", "rounded", "float16", True),
        ("float16 weights", "rounded", "bfloat16", False),
        ("float16 weights", "quantized", "int8", False),
        ("float16 weights", "changed", "", False),
        ("float16", "swapped", "conv2d/kernel", False),
        ("int8 weights", "quantized", "int8", True),
        ("int8", "quantized", "int8", True),
        ("int16x8", "quantized", "int8", True),
        ("int4 weights", "quantized", "int8", False),
        ("int8", "rounded", "float16", False),
    ],
)
def test_a_difference_of_weights_is_a_reason_unless_the_artifacts_own_precision_declares_it(
    precision, kind, into, allowed
):
    reduced = factory.weight_difference(kind=kind, ulps=None, into=into)
    weights = dataclasses.replace(factory.WEIGHTS, differences=(reduced,))
    verdict = one(artifacts=[artifact(weights=weights, precision=precision)])
    assert found(verdict) == ([] if allowed else [("weights differ", "onnx/default")])


BATCH1 = dataclasses.replace(TFLITE, variant="batch1")
DYNAMIC = dataclasses.replace(TFLITE, variant="dynamic")


def test_a_requirement_of_one_variant_is_met_by_that_variant_and_leaves_its_siblings_alone():
    cells = [lite("batch1"), lite("dynamic", "unavailable", reason="no runtime"), proof_of("dynamic")]
    assert one(cells=cells, artifacts=BOTH, required=[BATCH1]).passed
    assert found(one(cells=cells, artifacts=BOTH, required=[TFLITE])) == [
        ("unavailable", "tflite/dynamic litert-xnnpack cpu")
    ]


def test_no_sibling_meets_a_requirement_of_one_variant():
    cells = [lite("batch1"), lite("dynamic", "limited", reason="loop"), proof_of("dynamic")]
    assert one(cells=cells, artifacts=BOTH, required=[TFLITE]).passed
    assert found(one(cells=cells, artifacts=BOTH, required=[DYNAMIC])) == [
        ("limited", "tflite/dynamic litert-xnnpack cpu")
    ]
    absent = one(cells=[lite("batch1")], artifacts=[artifact("tflite/batch1")], required=[DYNAMIC])
    assert found(absent) == [("missing required cell", "tflite/dynamic litert-xnnpack cpu")]


def test_an_attestation_of_another_variant_does_not_answer_for_the_one_that_is_demanded():
    cells, proof = [lite("batch1"), lite("dynamic")], lite("batch1")
    given = {"cells": cells, "artifacts": BOTH, "required": [BATCH1], "attested": [proof]}
    assert found(one(**given, elsewhere=(DYNAMIC,))) == [("awaiting attestation", "tflite/dynamic litert-xnnpack cpu")]
    assert one(**given, elsewhere=(BATCH1,)).passed


@pytest.mark.parametrize("name", [str(BATCH1), str(TFLITE)])
def test_a_waiver_of_a_variant_or_of_its_format_waives_a_requirement_of_that_variant(name):
    waiver = Waiver(cell=name, until=date(2026, 11, 27), by="Ann", why="known")
    cells = [cell(), lite("batch1", "errored", reason="timeout"), proof_of("batch1")]
    artifacts = [artifact(), artifact("tflite/batch1")]
    given = {"cells": cells, "artifacts": artifacts, "required": [ONNX, BATCH1], "today": date(2026, 11, 1)}
    assert one(**given, waivers=(waiver,)).passed
    other = dataclasses.replace(waiver, cell=str(DYNAMIC))
    assert found(one(**given, waivers=(other,))) == [("errored", "tflite/batch1 litert-xnnpack cpu")]


def proof_of(variant):
    return cell(f"tflite/{variant}", "litert-reference")
