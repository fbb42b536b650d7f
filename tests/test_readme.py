"""The README and the quickstart say what the program does: its matrix, its commands."""

from flows.cli import app
from tools import matrix


def test_the_matrix_is_the_registries():
    readme = matrix.README.read_text("utf-8")
    assert matrix.BEGIN in readme
    assert readme == matrix.written(readme), "run `make matrix`"


def test_a_row_that_is_missing_from_the_readme_is_noticed():
    readme = matrix.README.read_text("utf-8")
    assert readme.replace("ONNX Runtime, CPU provider", "") != matrix.written(readme)


def test_every_command_is_in_the_quickstart():
    quickstart = (matrix.README.parent / "docs" / "quickstart.md").read_text("utf-8")
    for command in app:
        assert command.startswith("-") or f"paritygate {command}" in quickstart, command


def test_the_readme_is_read_in_two_minutes():
    text = matrix.README.read_text("utf-8")
    assert len(text.splitlines()) <= 125
    assert len(text.split()) <= 850  # the generated matrix included
