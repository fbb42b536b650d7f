"""Checks how the noise floor follows from float64 answers, over an original that a function plays."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from exporters.contract import Signature, TensorSpec
from validators.contract import SampleSet
from validators.reference import noise_floor
from validators.release.evidence import reference_folder, write_evidence
from validators.samples.tensor_files import write_tensors

SET = SampleSet(name="seeded", rows=4, batch=4, origin="seeded", seed=1)
SIGNATURE = Signature(
    inputs=(TensorSpec(name="x", dtype="float32", shape=(None, 2), native="x"),),
    outputs=(
        TensorSpec(name="y", dtype="float32", shape=(None, 2), native="y"),
        TensorSpec(name="winner", dtype="int64", shape=(None,), native="winner"),
    ),
)


@pytest.mark.parametrize(("off", "kept"), [(1e-7, True), (0.5, False)])
def test_ties_are_kept_of_a_float64_model_that_is_the_original_and_of_no_other(monkeypatch, tmp_path, off, kept):
    x = np.linspace(-1, 1, 8, dtype="float32").reshape(4, 2)
    evidence = write_evidence(tmp_path, signature=SIGNATURE, sets=(SET,), samples={SET.name: {"x": x}})
    write_tensors(reference_folder(tmp_path, SET.name), {"y": x, "winner": np.zeros(4, "int64")})
    model = SimpleNamespace(signature=SIGNATURE, parameter_bytes=lambda: 4)

    def in_double(batch):
        return {"y": batch["x"].astype("float64") + off, "winner": np.ones(len(batch["x"]), "int64")}

    monkeypatch.setattr(noise_floor, "in_float64", lambda given: given)
    monkeypatch.setattr(noise_floor, "_traced", lambda _: in_double)
    monkeypatch.setattr(noise_floor, "_jittered", lambda _: ())
    noise = noise_floor.noise_by_set(model, evidence, tmp_path / "more")
    assert (noise[SET.name]["y"].floor is not None) is kept
    assert set(evidence.exact(SET)) == ({"winner"} if kept else set())


def test_beyond_the_domain_rounding_may_cost_an_output_every_digit_and_proves_no_tie(monkeypatch, tmp_path):
    beyond = replace(SET, name="beyond", origin="beyond")
    x = np.linspace(0, 1, 8, dtype="float32").reshape(4, 2)
    samples = {each.name: {"x": x} for each in (SET, beyond)}
    evidence = write_evidence(tmp_path, signature=SIGNATURE, sets=(SET, beyond), samples=samples)
    for name in samples:
        write_tensors(reference_folder(tmp_path, name), {"y": x, "winner": np.zeros(4, "int64")})
    model = SimpleNamespace(signature=SIGNATURE, parameter_bytes=lambda: 4)
    flipped = {"y": 1.0 - x.astype("float64"), "winner": np.ones(4, "int64")}
    monkeypatch.setattr(noise_floor, "in_float64", lambda given: given)
    monkeypatch.setattr(noise_floor, "_traced", lambda _: lambda _batch: flipped)
    monkeypatch.setattr(noise_floor, "_jittered", lambda _: ())
    noise = noise_floor.noise_by_set(model, evidence, tmp_path / "more")
    assert noise[SET.name]["y"].floor is None
    assert noise[SET.name]["y"].why
    assert (noise["beyond"]["y"].floor, noise["beyond"]["y"].why) == (1.0, "")
    assert not evidence.exact(beyond)
