"""What a release works on: one copy of every file that the user gave, told of by the user's paths."""

import json
from pathlib import Path

import hostile_forms
import pytest
from hostile_forms import checkpoint, h5_model, saved_model

from exporters.errors import BadInput
from exporters.jobs import Workers
from flows.config.input_files import model_digest
from flows.config.settings import load_settings
from flows.pipeline.exports import Exports
from flows.pipeline.workspace import Workspace


@pytest.fixture
def exports(tmp_path):
    """Begins a release of a model and admits it, without any framework."""
    made = []

    def begin(model, architecture=None):
        settings = load_settings(
            None, {"model": str(model), "architecture": architecture, "output": str(tmp_path / f"{len(made)}.release")}
        )
        workspace = Workspace(settings.release_dir)
        workers = Workers(workspace.scratch, workspace.logs)
        made.append((workspace, workers))
        return Exports(settings, workers, workspace)

    yield begin
    for workspace, workers in made:
        workers.close()
        workspace.remove()


@pytest.fixture
def architecture(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(json.dumps(hostile_forms.small_older_model() | {"keras_version": "2.3.0"}), "utf-8")
    return str(path)


def test_a_checkpoint_and_its_architecture_are_copied_together(exports, architecture, tmp_path):
    prefix = checkpoint(tmp_path / "run" / "m")
    (prefix.parent / "another.index").write_bytes(b"not of this checkpoint")
    begun = exports(prefix, architecture)
    admitted = begun.admit()
    assert (admitted.facts.form, admitted.facts.parameters) == ("weights", 15)
    copied = admitted.source.path.parent
    assert sorted(path.name for path in copied.iterdir()) == ["m.data-00000-of-00001", "m.index"]
    assert Path(admitted.source.architecture).read_bytes() == Path(architecture).read_bytes()
    assert Path(admitted.source.architecture) != Path(architecture)


def test_the_newest_checkpoint_of_a_folder_is_copied_alone(exports, architecture, tmp_path):
    folder = checkpoint(tmp_path / "run" / "m-2").parent
    checkpoint(folder / "m-1")
    (folder / "checkpoint").write_text('model_checkpoint_path: "m-2"\n', "utf-8")
    begun = exports(folder, architecture)
    admitted = begun.admit()
    assert sorted(path.name for path in admitted.source.path.iterdir()) == [
        "checkpoint",
        "m-2.data-00000-of-00001",
        "m-2.index",
    ]


def test_a_builders_file_stays_beside_the_modules_that_it_imports(exports, tmp_path, monkeypatch):
    (tmp_path / "nets.py").write_text("raise SystemExit('it ran')", "utf-8")
    monkeypatch.chdir(tmp_path)
    begun = exports(checkpoint(tmp_path / "m"), "nets.py:make")
    assert begun.admit().facts.builder == f"{tmp_path / 'nets.py'}:make"


def test_a_folder_with_a_link_is_refused_before_anything_is_copied(exports, tmp_path):
    path = saved_model(tmp_path / "m")
    (path / "assets").symlink_to("/etc")
    begun = exports(path)
    with pytest.raises(BadInput, match="is a symbolic link"):
        begun.admit()
    assert not list(begun._workspace.scratch.rglob("passwd"))


@pytest.mark.parametrize("kind", ["h5", "saved_model"])
def test_a_refusal_names_the_users_own_path(exports, kind, tmp_path):
    path = tmp_path / "mine"
    if kind == "h5":
        h5_model(path, version="")
    else:
        hostile_forms.SAVED_MODELS["a subclass"][0](path)
    begun = exports(path)
    with pytest.raises(BadInput, match=rf"^{path}: ") as error, begun.copies.naming_originals():
        begun.admit()
    assert "given" not in error.value.message


@pytest.mark.parametrize("architecture", [None, "model.json"])
def test_a_model_that_is_not_there_has_no_digest(architecture, tmp_path):
    settings = load_settings(None, {"model": tmp_path / "gone.weights.h5", "architecture": architecture})
    with pytest.raises(BadInput, match=r"gone\.weights\.h5: no such file"):
        model_digest(settings)
