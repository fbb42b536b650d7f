"""The allow-list: what Keras owns, what only says so, and whether the committed list is the installed Keras' own."""

import subprocess
import sys

import pytest

from exporters.source.admission.allow_list import LISTS, REFUSED, is_operation, origin


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


@pytest.mark.parametrize(
    ("kind", "module", "name", "owner"),
    [
        ("class", "keras.layers", "Dense", "keras"),
        ("class", "tf_keras.layers", "Dense", "keras"),
        ("class", "keras.src.engine.functional", "Functional", "keras"),
        ("class", "tf_keras.src.engine.functional", "Functional", "keras"),
        ("class", "keras.src.layers.core.tf_op_layer", "TFOpLambda", "keras"),
        ("class", "keras.utils", "FeatureSpace", "keras"),
        ("function", "keras.activations", "LeakyReLU", "keras"),
        ("class", "keras.src.utils.tf_utils", "Functional", "spoofed"),  # tf_keras imports the very module
        ("class", "tf_keras.src.testing_infra", "Dense", "spoofed"),
        ("class", "keras.src.models.functional", "Functional", "spoofed"),
        ("function", "keras.models", "load_model", "spoofed"),
        ("class", "tf_kerasx.layers", "Dense", "custom"),
    ],
)
def test_keras_2_has_a_list_of_its_own(kind, module, name, owner):
    assert origin(kind, module, name, generation=2) == owner


@pytest.mark.parametrize("name", ["nn.relu", "math.multiply", "__operators__.getitem", "compat.v1.transpose", "concat"])
def test_mathematics_on_tensors_may_be_called_by_name(name):
    assert is_operation(name)


@pytest.mark.parametrize(
    "name",
    [
        *("io.read_file", "io.write_file", "raw_ops.WriteFile", "py_function", "numpy_function", "compat.v1.py_func"),
        *("keras.utils.get_file", "keras.models.load_model", "saved_model.load", "data.Dataset.from_generator"),
        *(
            "map_fn",
            "while_loop",
            "cond",
            "switch_case",
            "random.normal",
            "nn.dropout",
            "print",
            "Variable",
            "load_op_library",
        ),
        *("image.decode_png", "compat.v1.nn.raw_rnn", "function", "autograph.to_graph", "sysconfig.get_lib"),
    ],
)
def test_nothing_else_of_tensorflow_may(name):
    assert not is_operation(name)


@pytest.mark.parametrize("generation", [2, 3])
def test_classes_that_bring_foreign_code_are_not_in_the_list(generation):
    listed = {line.split()[2] for line in LISTS[generation].read_text("utf-8").splitlines() if not line.startswith("#")}
    assert not listed & (set(REFUSED) | {"load_model", "get_file", "deserialize"})


@pytest.mark.slow
@pytest.mark.parametrize(("generation", "script"), [(2, "list_keras2_classes"), (3, "list_keras_classes")])
def test_the_committed_list_is_what_the_installed_keras_gives(generation, script):
    command = [sys.executable, "-m", f"exporters.source.admission.{script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == LISTS[generation].read_text("utf-8")
