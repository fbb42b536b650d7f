"""TF.js models opened: the signature of `model.json` names more tensors, or starts further inside."""

import json

import numpy as np
import pytest
from tfjs_graphs import dense

from validators.diagnosis.inner_tensors.job import CannotCut
from validators.diagnosis.inner_tensors.tfjs import write

ROWS = np.ones((2, 4), dtype="float32")


@pytest.fixture
def artifact(tmp_path):
    folder, signature, _ = dense(tmp_path / "artifact")
    return folder, signature


def opened(artifact, *, fed=None, wanted=None):
    folder, signature = artifact
    copy = write(folder, folder, signature, fed=fed, wanted=wanted)
    return copy, json.loads((folder / "model.json").read_text("utf-8"))["signature"]


def test_every_computed_tensor_becomes_an_output_beside_the_models_own(artifact):
    copy, declared = opened(artifact)
    assert [spec.path for spec in copy.outputs if spec.path] == ["product:0", "sum:0"]
    assert {entry["name"] for entry in declared["outputs"].values()} == {"Identity:0", "product:0", "sum:0"}
    assert set(declared["inputs"]) == {"x"}


def test_a_part_starts_at_the_fed_tensor_that_it_reads(artifact):
    copy, declared = opened(artifact, fed={"input x": ROWS, "product:0": ROWS}, wanted=["output y"])
    assert [spec.path for spec in copy.inputs] == ["product:0"]
    assert [entry["name"] for entry in declared["inputs"].values()] == ["product:0"]
    assert [entry["name"] for entry in declared["outputs"].values()] == ["Identity:0"]


def test_a_part_that_needs_an_input_which_is_not_fed_is_refused(artifact):
    with pytest.raises(CannotCut, match="from the input x as well"):
        opened(artifact, fed={"sum:0": ROWS}, wanted=["product:0"])
