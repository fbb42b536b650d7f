"""`inspect`: the facts of a file on one page, whatever a release would say to it."""

import io
import json
import subprocess
import sys

import hostile
import hostile_forms
import numpy as np
import pytest
from hostile import keras_file
from rich.console import Console

from exporters.errors import BadInput
from flows.machine.inspection import inspect, render


def page(path, architecture=None) -> str:
    console = Console(file=io.StringIO(), width=200)
    render(inspect(path, architecture), console)
    return console.file.getvalue()


def test_the_page_of_a_sound_model_holds_what_a_user_asks(tmp_path):
    text = page(keras_file(tmp_path / "small.keras"))
    for words in (
        "small.keras  (Sequential)",
        "Keras 3.15.1, 2026-01-02@03:04:05",
        "image  float32 [?, 4]",
        "score",
        "2: Dense 1, InputLayer 1",
        "15  (60 B)",
        "without the optimizer's state",
        "A release can start",
    ):
        assert words in text


def test_a_file_without_optimizer_state_says_that_training_cannot_go_on(tmp_path):
    weights = hostile.h5(lambda file: file.create_dataset("layers/dense/vars/0", data=np.ones(2000, "f4")))
    text = page(keras_file(tmp_path / "m.keras", weights=weights))
    assert "training cannot go on" in text
    assert "2,000  (8.0 kB)" in text


@pytest.mark.parametrize("form", ["h5", "saved_model", "checkpoint"])
def test_every_form_says_what_it_is_and_what_its_optimizer_takes_up(form, tmp_path):
    path = getattr(hostile_forms, form.replace("h5", "h5_model"))(tmp_path / "m")
    architecture = None
    if form == "checkpoint":
        architecture = str(tmp_path / "model.json")
        described = hostile_forms.small_older_model() | {"keras_version": "2.3.0"}
        (tmp_path / "model.json").write_text(json.dumps(described), "utf-8")
    text = page(path, architecture)
    kinds = {"h5": "HDF5 file of Keras 2", "saved_model": "SavedModel folder of Keras 2", "checkpoint": "weights with"}
    for words in (kinds[form], "read through tf_keras", "15  (60 B)", "without the optimizer's state", "can start"):
        assert words in text
    assert inspect(path, architecture).optimizer_bytes == 48


def test_weights_without_an_optimizer_say_that_training_cannot_go_on(tmp_path):
    path = tmp_path / "m.h5"
    path.write_bytes(hostile.h5(hostile_forms.named_weights))
    text = page(path, "nets:make")
    assert "training cannot go on from this file as it was" in text
    assert "nets:make returns the architecture" in text


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("a custom class", "Needs code  layer L1 from my.layers, in layer dist"),
        ("bytecode", "Lambda      warp: its code names"),
        ("a vocabulary by path", "Refused     words: StringLookup reads its vocabulary"),
        ("a name that steers the terminal", "in layer \\x1b[2Jx"),
    ],
)
def test_what_stands_against_a_release_is_shown_and_is_no_error(kind, words, tmp_path):
    text = page(keras_file(tmp_path / "m.keras", config=hostile.CONFIGS[kind][0]))
    assert words in text
    assert "A release needs more" in text
    assert "\x1b" not in text


def test_a_subclass_and_a_custom_loss_are_shown(tmp_path):
    loss = {"module": "builtins", "class_name": "function", "config": "focal"}
    config = {"module": None, "class_name": "Net", "config": {}, "compile_config": {"loss": loss}}
    text = page(keras_file(tmp_path / "m.keras", config=config))
    assert "known only once the model is built" in text
    assert "focal (custom; not needed for inference)" in text


def test_a_file_of_keras_2_is_shown(tmp_path):
    text = page(keras_file(tmp_path / "m.keras", metadata={"keras_version": "2.15.0"}))
    for words in ("Keras 2.15.0", "`.keras` archive of Keras 2, read through tf_keras", "A release can start"):
        assert words in text


def test_a_shape_that_nobody_says_is_shown_with_the_flag(tmp_path):
    text = page(keras_file(tmp_path / "m.keras", config=hostile.sequential(hostile.layer("Dense", "d"))))
    assert "A release needs more" in text
    assert "--input-shape" in text


def test_a_weight_that_is_not_finite_is_an_error(tmp_path):
    weights = hostile.small_weights(np.float32([np.nan]))
    with pytest.raises(BadInput, match="layer score"):
        inspect(keras_file(tmp_path / "m.keras", weights=weights))


def test_no_framework_is_imported(tmp_path):
    code = (
        "import sys; from pathlib import Path; from rich.console import Console; "
        "from flows.machine.inspection import *; "
        f"render(inspect(Path({str(keras_file(tmp_path / 'm.keras'))!r})), Console(file=sys.stderr)); "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'keras', 'tensorflow', 'prefect'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
