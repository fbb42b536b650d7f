"""Every command's `--help` shows examples, and every command line of the help and of the documentation parses."""

import io
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from flows.cli import app

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = sorted(name for name in app if not name.startswith("-"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deployments").rglob("README.md"))]


def command_lines(text: str) -> Iterator[list[str]]:
    """The arguments of each `paritygate ...` line, with continued lines joined."""
    for line in text.replace("\\\n", " ").splitlines():
        if re.search(r"(?:^|\s|/)paritygate\s", line):
            words = shlex.split(line, comments=True)
            names = [word.rpartition("/")[2] for word in words]
            arguments = words[names.index("paritygate") + 1 :] if "paritygate" in names else []
            if arguments:  # otherwise the line installs it
                yield arguments


def shell_blocks(markdown: str) -> str:
    return "\n".join(re.findall(r"^ *```(?:sh|console)\n(.*?)^ *```", markdown, flags=re.MULTILINE | re.DOTALL))


def parses(arguments: list[str]) -> str:
    """Parses without executing; the command's name."""
    function, _, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    return function.__name__


def help_of(*command: str) -> str:
    """What `--help` prints on a terminal of 80 columns."""
    console = Console(width=80, file=io.StringIO())  # the app's own keeps the width of its first use
    with console.capture() as captured:
        app.help_print(command, console=console)
    return captured.get()


@pytest.mark.parametrize("name", COMMANDS)
def test_each_example_of_a_command_parses_and_is_explained(name):
    epilogue = app[name].help_epilogue
    assert epilogue, f"{name}: no examples; give @app.command a help_epilogue"
    assert max(map(len, epilogue.splitlines())) < 80
    lines = epilogue.replace("\\\n", " ").splitlines()
    examples = [at for at, line in enumerate(lines) if line.startswith("  paritygate ")]
    assert examples
    for at in examples:
        (arguments,) = command_lines(lines[at])
        assert arguments[0] == name
        parses(arguments)
        explanation = lines[at + 1]
        assert re.match(r" {6}\S", explanation), lines[at]
        assert explanation.endswith("."), explanation


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_into_80_columns(name):
    shown = help_of(*name.split())
    assert "Examples:" in shown
    assert [line for line in shown.splitlines() if len(line) > 80] == []


def test_a_summary_is_one_line_of_the_list_of_commands():
    shown = help_of()
    for name in COMMANDS:
        assert re.search(rf"^│ {name} +[A-Z].*\. +│$", shown, flags=re.MULTILINE), name


def test_the_examples_of_the_program_parse():
    lines = list(command_lines(app.help_epilogue.replace("`paritygate COMMAND --help`", "")))
    assert len(lines) >= 5
    for arguments in lines:
        assert parses(arguments) == arguments[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_each_command_line_of_a_page_parses(page):
    for arguments in command_lines(shell_blocks(page.read_text("utf-8"))):
        parses(arguments)


def test_an_option_that_does_not_exist_is_noticed():
    (arguments,) = command_lines("paritygate gate model.release --digits SHA256")
    with pytest.raises(Exception, match="--digits"):
        parses(arguments)
