"""What `paritygate submit` sends: every file that the settings name, once, and the exit code of what came of it."""

from uuid import UUID

import pytest

from exporters.errors import BadInput
from flows.config.input_files import settings_digest
from flows.config.sections import Samples
from flows.config.settings import Settings
from flows.prefect.bundle import pack, unpack
from flows.prefect.submit import Submitted


@pytest.fixture
def settings(tmp_path):
    """Weights, the function that builds their model, code of its own, samples, and a metric: a file for each."""
    files = {"net.weights.h5": "weights", "build.py": "x = 1", "layers.py": "x = 2", "score.py": "x = 3"}
    mine = tmp_path / "mine"
    (mine / "samples").mkdir(parents=True)
    for name, text in {**files, "samples/image.npy": "rows"}.items():
        (mine / name).write_text(text)
    return Settings(
        model=mine / "net.weights.h5",
        architecture=f"{mine / 'build.py'}:make",
        custom_objects=(str(mine / "layers.py"), "package.module"),
        samples=Samples(path=mine / "samples", metric=f"{mine / 'score.py'}:score"),
    )


def test_a_bundle_carries_the_code_and_the_architecture_too(settings, tmp_path):
    sent, url = pack(settings, str(tmp_path / "inbox"))
    got = unpack(sent, url, tmp_path / "fetched")
    assert got.architecture == f"{tmp_path / 'fetched/architecture/build.py'}:make"
    assert got.custom_objects == (str(tmp_path / "fetched/code/0/layers.py"), "package.module")
    assert got.model.read_text() == "weights"
    assert (got.samples.path / "image.npy").read_text() == "rows"
    assert (tmp_path / "fetched/code/0/layers.py").read_text() == "x = 2"
    assert (tmp_path / "fetched/metric/score.py").read_text() == "x = 3"
    # To the last file, it is the same that is asked of the worker as of this machine.
    here, there = (each.model_copy(update={"custom_objects": each.custom_objects[:1]}) for each in (settings, got))
    mark = settings_digest(here, model="m", samples=here.samples.path)
    assert mark
    assert settings_digest(there, model="m", samples=there.samples.path) == mark


def test_changed_code_is_another_bundle_and_the_same_files_are_sent_once(settings, tmp_path):
    inbox = tmp_path / "inbox"
    _, first = pack(settings, str(inbox))
    written = {path: path.stat().st_mtime_ns for path in inbox.rglob("*.py")}
    assert pack(settings, str(inbox))[1] == first
    assert {path: path.stat().st_mtime_ns for path in inbox.rglob("*.py")} == written
    (tmp_path / "mine" / "layers.py").write_text("x = 20")
    assert pack(settings, str(inbox))[1] != first


def test_code_that_changed_in_storage_is_not_run(settings, tmp_path):
    sent, url = pack(settings, str(tmp_path / "inbox"))
    (code,) = (tmp_path / "inbox").rglob("layers.py")
    code.write_text("x = 9")
    with pytest.raises(BadInput, match="its files are not the ones that were submitted"):
        unpack(sent, url, tmp_path / "fetched")


@pytest.mark.parametrize(
    ("state", "final", "code"),
    [
        ("Released", True, 0),
        ("Refused", True, 1),
        ("Awaiting", True, 1),
        ("Bad input", True, 2),
        ("Broken", True, 3),
        ("Crashed", True, 3),
        ("Cancelled", True, 3),
        ("Running", False, 0),
    ],
)
def test_a_run_that_was_followed_ends_with_the_code_of_a_release(state, final, code):
    run = Submitted(run=UUID(int=1), name="release", url="", state=state, message="", final=final)
    assert run.exit_code == code
