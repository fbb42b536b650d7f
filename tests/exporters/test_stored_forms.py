"""Every stored form of a model computes what Keras itself computes; nothing stays as an initializer left it."""

from pathlib import Path

import pytest
import stored_forms
from bench import required
from stored_forms import FORMS, WITHOUT_ARCHITECTURE

from exporters.errors import BadInput

pytestmark = pytest.mark.slow

MODELS = (
    *((2, name) for name in ("two_inputs", "image", "gated", "attention", "films", "dicts", "normalized")),
    (2, "spectral"),
    *((3, name) for name in ("shared", "operators", "built_for_a_shape", "recurrent", "normalized", "mixed")),
)
LEFT_OUT = {
    (2, "words"): {"h5", "by_name"},  # tf_keras refuses to write these
}


@pytest.fixture(scope="module")
def saved(bench, tmp_path_factory):
    """Saves a model in all forms, once; returns where they are and what Keras computes."""
    done = {}

    def run(generation, name):
        if (generation, name) not in done:
            forms = [form for form in FORMS if (generation, form) != (3, "saved_model")]
            forms = [form for form in forms if form not in LEFT_OUT.get((generation, name), ())]
            folder = str(tmp_path_factory.mktemp(name))
            request = {"keras": generation, "name": name, "folder": folder, "forms": forms}
            done[generation, name] = bench.call("tests.exporters.stored_forms:save", request)
        return done[generation, name]

    return run


@pytest.fixture
def load(bench):
    """Loads a model in another process; returns the outcome."""

    def run(path, architecture="", **loading):
        request = {"model": str(path), "architecture": str(architecture), **loading}
        return bench.outcome("tests.exporters.stored_forms:load", request)

    return run


@pytest.fixture
def builder(tmp_path):
    (tmp_path / "nets.py").write_text(stored_forms.BUILDER, "utf-8")
    return lambda name: f"{tmp_path / 'nets.py'}:{name}"


def same(found, expected):
    return len(found) == len(expected) and all(
        a == pytest.approx(b, rel=1e-6, abs=1e-7) for a, b in zip(found, expected, strict=True)
    )


@pytest.mark.parametrize(("generation", "name"), MODELS)
def test_every_form_computes_what_keras_computes(bench, saved, generation, name):
    told = saved(generation, name)
    forms = [form for form in FORMS if form in told]
    requests = {form: {"model": told[form][0], "architecture": told[form][1]} for form in forms}
    found = bench.call("tests.exporters.stored_forms:load_each", {"requests": requests})
    assert {form: values for form, values in found.items() if not same(values, told["values"])} == {}
    left_out = LEFT_OUT.get((generation, name), set()) | ({"saved_model"} if generation == 3 else set())
    assert set(told) >= {*FORMS, "values"} - left_out


@pytest.mark.parametrize("generation", [2, 3])
def test_words_that_a_form_does_not_hold_are_missed_by_name(saved, load, generation):
    told = saved(generation, "words")
    for form in set(FORMS) & set(told):
        with pytest.raises(BadInput, match="layer string_lookup has no vocabulary"):
            load(*told[form]).unwrap()


@pytest.mark.parametrize("form", [form for form in FORMS if form not in WITHOUT_ARCHITECTURE])
def test_a_builder_makes_the_model_that_the_weights_belong_to(saved, load, builder, form):
    told = saved(3, "two_layers")
    assert same(load(told[form][0], builder("make")).unwrap()["values"], told["values"])


@pytest.mark.parametrize("form", ["by_name", "by_object", "checkpoint"])
def test_a_builder_written_for_keras_2_makes_a_model_of_keras_2(saved, load, builder, tmp_path, form):
    told = saved(2, "built_by_a_call")
    (tmp_path / "nets.py").write_text(
        "import tf_keras as keras\n"
        "def make():\n"
        "    dense = keras.layers.Dense\n"
        "    return keras.Sequential([keras.Input((5,), name='x'), dense(3, activation='tanh'), dense(2, name='y')])\n",
        "utf-8",
    )
    assert same(load(told[form][0], builder("make")).unwrap()["values"], told["values"])
    if form != "by_object":  # which says nothing about the Keras that wrote it
        source = (tmp_path / "nets.py").read_text("utf-8").replace("import tf_keras as", "from tensorflow import")
        (tmp_path / "nets.py").write_text(source, "utf-8")
        assert same(load(told[form][0], builder("make")).unwrap()["values"], told["values"])


@pytest.mark.parametrize("form", ["by_object", "by_name", "checkpoint", "below_a_root"])
def test_weights_of_another_shape_are_named_with_both_shapes(saved, load, builder, form):
    with pytest.raises(BadInput, match="the weights do not fit the model") as error:
        load(saved(3, "two_layers")[form][0], builder("larger")).unwrap()
    for words in ("h/kernel", "(3, 4)", "(3, 5)"):
        assert words in error.value.message


