"""The job of one cell, with a runtime that does what the test says."""

import time

import fake_runtime
import numpy as np
import pytest

from exporters.contract import Artifact, Signature, TensorSpec
from exporters.errors import Broken, Unavailable
from validators.cells import job, stopwatch
from validators.contract import Skip, ToleranceOverride
from validators.release.evidence import reference_folder, write_evidence
from validators.runtimes.row import RuntimeRow
from validators.samples import check_samples, generate, plan
from validators.samples.tensor_files import write_tensors

SETS = ["seeded_batch1", "edges", "beyond", "seeded_batch2", "seeded_batch7"]


def specs(dtype="float32", batch=None):
    x, y = (TensorSpec(name=name, dtype=dtype, shape=(batch, 3), native=name) for name in "xy")
    return Signature(inputs=(x,), outputs=(y,))


@pytest.fixture
def fake(monkeypatch):
    monkeypatch.setattr(fake_runtime, "current", fake_runtime.Fake())
    return fake_runtime.current


@pytest.fixture
def run(tmp_path, monkeypatch, fake):
    """Runs a cell whose original computes y = 2 x over the seeded sets."""

    monkeypatch.setattr(stopwatch, "BUDGET", 0.0)  # the calls that a test counts are those of the comparison

    def once(*, dtype="float32", batch=None, atol=None, user=None, device="cpu", **more):
        bounds = {"gpu": "any", "sample_seconds": 60.0, "software_seconds": 60.0}
        rounds_to = more.pop("rounds_to", {})
        row = {key: value for key, value in more.items() if key not in bounds}
        facts = {"name": "fake", "format": "onnx", "device": device, "module": fake_runtime, "shown": "fake"}
        facts |= {"package": "numpy", "distribution": "numpy", "extra": "ort", "options": {"of": "row"}}
        monkeypatch.setattr(job, "runtime", lambda _name, _device: RuntimeRow(**facts, **row))
        signature = specs(dtype)
        sets = plan(signature.inputs, user=user)
        samples = {s.name: generate(s, signature.inputs, user=user) for s in sets}
        write_evidence(tmp_path, signature=signature, sets=sets, samples=samples, rounds_to=rounds_to)
        for name, tensors in samples.items():
            write_tensors(reference_folder(tmp_path, name), {"y": tensors["x"] * 2})
        artifact = Artifact(format="onnx", variant="default", status="exported", signature=specs(dtype, batch))
        request = job.CellRequest(
            release=tmp_path,
            artifact=artifact,
            path=tmp_path / "artifact",
            runtime="fake",
            device=device,
            options={"of": "caller"},
            tolerances=(ToleranceOverride(atol=atol),),
            task_output=None,
            metric=None,
            **{**bounds, **{key: more[key] for key in bounds if key in more}},
        )
        return job.run_cell(request)

    return once


def test_an_equal_artifact_passes_with_a_difference_for_every_set(run, fake):
    done = run()
    assert (done.status, done.reason, done.max_abs) == ("passed", "", 0.0)
    assert [diff.sample_set for diff in done.diffs] == SETS
    assert done.skipped == {}
    assert done.placement.runtime == "fake 1.0"
    assert fake.closed
    assert fake.loaded[1:] == ("cpu", {"of": "caller"})


def test_every_set_is_fed_in_its_own_batch(run, fake):
    run()
    assert fake.calls == [1] * (4 + 6 + 2) + [2] * 3 + [7] * 3


def test_the_users_own_samples_have_their_turn_before_seeded_ones_of_the_same_batch(run, fake):
    user = check_samples({"x": np.ones((40, 3), np.float32)}, specs().inputs)
    done = run(user=user)
    order = ["user_batch1", *[name for name in SETS if not name.endswith("7")], "user", "seeded_batch7"]
    assert [diff.sample_set for diff in done.diffs] == order
    assert fake.calls == [1] * 28 + [2] * 3 + [7] * 5 + [5] + [7] * 3


def test_an_artifact_with_a_fixed_batch_is_held_against_the_sets_of_that_batch_and_says_so_of_the_others(run, fake):
    done = run(batch=1)
    assert {diff.sample_set for diff in done.diffs} == {"seeded_batch1", "edges", "beyond"}
    assert fake.calls == [1] * 12
    assert done.skipped == {
        "seeded_batch2": Skip(kind="other batch", why="fed in batches of 2, the artifact takes 1"),
        "seeded_batch7": Skip(kind="other batch", why="fed in batches of 7, the artifact takes 1"),
    }
    assert done.unseen == {}


