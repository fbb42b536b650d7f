"""The committed example is small, honest and what its training script says it is."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DIGITS = Path(__file__).resolve().parents[1] / "examples" / "digits"
ACCURACY = """
import json, sys
import keras, numpy
samples = numpy.load(sys.argv[2])
model = keras.saving.load_model(sys.argv[1])
probabilities = model.predict(samples["image"], verbose=0)
print(json.dumps({
    "accuracy": float((probabilities.argmax(axis=-1) == samples["labels"]).mean()),
    "parameters": model.count_params(),
    "inputs": [tensor.name for tensor in model.inputs],
    "outputs": model.output_names,
}))
"""


def load_train_script():
    spec = importlib.util.spec_from_file_location("digits_train", DIGITS / "train.py")
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_example_is_small():
    assert sum(file.stat().st_size for file in DIGITS.iterdir() if file.is_file()) < 1_000_000


def test_the_samples_are_labelled_images():
    with np.load(DIGITS / "samples.npz") as samples:
        assert set(samples) == {"image", "labels"}
        assert (samples["image"].dtype, samples["image"].shape) == (np.float32, (64, 8, 8, 1))
        assert (samples["labels"].dtype, samples["labels"].shape) == (np.int64, (64,))
        assert samples["image"].min() == 0
        assert samples["image"].max() == 1
        assert set(samples["labels"]) == set(range(10))


@pytest.mark.slow
def test_the_samples_were_held_out_of_training():
    split = load_train_script().load_split()
    trained_on = {image.tobytes() for image in split.train_images}
    with np.load(DIGITS / "samples.npz") as samples:
        assert not [row for row, image in enumerate(samples["image"]) if image.tobytes() in trained_on]
        np.testing.assert_array_equal(samples["image"], split.held_out_images[:64])
        np.testing.assert_array_equal(samples["labels"], split.held_out_labels[:64])


@pytest.mark.slow
def test_the_committed_model_reads_the_committed_digits():
    command = [sys.executable, "-c", ACCURACY, str(DIGITS / "digits.keras"), str(DIGITS / "samples.npz")]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    answer = json.loads(run.stdout.splitlines()[-1])
    assert answer["accuracy"] > 0.97
    assert (answer["inputs"], answer["outputs"]) == (["image"], ["probabilities"])
    assert 20_000 < answer["parameters"] < 30_000


WITHOUT_TRAINING = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from train_and_release import ReleaseAfterTraining
class Trained:
    def save(self, path):
        Path(path).write_text("saved")
callback = ReleaseAfterTraining(Path(sys.argv[2]))
callback.set_model(Trained())
callback.on_train_end()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "said"),
    [("", "PREFECT_API_URL names no Prefect server"), ("http://127.0.0.1:9/api", "no Prefect server answers at")],
)
def test_a_model_that_no_server_hears_of_is_saved_and_said_to_be_unreleased(tmp_path, url, said):
    model = tmp_path / "m.keras"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TRAINING, DIGITS.parent, model],
        capture_output=True,
        text=True,
        check=False,
        env={**kept, "PREFECT_HOME": str(tmp_path / "prefect"), "PREFECT_API_URL": url},
    )
    assert done.returncode == 1
    assert f"{model} is saved, not released: {said}" in done.stderr
    assert model.read_text() == "saved"
