"""The README says what the program does: its matrix, its commands, its exit codes."""

import re

from flows.cli import app
from tools import matrix


def test_the_matrix_is_the_registries():
    readme = matrix.README.read_text("utf-8")
    assert matrix.BEGIN in readme
    assert readme == matrix.written(readme), "run `make matrix`"


def test_a_row_that_is_missing_from_the_readme_is_noticed():
    readme = matrix.README.read_text("utf-8")
    assert readme.replace("ONNX Runtime, CPU provider", "") != matrix.written(readme)


def test_every_command_is_in_the_readme():
    readme = matrix.README.read_text("utf-8")
    for command in ("release", "sweep", "verify", "gate", "inspect", "doctor"):
        assert command in app
        assert f"paritygate {command}" in readme


def test_every_link_to_a_file_leads_somewhere():
    readme = matrix.README.read_text("utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", readme):
        assert (matrix.README.parent / target).exists(), target
