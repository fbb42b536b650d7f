"""The allow-list: what Keras owns, what only says so, and whether the committed list is the installed Keras' own."""

import subprocess
import sys

import pytest

from exporters.admission.allow_list import LIST, REFUSED, origin


@pytest.mark.parametrize(
    ("kind", "module", "name"),
    [
        ("class", "keras.layers", "Dense"),
        ("class", "keras", "Sequential"),
        ("class", "keras", "DTypePolicy"),
        ("class", "keras.src.models.functional", "Functional"),
        ("class", "keras.src.engine.functional", "Functional"),
        ("class", "keras.src.ops.numpy", "GetItem"),
        ("class", "keras.initializers", "OrthogonalInitializer"),
        ("class", "keras.optimizers.schedules", "CosineDecay"),
        ("class", "", "L2"),
        ("function", "builtins", "gelu"),
        ("function", "keras.losses", "mean_squared_error"),
    ],
)
def test_what_keras_writes_is_its_own(kind, module, name):
    assert origin(kind, module, name) == "keras"


@pytest.mark.parametrize(
    ("kind", "module", "name"),
    [
        ("class", "keras.layers", "Backdoor"),
        ("class", "keras.utils", "Dense"),
        ("class", "keras.saving", "load_model"),
        ("function", "keras.utils", "get_file"),
        ("function", "keras.layers", "Dense"),
        ("class", "keras.srcs", "Functional"),
    ],
)
def test_a_false_claim_is_spoofed(kind, module, name):
    assert origin(kind, module, name) == "spoofed"


@pytest.mark.parametrize(
    ("kind", "module", "name"),
    [
        ("class", None, "Dense"),
        ("class", "keras_hub.layers", "TokenAndPositionEmbedding"),
        ("class", "kerasx", "Dense"),
        ("class", "builtins", "eval"),
        ("function", "builtins", "eval"),
        ("function", "os", "system"),
        ("class", "", "Mine"),
    ],
)
def test_everything_else_needs_the_users_code(kind, module, name):
    assert origin(kind, module, name) == "custom"


def test_classes_that_bring_foreign_code_are_not_in_the_list():
    listed = {line.split()[2] for line in LIST.read_text("utf-8").splitlines() if not line.startswith("#")}
    assert not listed & (set(REFUSED) | {"load_model", "get_file", "deserialize"})


@pytest.mark.slow
def test_the_committed_list_is_what_the_installed_keras_gives():
    done = subprocess.run(
        [sys.executable, "-m", "exporters.admission.list_keras_classes"], capture_output=True, text=True, check=True
    )
    assert done.stdout == LIST.read_text("utf-8")
