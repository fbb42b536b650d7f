"""Every model of `tests/text_models.py` in all formats: split, exported, and each cell fed the texts themselves."""

import json
import shutil
from dataclasses import replace

import pytest
from text_models import IMPOSSIBLE, MODELS, WORDS

from exporters.files.hashing import digest_tree
from exporters.formats.registry import EXPORTERS
from exporters.preprocessing.description import FILE
from exporters.preprocessing.steps import PUNCTUATION
from exporters.source.model_source import ModelSource
from validators.runtimes.registry import planned, runtime

pytestmark = pytest.mark.slow

TABLE = "tests.text_models:"
ON_THE_CPU = {"policy": {"gpu": "off"}}
CORES = [row.key for row in EXPORTERS if row.source != "model"]

every_model = pytest.mark.parametrize("model", list(MODELS))


@pytest.fixture
def proof(bench, model):
    bench.prove([f"{TABLE}{name}" for name in MODELS], ON_THE_CPU)
    return bench.proof(f"{TABLE}{model}")


@every_model
def test_every_format_is_exported_and_every_runtime_proves_it_over_the_texts_themselves(proof, model):
    exported = {key: (artifact.status, artifact.reason) for key, artifact in proof.artifacts.items()}
    assert exported == dict.fromkeys(exported, ("exported", ""))
    required = {(row.name, row.device) for row in planned(("saved_model", "tflite", "tfjs", "onnx"), gpu="off")}
    assert {(cell.runtime, cell.device) for cell in proof.cells.values()} == required
    ran = {cell.key: (cell.status, cell.message) for cell in proof.cells.values() if cell.runtime != "litertjs-wasm"}
    assert ran == dict.fromkeys(ran, ("passed", ""))
    assert proof.verdict().passed


@every_model
def test_litertjs_runs_the_core_of_one_row_where_it_has_the_types(proof, model):
    cell = proof.cells["tflite/batch1 litertjs-wasm cpu"]
    dynamic = model == "longest_of_the_batch"
    expected = {"only_text": "litertjs-type"}.get(model, "litertjs-dynamic-batch" if dynamic else "")
    assert (cell.status, cell.reason) == ("limited" if expected else "passed", expected), cell.message


@every_model
def test_the_cores_carry_their_preprocessing_and_the_saved_model_has_none(proof, model):
    assert {key: artifact.preprocessing for key, artifact in proof.artifacts.items()} == {
        "saved_model/default": "",
        **dict.fromkeys(CORES, FILE),
    }
    for key in CORES:
        folder = proof.release / proof.artifacts[key].path
        description = json.loads((folder / FILE).read_text("utf-8"))
        inputs = {spec.name for spec in proof.artifacts[key].signature.inputs}
        assert {fed["name"] for fed in description["feeds"]} == inputs
        assert [spec["name"] for spec in description["inputs"]] == [spec.name for spec in proof.signature.inputs]
        assert digest_tree(folder)[0] == proof.artifacts[key].digest


@every_model
def test_the_samples_hold_words_that_the_model_knows_and_words_that_it_does_not(proof, model):
    texts = set()
    for sample_set in proof.sets:
        for file in (proof.release / "evidence" / "samples" / sample_set.name).glob("*.json"):
            texts.update(json.loads(file.read_text("utf-8"))["values"])
    known = {word for word in WORDS if any(word in text.lower() for text in texts)}
    assert len(known) > 2
    assert any("42" in text or "unseen" in text for text in texts), texts


@pytest.fixture
def words(bench):
    return bench.proof(f"{TABLE}words_to_numbers", ON_THE_CPU)


def tampered(bench, proof, folder, change):
    """The ONNX cell over a copy of the release whose description was changed."""
    artifact = proof.artifacts["onnx/default"]
    shutil.copytree(proof.release / "evidence", folder / "evidence")
    shutil.copytree(proof.release / artifact.path, folder / artifact.path)
    change(folder / artifact.path)
    return bench.cell(folder, replace(artifact, digest=""), runtime("onnxruntime", "cpu"))


def vocabulary_the_other_way_round(folder):
    path = folder / "vocabulary.words.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8"))[::-1]), "utf-8")


def with_steps(change):
    def apply(folder):
        content = json.loads((folder / FILE).read_text("utf-8"))
        change({step["operation"]: step for step in content["steps"]}, content)
        (folder / FILE).write_text(json.dumps(content), "utf-8")

    return apply


