"""The weights of real artifacts: all are found, and one unit in the last place is told with its layer."""

import shutil

import pytest

from exporters.formats.registry import EXPORTERS

pytestmark = pytest.mark.slow

VARIANTS = ("saved_model/default", "tflite/dynamic", "tfjs/default", "onnx/default")
RECORDED = [row for row in EXPORTERS if row.key in VARIANTS]
ROWS = [pytest.param(row, id=row.key) for row in RECORDED]
LAYERS = {"single_input": ("probabilities/kernel", "probabilities"), "lstm_states": ("lstm_cell/kernel", "lstm_cell")}


@pytest.fixture
def tampered(bench, tmp_path):
    """Changes one constant of a copy of an artifact; returns what its weights are told to be then."""

    def run(model, row, **fault):
        proof = bench.proof(model)
        folder = tmp_path / "artifact"
        shutil.copytree(proof.release / proof.artifacts[row.key].path, folder)
        request = {"format": row.format, "artifact": str(folder), "weights": str(proof.weights)}
        return bench.call("tests.exporters.weight_jobs:tampered", request | {"like": LAYERS[model][0]} | fault)

    return run


@pytest.mark.parametrize("model", ["single_input", "recurrent", "grouped_convolution", "dict_inputs"])
def test_every_weight_of_a_good_artifact_is_found_unless_it_is_zero(bench, model):
    for artifact in bench.proof(model).artifacts.values():
        record = artifact.weights
        assert not record.differences, artifact.key
        assert all(name.endswith("bias") for name in record.unmatched), artifact.key
        assert record.exact + record.folded + len(record.unmatched) == record.weights


# An LSTM's gates are stored apart in ONNX: `tests/exporters/test_weights.py` has them.
@pytest.mark.parametrize(
    ("model", "row"),
    [(model, row) for model in LAYERS for row in RECORDED if (model, row.format) != ("lstm_states", "onnx")],
    ids=lambda value: getattr(value, "key", value),
)
def test_one_unit_in_the_last_place_of_one_weight_is_told(tampered, model, row):
    (found,) = tampered(model, row, ulps=1)["differences"]
    assert (found["kind"], found["layer"]) == ("changed", LAYERS[model][1])
    assert (found["elements"], found["ulps"]) == (1, 1)


@pytest.mark.parametrize("row", ROWS)
def test_half_precision_sold_as_float32_is_told(tampered, row):
    (found,) = tampered("single_input", row, dtype="float16")["differences"]
    assert (found["kind"], found["into"], found["layer"]) == ("rounded", "float16", "probabilities")


def test_what_the_models_own_code_multiplies_with_is_taken_from_its_graph(bench):
    constants = {"vector": [[1.0, 2.0, 4.0]], "number": 3.0, "matrix": [[1.0, 2.0], [3.0, 4.0]]}
    assert bench.call("tests.exporters.weight_jobs:vectors", {"constants": constants}) == [[1.0, 2.0, 4.0]]
