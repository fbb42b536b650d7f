"""Models that need code of their own: refused by name without it, proven in every format with it, and on record.

The same for real files, where PARITYGATE_WILD names their folder; their code was written from what each file says.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from bench import required
from custom_models import CODE

from exporters.errors import BadInput
from exporters.formats.registry import EXPORTERS, FORMATS
from exporters.source.admission import admit, examine
from exporters.source.model_source import ModelSource
from flows.batch.outcomes import states_of
from validators.release.integrity import manifest_digest
from validators.release.manifest import load
from validators.runtimes.registry import RUNTIMES

ROOT = Path(__file__).resolve().parents[1]
OFF = {"policy": {"gpu": "off"}}
NEEDS = {
    "twins": {
        "l1_distance": "layer L1Distance from l1_distance at layer apart (config.layers[5])",
        "normalization": "layer L2Normalization from normalization, registered as embeddings>L2Normalization",
        "categories": "layer CastAndClipLayer from categories",
    },
    "tokens": {
        "positional_embedding": "layer PositionalEmbedding from positional_embedding",
        "transformer_block": "layer TransformerEncoder from transformer_block",
    },
    "patches": {
        "vit_patches": "layer Patches from vit_patches at layer patches (config.layers[2])",
        "normalization": "layer ResponseNormalization from normalization",
        "positional_embedding": "layer PositionalEncoding from positional_embedding",
        "transformer_block": "layer TransformerBlock from transformer_block",
    },
    "temporal": {"tcn": "layer TCN from tcn at layer tcn (config.layers[1])"},
    "autoencoder": {"sampling": "function sampling at layer z"},
    "recommender": {"subclass": "model RecommenderNet from subclass"},
    "pruned": {
        "one_hot": "layer OneHot from one_hot",
        "pruning": "layer PruneLowMagnitude from pruning",
    },
    "variational": {"sampling": "model VAE from sampling"},
}
"""Model -> file with code it needs -> how a refusal names the need."""

pytestmark = pytest.mark.slow


def files(names):
    return [str(CODE / f"{name}.py") for name in names]


def model(bench, name):
    return bench.build(f"tests.custom_models:{name}")


def refusal(path, **allowed):
    with pytest.raises(BadInput) as error:
        admit(examine(path), **{"custom_objects": False, "trust_lambda": False, **allowed})
    return error.value


@pytest.mark.parametrize("name", NEEDS)
def test_without_the_code_the_refusal_names_every_class_its_module_its_layer_and_the_way_on(bench, name):
    error = refusal(model(bench, name))
    for need in NEEDS[name].values():
        assert need in error.message
    assert error.next_step.startswith("Give the code: --custom-objects PACKAGE.MODULE_OR_FILE (the file ")


@pytest.fixture(scope="module")
def proofs(bench):
    """Begins the work on all models, side by side; gives what came of one."""
    settings = {name: {"custom_objects": files(code), **OFF} for name, code in NEEDS.items()}
    for name, each in settings.items():
        bench.prove([f"tests.custom_models:{name}"], each, rows=required)
    return lambda name: bench.proof(f"tests.custom_models:{name}", settings[name])


@pytest.mark.parametrize("name", NEEDS)
def test_with_the_code_every_format_is_proven(proofs, name):
    proof = proofs(name)
    assert proof.verdict().passed, proof.verdict().reasons


def test_without_our_rewrite_the_reference_kernels_normalise_with_one_channel_less(bench, proofs, tmp_path):
    proof, row = proofs("patches"), next(row for row in EXPORTERS if row.key == "tflite/batch1")
    reference = next(row for row in RUNTIMES if row.name == "litert-reference")
    rewrite = "response_normalization_as_arithmetic"
    source = ModelSource(path=proof.model, custom_objects=tuple(files(NEEDS["patches"])))
    forms = bench.lower(source, tmp_path / "lowered", [row.source], without=rewrite).unwrap().forms
    bench.export(row, source, forms[row.source], tmp_path / "made", without=rewrite).unwrap()
    shutil.copytree(proof.release / "evidence", tmp_path / "evidence")
    cell = bench.cell(tmp_path, replace(proof.artifacts[row.key], path="made"), reference)
    assert (cell.status, cell.reason) == ("failed", "tolerance exceeded")
    codes = {finding.code for finding in proof.artifacts[row.key].findings}
    assert "response-normalization-as-arithmetic" in codes


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["l1_distance", "normalization"], "was not given: layer CastAndClipLayer from categories at layer"),
        (["l1_distance", "tcn"], "l1_distance.py, tcn.py defines L1, L1Distance, ResidualBlock, TCN"),
    ],
)
def test_code_that_lacks_a_class_is_told_what_it_lacks_and_what_it_has(bench, given, why):
    source = ModelSource(path=model(bench, "twins"), custom_objects=tuple(files(given)))
    outcome = bench.outcome("tests.custom_models:used", source)
    assert outcome.status == "bad input"
    assert why in outcome.message
    assert "--custom-objects PACKAGE.MODULE_OR_FILE" in outcome.next_step


def test_bytecode_is_refused_with_its_place_and_what_it_names(bench):
    error = refusal(model(bench, "trusting"), custom_objects=True)
    assert "holds Python bytecode that would run unchecked, in layer doubled (config.layers[1]" in error.message
    assert "(its code names value" in error.message
    assert error.next_step.startswith("If you trust where the file comes from: --trust-lambda.")


def release(path, out, *flags):
    command = [sys.executable, "-m", "flows.cli", "release", str(path), "-o", str(out), "--gpu", "off", "--no-prefect"]
    return subprocess.run([*command, *flags], cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_release_says_for_ever_which_code_and_which_bytecode_ran(bench, tmp_path):
    out = tmp_path / "trusting.release"
    (file,) = files(["normalization"])
    done = release(model(bench, "trusting"), out, "--custom-objects", file, "--trust-lambda")
    assert done.returncode == 0, done.stderr
    said = json.loads((out / "release.json").read_text("utf-8"))["model"]
    (used,) = said["custom_objects"]
    assert (used["kind"], used["name"], used["layers"]) == ("layer", "embeddings>L2Normalization", ["length"])
    assert used["given"] == "normalization.py"
    assert used["digest"] == digest(Path(file))
    (bytecode,) = said["lambdas"]
    assert bytecode["layer"] == "doubled"
    assert bytecode["position"].startswith("config.layers[1]")
    report = (out / "report.md").read_text("utf-8")
    assert "`embeddings>L2Normalization` from `normalization.py`" in report
    assert "ytecode that ran unchecked: layer `doubled`" in report
    assert load(out).model.lambdas[0].layer == "doubled"
    assert len(manifest_digest(out)) == 64


def digest(file):
    return hashlib.sha256(file.read_bytes()).hexdigest()


# -- real files -------------------------------------------------------------------------------------------------------

VOLUME = "--input-shape=x=?,32,32,32,1"
PROVEN = (
    ("cifar10_subclass", ["subclass"]),
    ("eeg_transformer", ["positional_embedding", "transformer_block"]),
    ("face_multisub_lambda", [], "--trust-lambda"),
    ("face_siamese_l1", ["l1_distance"]),
    ("malaria_transformer", ["categories"]),
    ("recommendernet", ["subclass"]),
    ("speaker_l1", ["l1_distance"]),
    ("tcn_custom", ["tcn"]),
    ("textvec_transformer", ["positional_embedding", "transformer_block"]),
    ("tfmot_prune", ["pruning"]),
    ("vae_encoder_lambda", ["sampling"]),
    ("vae_losslayer", ["sampling"]),
    ("voxel_encoder_dyn", ["one_hot", "sampling"]),
)
"""File, its code, flags."""
LIMITED = (("vae_subclass_k215", ["sampling"], VOLUME, "tfjs", "Conv3DBackpropInputV2"),)
"""File, its code, a flag, the format that cannot express it, the operator it lacks."""
NOT_SERVED = (
    ("cvae_encoder", [], "the bytecode of a Lambda layer is not that of Python", "--trust-lambda"),
    ("onestep", ["generator"], "the input shape of this OneStep is not stored in the file"),
    ("qkeras4_prune", ["pruning"], "Unknown layer: 'QConv1D'"),
    ("vit_wrapper", ["vit_patches"], "expected 2 variables, but received 0"),
)
"""File, its code, what is wrong with it, flags."""

on_the_shelf = pytest.mark.skipif("PARITYGATE_WILD" not in os.environ, reason="PARITYGATE_WILD names no folder")


def wild(name):
    return Path(os.environ["PARITYGATE_WILD"]) / f"{name}.keras"


def given(code):
    return [part for file in files(code) for part in ("--custom-objects", file)]


@on_the_shelf
@pytest.mark.parametrize("name", sorted({name for name, *_ in (*PROVEN, *LIMITED, *NOT_SERVED)}))
def test_a_real_file_is_refused_without_its_code_or_trust(name):
    error = refusal(wild(name))
    assert error.message.startswith(f"{name}.keras ")
    assert "--custom-objects" in error.next_step or "--trust-lambda" in error.next_step


@on_the_shelf
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "code", "flags"), [(name, code, flags) for name, code, *flags in PROVEN])
def test_a_real_file_is_proven_in_every_format_with_its_code(name, code, flags, tmp_path):
    out = tmp_path / "wild.release"
    done = release(wild(name), out, *given(code), *flags)
    assert out.is_dir(), done.stderr
    manifest = load(out)
    assert {state.format: state.state for state in states_of(manifest)} == dict.fromkeys(FORMATS, "proven")
    assert {used.given for used in manifest.model.custom_objects} == {Path(file).name for file in files(code)}
    assert bool(manifest.model.lambdas) == ("--trust-lambda" in flags)


@on_the_shelf
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "code", "flag", "target", "why"), LIMITED)
def test_a_real_file_that_one_target_cannot_express_is_proven_in_the_others(name, code, flag, target, why, tmp_path):  # noqa: PLR0913, PLR0917
    out = tmp_path / "wild.release"
    done = release(wild(name), out, *given(code), flag)
    assert out.is_dir(), done.stderr
    states = {state.format: state for state in states_of(load(out))}
    limit = states.pop(target)
    assert limit.state == "limited"
    assert why in limit.reason
    assert {state.state for state in states.values()} == {"proven"}


@on_the_shelf
@pytest.mark.parametrize(("name", "code", "why", "flags"), [(n, c, why, flags) for n, c, why, *flags in NOT_SERVED])
def test_a_real_file_that_no_code_serves_is_refused_with_the_cause(name, code, why, flags, tmp_path):
    done = release(wild(name), tmp_path / "wild.release", *given(code), *flags)
    assert done.returncode == 2, done.stderr
    assert why in done.stderr
