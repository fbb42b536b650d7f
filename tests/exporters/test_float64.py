"""The model in float64: what it is computed by."""

import pytest


@pytest.mark.slow
@pytest.mark.parametrize("model", ["grouped_convolution", "tests.exporters.keras2_models:image"])
def test_grouped_convolutions_are_not_left_to_xla_which_computes_every_pair_of_channels(bench, model):
    found = bench.call("tests.exporters.float64_jobs:grouped", {"model": str(bench.build(model))})
    assert found["compiled"] == 0
    assert found["types"] == ["float64"]
    assert 0 < found["distance"] < 1e-5