@pytest.mark.parametrize("form", ["by_object", "by_name", "checkpoint", "below_a_root"])
@pytest.mark.parametrize("other", ["longer", "shorter"])
def test_weights_for_more_or_fewer_layers_are_refused(saved, load, builder, form, other):
    with pytest.raises(BadInput, match="the weights do not fit the model") as error:
        load(saved(3, "two_layers")[form][0], builder(other)).unwrap()
    assert "Give the architecture that these weights were saved from" in error.value.next_step


def test_layers_of_one_shape_get_the_weights_of_their_name_in_whatever_order_they_stand(saved, load, tmp_path):
    told = saved(3, "twins")
    (tmp_path / "nets.py").write_text(
        "import keras\n"
        "def make():\n"
        "    x = keras.Input((3,), name='x')\n"
        "    return keras.Model(x, [keras.layers.Dense(2, name=name)(x) for name in ('right', 'left')])\n",
        "utf-8",
    )
    assert same(load(told["by_name"][0], f"{tmp_path / 'nets.py'}:make").unwrap()["values"], told["values"][::-1])


def test_of_several_models_in_a_checkpoint_the_one_that_fits_is_taken(bench, load, builder, tmp_path):
    roots = {"discriminator": 5, "generator": 4, "zero": 6}
    told = bench.call("tests.exporters.stored_forms:with_roots", {"folder": str(tmp_path), "roots": roots})
    for name, form in {"generator": "make", "discriminator": "larger"}.items():
        assert same(load(told["path"], builder(form)).unwrap()["values"], [told[name]])
    with pytest.raises(BadInput, match="the weights do not fit the model"):
        load(told["path"], builder("longer")).unwrap()


def test_several_models_of_a_checkpoint_that_fit_alike_are_named_and_none_is_taken(bench, load, builder, tmp_path):
    roots = {"ema": 4, "model": 4, "small": 2}
    told = bench.call("tests.exporters.stored_forms:with_roots", {"folder": str(tmp_path), "roots": roots})
    with pytest.raises(BadInput, match="the model fits what is stored as ema, model alike") as error:
        load(told["path"], builder("make")).unwrap()
    assert "Save only the one that you mean" in error.value.next_step


def test_a_variable_that_nothing_restores_is_named(saved, load, tmp_path):
    """A layer may bring its own loader, which leaves a variable out and says nothing."""
    (tmp_path / "nets.py").write_text(
        stored_forms.BUILDER
        + "\nclass Dense(keras.layers.Dense):\n"
        + "    def load_own_variables(self, store):\n"
        + "        self.kernel.assign(store['0'])\n"
        + "\ndef make():\n"
        + "    x = keras.Input((3,), name='x')\n"
        + "    y = keras.layers.Dense(2, name='y')(Dense(4, activation='tanh', name='h')(x))\n"
        + "    return keras.Model(x, y)\n",
        "utf-8",
    )
    path = Path(saved(3, "two_layers")["by_object"][0])
    with pytest.raises(BadInput, match="1 of its 4 variables are not stored: h/bias"):
        load(path, f"{tmp_path / 'nets.py'}:make").unwrap()


@pytest.mark.parametrize(
    ("name", "words"),
    [("missing", "AttributeError"), ("nothing", "returned a int; expected a model of keras or tf_keras")],
)
def test_a_builder_that_makes_no_model_is_named(saved, load, builder, name, words):
    with pytest.raises(BadInput, match=words):
        load(saved(3, "two_layers")["by_object"][0], builder(name)).unwrap()


def test_bytecode_in_an_hdf5_file_runs_only_when_it_is_trusted(bench, load, tmp_path):
    path = bench.call("tests.exporters.stored_forms:with_lambda", {"folder": str(tmp_path)})
    with pytest.raises(BadInput, match="Lambda"):
        load(path).unwrap()
    assert load(path, trust_lambda=True).unwrap()["values"] == [[0, 2, 4, 6, 8, 0]]


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_a_file_that_says_another_backend_loads_all_the_same(saved, load, backend, tmp_path):
    """As Keras writes it there; the file is made here, and made to say so."""
    told = saved(3, "shared")
    path = tmp_path / "model.h5"
    path.write_bytes(Path(told["h5"][0]).read_bytes())
    stored_forms.say_backend(path, backend)
    assert same(load(path).unwrap()["values"], told["values"])


@pytest.mark.parametrize("model", ["image-2-saved_model", "operators-3-h5"])
def test_a_model_in_another_form_is_proven_in_all_formats(bench, model):
    proof = bench.proof(f"tests.exporters.stored_forms:{model}", {"policy": {"gpu": "off"}}, rows=required)
    assert {key: artifact.reason for key, artifact in proof.artifacts.items() if artifact.reason} == {}
    assert proof.verdict().reasons == ()


def test_weights_are_proven_with_their_architecture_in_all_formats(bench):
    model = "tests.exporters.stored_forms:shared-3-checkpoint"
    architecture = str(bench.build(model).parent / "model.json")
    proof = bench.proof(model, {"architecture": architecture, "policy": {"gpu": "off"}}, rows=required)
    assert {key: artifact.reason for key, artifact in proof.artifacts.items() if artifact.reason} == {}
    assert proof.verdict().reasons == ()
