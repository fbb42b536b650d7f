"""Real models of text and tables, where PARITYGATE_WILD names their folder: split, and proven in every format."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from exporters.formats.registry import EXPORTERS, FORMATS
from exporters.preprocessing.description import FILE, read
from flows.batch.outcomes import states_of
from validators.release.manifest import load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif("PARITYGATE_WILD" not in os.environ, reason="PARITYGATE_WILD names no folder"),
]


@pytest.mark.parametrize(("name", "layers"), [("textvec", 1), ("featurespace_k213", 16)])
def test_a_real_model_of_text_or_tables_is_proven_in_every_format_with_its_preprocessing(name, layers, tmp_path):
    out, settings = tmp_path / "wild.release", tmp_path / "off.toml"
    settings.write_text('[policy]\ngpu = "off"\n')
    command = [sys.executable, "-m", "flows.cli", "release", str(Path(os.environ["PARITYGATE_WILD"]) / f"{name}.keras")]
    command += ["-o", str(out), "--config", str(settings), "--no-prefect"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = load(out)
    assert {state.format: state.state for state in states_of(manifest)} == dict.fromkeys(FORMATS, "proven")
    cores = {row.key for row in EXPORTERS if row.source != "model"}
    assert {artifact.key: artifact.preprocessing for artifact in manifest.artifacts if artifact.preprocessing} == (
        dict.fromkeys(cores, FILE)
    )
    for artifact in manifest.artifacts:
        if artifact.preprocessing:
            steps = read(out / artifact.path).description.steps
            assert len({step.layer for step in steps}) == layers
