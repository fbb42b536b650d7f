"""The job of one cell, with a runtime that does what the test says."""

import time

import fake_runtime
import numpy as np
import pytest
from pydantic import TypeAdapter

from exporters.contract import Signature, TensorSpec
from exporters.errors import Broken
from validators import cell
from validators.contract import Cell
from validators.evidence import reference_folder, write_evidence
from validators.registry import RuntimeRow
from validators.samples import check_samples, generate, plan
from validators.tensorfiles import write_tensors


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

    def once(*, dtype="float32", batch=None, atol=None, sample_seconds=60.0, user=None, **row):
        facts = {"name": "fake", "format": "onnx", "device": "cpu", "module": "fake_runtime", "shown": "fake"}
        facts |= {"package": "numpy", "distribution": "numpy", "extra": "ort", "options": {"of": "row"}}
        monkeypatch.setattr(cell, "runtime", lambda _name, _device: RuntimeRow(**facts, **row))
        signature = specs(dtype)
        sets = plan(signature.inputs, user=user)
        samples = {s.name: generate(s, signature.inputs, user=user) for s in sets}
        write_evidence(tmp_path, signature=signature, sets=sets, samples=samples)
        for name, tensors in samples.items():
            write_tensors(reference_folder(tmp_path, name), {"y": tensors["x"] * 2})
        request = {"release": str(tmp_path), "artifact": str(tmp_path / "artifact"), "format": "onnx"}
        request |= {"variant": "default", "runtime": "fake", "device": "cpu", "options": {"of": "caller"}}
        request |= {"signature": TypeAdapter(Signature).dump_python(specs(dtype, batch), mode="json")}
        request |= {"atol": atol, "rtol": None, "sample_seconds": sample_seconds}
        return TypeAdapter(Cell).validate_python(cell.run(request))

    return once


def test_an_equal_artifact_passes_with_a_difference_for_every_set(run, fake):
    done = run()
    assert (done.status, done.reason, done.max_abs) == ("passed", "", 0.0)
    assert [diff.sample_set for diff in done.diffs] == ["seeded_batch1", "seeded_batch2", "seeded_batch7"]
    assert done.skipped == {}
    assert done.placement.runtime == "fake 1.0"
    assert fake.closed
    assert fake.loaded[1:] == ("cpu", {"of": "caller"})


def test_every_set_is_fed_in_its_own_batch(run, fake):
    run()
    assert fake.calls == [1] * 4 + [2, 7]


def test_the_users_own_samples_have_their_turn_before_seeded_ones_of_the_same_batch(run, fake):
    user = check_samples({"x": np.ones((40, 3), np.float32)}, specs().inputs)
    done = run(user=user)
    order = ["user_batch1", "seeded_batch1", "seeded_batch2", "seeded_batch7", "user"]
    assert [diff.sample_set for diff in done.diffs] == order
    assert fake.calls == [1] * 20 + [2, 7, 32, 8]


def test_an_artifact_with_a_fixed_batch_is_held_against_the_sets_of_that_batch_and_says_so_of_the_others(run, fake):
    done = run(batch=1)
    assert {diff.sample_set for diff in done.diffs} == {"seeded_batch1"}
    assert fake.calls == [1] * 4
    assert done.skipped == {
        "seeded_batch2": "fed in batches of 2, the artifact takes 1",
        "seeded_batch7": "fed in batches of 7, the artifact takes 1",
    }
    assert done.unseen == {}


def test_an_artifact_whose_batch_no_set_has_does_not_pass(run):
    done = run(batch=5)
    assert (done.status, done.reason) == ("failed", "nothing compared")
    assert len(done.skipped) == 3


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
    assert done.message.endswith(f"sample set `{done.diffs[0].sample_set}` (and 2 more)")


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


def test_a_runtime_without_time_left_says_which_sets_it_did_not_see(run):
    done = run(sample_seconds=1e-9)
    assert done.status == "passed"
    assert done.unseen == done.skipped
    assert list(done.skipped) == ["seeded_batch2", "seeded_batch7"]
    assert all(
        why.startswith("too slow: ") and why.endswith("sample_seconds is 1e-09") for why in done.skipped.values()
    )
    assert {diff.sample_set for diff in done.diffs} == {"seeded_batch1"}


def test_a_slow_first_call_alone_leaves_no_sample_set_out(run, fake):
    def compiling(inputs):
        time.sleep(0.4 if len(fake.calls) == 1 else 0)
        return {"y": inputs["x"] * 2}

    fake.answers = compiling
    assert run(sample_seconds=0.8).skipped == {}