def test_an_artifact_whose_batch_no_set_has_does_not_pass(run):
    done = run(batch=5)
    assert (done.status, done.reason) == ("failed", "nothing compared")
    assert len(done.skipped) == 5


def test_an_artifact_that_lands_elsewhere_fails_whatever_its_numbers(run, fake):
    fake.device = "gpu"
    done = run()
    assert (done.status, done.reason) == ("failed", "wrong device")
    assert done.message == "asked for cpu, ran on gpu (fake)"


def test_an_artifact_that_another_backend_of_the_device_ran_fails(run, fake):
    assert run(adapter="fak").status == "passed"
    done = run(adapter="wasm")
    assert (done.status, done.reason) == ("failed", "wrong device")
    assert done.message == "asked for the adapter wasm, ran on fake"


def test_the_first_difference_is_the_reason_and_the_others_are_counted(run, fake):
    fake.answers = lambda inputs: {"y": inputs["x"] * 2.1}
    done = run()
    assert (done.status, done.reason) == ("failed", "tolerance exceeded")
    assert done.message.endswith(f"sample set `{done.diffs[0].sample_set}` (and 4 more)")


def test_an_output_that_changes_shape_from_call_to_call_is_a_failed_cell_and_not_bad_input(run, fake):
    fake.answers = lambda _inputs: {"y": np.zeros((5, len(fake.calls)), np.float32)}
    done = run()
    assert (done.status, done.reason) == ("failed", "shape mismatch")
    unsteady = next(diff for diff in done.diffs if diff.sample_set == "seeded_batch1")
    assert (unsteady.name, unsteady.problem) == ("y", "shape mismatch")
    assert "output `y` changes from call to call: got float32[5, 1], float32[5, 2]" in unsteady.message


def test_what_a_runtime_raises_is_not_caught(run, fake):
    def broken(_inputs):
        raise Broken("the runtime broke")

    fake.answers = broken
    with pytest.raises(Broken, match="the runtime broke"):
        run()
    assert fake.closed


def test_a_tolerance_set_by_hand_holds(run, fake):
    fake.answers = lambda inputs: {"y": inputs["x"] * 2 + np.float32(0.01)}
    assert run().status == "failed"
    assert run(atol=0.02).status == "passed"


def test_a_type_the_runtime_lacks_is_held_to_the_tolerance_of_the_one_it_computes_in(run, fake):
    fake.answers = lambda inputs: {"y": (inputs["x"].astype(np.float32) * np.float32(2.000001)).astype(np.float64)}
    assert run(dtype="float64").reason == "tolerance exceeded"
    narrowed = run(dtype="float64", computes={"float64": "float32"})
    assert narrowed.status == "passed"
    assert {diff.tolerance.rtol for diff in narrowed.diffs} == {1e-4}
    assert "float32 default" in narrowed.diffs[0].tolerance.reason


def test_what_a_runtime_computes_instead_does_not_loosen_types_it_has(run, fake):
    fake.answers = lambda inputs: {"y": inputs["x"] * 2}
    done = run(dtype="float32", computes={"float64": "float32"})
    assert {diff.tolerance.rtol for diff in done.diffs} == {1e-4}
    fake.answers = lambda inputs: {"y": (inputs["x"] * 2).astype(np.float32)}
    assert run(dtype="float64", computes={"float64": "float32"}).reason == "dtype mismatch"


def test_an_original_that_rounds_to_half_precision_on_its_way_is_held_to_that_types_tolerance(run, fake):
    fake.answers = lambda inputs: {"y": inputs["x"] * np.float32(2.002)}
    assert run().reason == "tolerance exceeded"
    half = run(rounds_to={"y": "float16"})
    assert half.status == "passed"
    assert "float16 default" in half.diffs[0].tolerance.reason
    fake.answers = lambda inputs: {"y": inputs["x"] * np.float32(2.02)}
    assert run(rounds_to={"y": "float16"}).reason == "tolerance exceeded"


def test_an_output_that_nothing_in_half_precision_leads_to_keeps_its_own_tolerance(run, fake):
    fake.answers = lambda inputs: {"y": inputs["x"] * np.float32(2.002)}
    assert run(rounds_to={"other": "bfloat16"}).reason == "tolerance exceeded"