@pytest.mark.parametrize(
    "change",
    [
        vocabulary_the_other_way_round,
        with_steps(lambda steps, _: steps["strip"].update(characters=".")),
        with_steps(lambda steps, _: steps["pad"].update(value=1)),
        with_steps(lambda steps, _: steps["lookup"]["unknown"].update(first=0)),
        with_steps(lambda steps, _: steps["lookup"].update(first=1)),
    ],
    ids=["shuffled vocabulary", "other punctuation", "other padding", "other unknown word", "other first number"],
)
def test_a_description_that_says_something_else_fails_the_cell(bench, words, tmp_path, change):
    cell = tampered(bench, words, tmp_path, change)
    assert (cell.status, cell.reason) == ("failed", "tolerance exceeded")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_steps(lambda _, content: content.update(version="0")), "version: got '0', valid is '1'"),
        (with_steps(lambda steps, _: steps["strip"].update(operation="upper")), "Input tag 'upper'"),
        (
            with_steps(lambda _, content: content["feeds"][0].update(name="other")),
            "it makes other, the core takes words",
        ),
        (lambda folder: (folder / FILE).unlink(), "cannot be read"),
        (lambda folder: (folder / "vocabulary.words.json").unlink(), "cannot be read"),
    ],
    ids=["another version", "an unknown step", "of another core", "no description", "no vocabulary"],
)
def test_a_description_that_nobody_can_run_makes_the_cell_errored(bench, words, tmp_path, change, message):
    cell = tampered(bench, words, tmp_path, change)
    assert (cell.status, cell.reason) == ("errored", "bad input")
    assert message in cell.message


def test_a_description_that_the_manifest_does_not_name_is_not_run(bench, words, tmp_path):
    artifact = replace(words.artifacts["onnx/default"], preprocessing="")
    shutil.copytree(words.release / "evidence", tmp_path / "evidence")
    shutil.copytree(words.release / artifact.path, tmp_path / artifact.path)
    cell = bench.cell(tmp_path, artifact, runtime("onnxruntime", "cpu"))
    assert (cell.status, cell.reason) == ("errored", "bad input")
    assert "does not name it" in cell.message


def test_a_rule_of_the_users_own_is_told_in_steps_where_it_can_be(bench, tmp_path):
    source = ModelSource(path=bench.build(f"{TABLE}own_rule_in_steps"), custom_objects=("tests/text_models.py",))
    form = bench.lower(source, tmp_path, ["unrolled"]).unwrap().forms["unrolled"]
    steps = json.loads((form.folder / FILE).read_text("utf-8"))["steps"]
    said = ["lower", "replace", "replace", "squeeze", "split", "lookup", "encode", "cast"]
    assert [step["operation"] for step in steps] == said
    assert (steps[1]["find"], steps[1]["put"]) == (["<br />"], " ")
    assert ("".join(sorted(steps[2]["find"])), steps[2]["put"]) == ("".join(sorted(PUNCTUATION)), "")


WHY = {
    "upper_case": ("string-op", "operator StringUpper"),
    "words_out": ("text-output", "word (StringLookup)"),
    "learned_bins": ("string-op", "operator ArgMax (ArgMax), before codes (IntegerLookup)"),
    "own_rule": ("string-op", "StringJoin"),
    "rows_of_any_length": ("string-op", "words (TextVectorization) gives RaggedTensor"),
}


def test_every_impossible_model_has_its_reason_here():
    assert set(WHY) == set(IMPOSSIBLE)


@pytest.mark.parametrize("name", list(IMPOSSIBLE))
def test_a_model_that_cannot_be_split_is_limited_and_the_reason_names_the_operator(bench, tmp_path, name):
    path = bench.build(f"{TABLE}{name}")
    source = ModelSource(path=path, custom_objects=("tests/text_models.py",), trust_lambda=True)
    reached = bench.lower(source, tmp_path, ["unrolled"]).unwrap().forms["unrolled"].limited
    assert (reached.limit, WHY[name][1] in reached.message) == (WHY[name][0], True), reached.message
    assert "SavedModel" in reached.next_step


@pytest.fixture
def made_without(bench, tmp_path):
    """The categories in TF.js or TF Lite, lowered without one rewrite: the outcome of the export and its folder."""

    def run(rewrite, row):
        source, folder = ModelSource(path=bench.build(f"{TABLE}categories")), tmp_path / "release" / "artifacts"
        folder.parent.mkdir()
        forms = bench.lower(source, tmp_path / "lowered", [row.source], without=rewrite).unwrap().forms
        return bench.export(row, source, forms[row.source], folder, without=rewrite), folder

    return run


def test_without_integers_one_hot_vectors_are_lost_on_wasm_and_with_them_they_are_equal(bench, made_without):
    proof = bench.proof(f"{TABLE}categories", ON_THE_CPU)
    key = "tfjs/default tfjs-wasm cpu"
    outcome, folder = made_without("one_hot_of_integers", next(row for row in EXPORTERS if row.key == "tfjs/default"))
    signature = outcome.unwrap().signature
    shutil.copytree(proof.release / "evidence", folder.parent / "evidence")
    artifact = replace(proof.artifacts["tfjs/default"], path=folder.name, signature=signature)
    assert bench.cell(folder.parent, artifact, runtime("tfjs-wasm", "cpu")).reason == "tolerance exceeded"
    assert (proof.cells[key].status, proof.cells[key].message) == ("passed", "")


def test_without_comparisons_counts_have_no_operator_in_tf_lite_and_with_them_they_are_equal(bench, made_without):
    proof = bench.proof(f"{TABLE}categories", ON_THE_CPU)
    outcome, _ = made_without("bincount_as_comparison", next(row for row in EXPORTERS if row.key == "tflite/dynamic"))
    assert (outcome.status, "DenseBincount" in outcome.message) == ("limited", True)
    assert {proof.artifacts[key].status for key in proof.artifacts} == {"exported"}
    assert proof.verdict().passed
