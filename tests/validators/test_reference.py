"""The reference: what the original computes, as evidence that anyone can read without it."""

import numpy as np
import pytest

from exporters.errors import BadInput
from exporters.source.model_source import ModelSource
from validators.reference.job import ReferenceRequest, compute_reference
from validators.reference.noise_floor import NoiseRequest, measure_noise
from validators.release.evidence import read_evidence

pytestmark = pytest.mark.slow


@pytest.fixture
def refer(bench, tmp_path):
    def run(model, samples=None, *, noise=False):
        folder = tmp_path / model
        source, extra_rows = ModelSource(path=bench.build(model)), folder / "more"
        request = ReferenceRequest(
            model=source,
            release=folder,
            samples=samples,
            batches=(1, 2, 7),
            metric=None,
            extra_rows=extra_rows,
            weights=tmp_path / "weights",
        )
        bench.call(compute_reference, request)
        if noise:
            bench.call(measure_noise, NoiseRequest(model=source, release=folder, extra_rows=extra_rows))
        return read_evidence(folder)

    return run


def test_it_is_what_keras_computes_row_by_row_and_in_any_batch(bench, refer):
    evidence = refer("two_inputs")
    assert {s.batch for s in evidence.sets} == {1, 2, 7}
    for sample_set in evidence.sets:
        outputs = evidence.reference(sample_set)
        assert set(outputs) == {"score"}
        assert outputs["score"].shape == (sample_set.rows, 2)
        if sample_set.origin == "seeded":
            assert len(np.unique(outputs["score"], axis=0)) == sample_set.rows


def test_the_originals_own_rounding_is_measured_in_float64_and_is_that_of_float32(bench, refer):
    evidence = refer("single_input", noise=True)
    noise = evidence.noise()
    assert set(noise) == {each.name for each in evidence.sets}
    for by_output in noise.values():
        found = by_output["probabilities"]
        assert found.rows >= 30
        assert 2.0**-26 < found.floor / found.scale < 2.0**-16


def test_rounding_is_measured_also_where_a_layer_loops_a_table_is_read_and_an_answer_is_a_whole_number(refer):
    for model, outputs in {"recurrent": ["y"], "dict_inputs": ["y"], "dict_outputs": ["left", "right"]}.items():
        noise = refer(model, noise=True).noise()
        assert all(by_output[name].floor for by_output in noise.values() for name in outputs)
    assert noise["seeded_batch7"]["winner"].why == "this output holds no numbers that round"


def test_an_embedding_is_asked_for_all_of_its_rows(refer):
    evidence = refer("dict_inputs")
    drawn = {int(i) for each in evidence.sets for i in evidence.samples(each)["ids"].flat}
    assert drawn == set(range(10))


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
