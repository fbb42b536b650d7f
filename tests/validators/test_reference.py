"""The reference: what the original computes, as evidence that anyone can read without it."""

import numpy as np
import pytest

from exporters.errors import BadInput
from validators.evidence import read_evidence

pytestmark = pytest.mark.slow


@pytest.fixture
def refer(bench, tmp_path):
    def run(model, samples=None):
        request = {"model": str(bench.build(model)), "release": str(tmp_path), "samples": samples, "batches": [1, 2, 7]}
        request |= {"custom_objects": [], "trust_lambda": False}
        bench.call("validators.reference:run", request)
        return read_evidence(tmp_path)

    return run


def test_it_is_what_keras_computes_row_by_row_and_in_any_batch(bench, refer):
    evidence = refer("two_inputs")
    assert {s.batch for s in evidence.sets} == {1, 2, 7}
    for sample_set in evidence.sets:
        outputs = evidence.reference(sample_set)
        assert set(outputs) == {"score"}
        assert outputs["score"].shape == (sample_set.rows, 2)
        assert len(np.unique(outputs["score"], axis=0)) == sample_set.rows


def test_it_is_the_same_again_bit_by_bit(bench, refer):
    evidence = refer("recurrent")
    before = {s.name: evidence.reference(s)["y"] for s in evidence.sets}
    again = refer("recurrent")
    assert all(np.array_equal(before[s.name], again.reference(s)["y"]) for s in again.sets)


def test_the_users_samples_come_first_and_are_what_was_given(refer, tmp_path):
    random = np.random.default_rng(3)
    given = {name: random.normal(size=(40, 4)).astype(np.float32) for name in ("zeta", "alpha")}
    np.savez(tmp_path / "samples.npz", **given)
    evidence = refer("two_inputs", str(tmp_path / "samples.npz"))
    user = evidence.sets[0]
    assert (user.origin, user.rows) == ("user", 40)
    assert all(np.array_equal(evidence.samples(user)[name], array) for name, array in given.items())


def test_samples_that_do_not_fit_are_bad_input(refer, tmp_path):
    np.savez(tmp_path / "samples.npz", zeta=np.zeros((3, 4), np.float32), alpa=np.zeros((3, 4), np.float32))
    with pytest.raises(BadInput, match=r"input `alpha` is missing; `alpa` is not an input \(meant `alpha`\?\)"):
        refer("two_inputs", str(tmp_path / "samples.npz"))
