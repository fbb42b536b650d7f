"""Fused operators for TF.js: flattened where the shape is all that is wrong, else taken apart."""

import pytest

pytestmark = pytest.mark.slow

FUSED = ["fused", "after"]


@pytest.fixture
def mend(bench):
    def run(op, fused, bias):
        return bench.call("tests.exporters.fusions:mend", {"op": op, "fused": fused, "bias": bias})

    return run


@pytest.mark.parametrize("op", ["_FusedMatMul", "_FusedConv2D"])
@pytest.mark.parametrize("shape", [[3], [1, 3], [1, 1, 1, 3]])
def test_a_constant_bias_with_leading_axes_of_one_is_flattened_and_stays_fused(mend, op, shape):
    mended = mend(op, ["BiasAdd", "Relu"], shape)
    assert mended["bias"] == [3]
    assert mended["nodes"][0] == ["fused", op, ["a", "b", "bias", "^control"]]


@pytest.mark.parametrize(("op", "plain"), [("_FusedMatMul", "MatMul"), ("_FusedConv2D", "Conv2D")])
@pytest.mark.parametrize("shape", [None, [2, 3], [3, 1]])
def test_a_bias_that_is_none_becomes_an_addition(mend, op, plain, shape):
    mended = mend(op, ["BiasAdd"], shape)
    assert mended["bias"] == shape
    assert mended["nodes"] == [
        ["fused/product", plain, ["a", "b", "^control"]],
        ["fused", "AddV2", ["fused/product", "bias"]],
        ["after", "Identity", ["fused"]],
    ]
    assert mended["left"] == []


def test_an_activation_that_not_every_backend_fuses_becomes_a_node_of_its_own(mend):
    assert mend("_FusedConv2D", ["BiasAdd", "Tanh"], [3])["nodes"] == [
        ["fused/product", "Conv2D", ["a", "b", "^control"]],
        ["fused/fused_0", "AddV2", ["fused/product", "bias"]],
        ["fused", "Tanh", ["fused/fused_0"]],
        ["after", "Identity", ["fused"]],
    ]


@pytest.mark.parametrize("activation", ["GeluExact", "GeluApproximate", "_FusedHardSwish"])
def test_an_activation_is_written_out_in_operators_that_tfjs_has_and_computes_the_same(mend, activation):
    mended = mend("_FusedMatMul", ["BiasAdd", activation], [3])
    assert len({node[0] for node in mended["nodes"]}) == len(mended["nodes"])
    assert {op for _, op, _ in mended["nodes"]} <= {"MatMul", "AddV2", "Mul", "Erf", "Tanh", "Relu6", "Identity"}
    assert mended["nodes"][-2][0] == "fused"
    assert mended["furthest"] < 1e-6


@pytest.mark.parametrize("activation", ["Relu", "Relu6", "Elu", "Sigmoid"])
def test_what_every_backend_fuses_is_left_alone(mend, activation):
    assert [name for name, _, _ in mend("_FusedConv2D", ["BiasAdd", activation], [3])["nodes"]] == FUSED