def test_a_runtime_without_time_left_says_how_far_it_came(run):
    done = run(sample_seconds=1e-9)
    assert done.status == "passed"
    assert done.rows == 1
    assert {skip.kind for skip in done.skipped.values()} == {"too slow"}
    assert list(done.unseen) == SETS
    assert done.unseen["seeded_batch1"].startswith("1 of 4 rows were compared: ")
    assert all(why.endswith("limits.sample_seconds is 1e-09") for why in done.unseen.values())
    assert [(diff.sample_set, diff.elements) for diff in done.diffs] == [("seeded_batch1", 3)]


def test_a_difference_in_the_only_row_that_there_was_time_for_is_seen(run, fake):
    fake.answers = lambda inputs: {"y": inputs["x"] * 2.1}
    assert run(sample_seconds=1e-9).reason == "tolerance exceeded"


def test_a_software_adapter_has_its_own_time(run, fake):
    fake.software = True
    done = run(software_seconds=1e-9)
    assert done.unseen
    assert all(why.endswith("limits.software_seconds is 1e-09") for why in done.unseen.values())
    assert run(sample_seconds=1e-9).skipped == {}


def test_every_row_of_every_set_is_counted(run):
    assert run().rows == 4 + 6 + 2 + 6 + 21


def test_a_software_adapter_is_no_hardware(run, fake):
    fake.software, fake.device = True, "gpu"
    done = run(gpu="hardware", device="gpu")
    assert (done.status, done.reason) == ("unavailable", "no such device")
    assert done.placement is None
    assert run(gpu="any", device="gpu").status == "passed"


def test_a_runtime_that_finds_no_device_says_how_to_get_one(run, fake):
    fake.fault = Unavailable("there is no card", next_step="buy one")
    done = run()
    assert (done.status, done.reason, done.message) == ("unavailable", "no such device", "there is no card: buy one")


def test_a_cell_says_how_fast_it_was_and_calls_a_few_times_more_for_it(run, fake, monkeypatch):
    done = run()
    assert [(timing.batch, timing.calls) for timing in done.performance.timings] == [(1, 11), (7, 2)]
    monkeypatch.setattr(stopwatch, "BUDGET", 30.0)
    done = run()
    assert [(timing.batch, timing.calls) for timing in done.performance.timings] == [(1, 11), (7, 10)]
    assert done.diffs == run().diffs


def test_a_software_gpu_and_a_runtime_without_time_left_make_no_call_for_the_sake_of_figures(run, fake, monkeypatch):
    monkeypatch.setattr(stopwatch, "BUDGET", 30.0)
    assert run(sample_seconds=1e-9).performance.timings == ()
    fake.software = True
    fake.calls.clear()
    assert [timing.calls for timing in run().performance.timings] == [11, 2]
    assert fake.calls == [1] * 12 + [2] * 3 + [7] * 3


def test_operators_that_fell_back_are_named_when_the_device_is_wrong(run, fake):
    fake.fallbacks = {"Conv": 1, "Relu": 3}
    done = run(device="gpu")
    assert (done.status, done.reason) == ("failed", "wrong device")
    assert done.message == "asked for gpu, ran on cpu (fake); fell back: 3 Relu, 1 Conv"
    assert done.findings == ()


def test_partial_acceleration_is_a_finding_and_no_failure(run, fake):
    fake.device, fake.fallbacks = "gpu", {"Gather": 1}
    done = run(device="gpu")
    assert done.status == "passed"
    assert [(finding.code, finding.blocking) for finding in done.findings] == [("partial acceleration", False)]
    assert "1 Gather" in done.findings[0].message


def test_half_precision_textures_are_a_finding(run, fake):
    fake.details = {"texture precision": "half"}
    assert [finding.code for finding in run().findings] == ["half-precision textures"]
    fake.details = {"texture precision": "float32"}
    assert run().findings == ()


def test_a_slow_first_call_alone_leaves_no_sample_set_out(run, fake):
    def compiling(inputs):
        time.sleep(0.4 if len(fake.calls) == 1 else 0)
        return {"y": inputs["x"] * 2}

    fake.answers = compiling
    assert run(sample_seconds=0.8).skipped == {}
