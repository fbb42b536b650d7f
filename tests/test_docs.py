"""The pages agree with the tree: their links, the files they name and the folders of docs/architecture.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "deployments").rglob("README.md")),
]
LAYERS = ("exporters", "validators", "flows")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_link_leads_to_a_file(page):
    for target in re.findall(r"\]\((?!http)([^)#]+)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=name_of)
def test_each_named_module_exists(page):
    for module in re.findall(r"(?<![\w/])(?:exporters|validators|flows)/[a-z0-9_/]+\.py\b", page.read_text("utf-8")):
        assert (ROOT / module).is_file(), module


def test_each_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text("utf-8")
    for page in (ROOT / "docs").iterdir():
        if page.suffix == ".md" and page.name != "README.md":
            assert f"({page.name})" in index, page.name


def folders_in_order() -> list[str]:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    return re.findall(rf"^\| `((?:{'|'.join(LAYERS)})[\w/]*)` \|", text, flags=re.MULTILINE)


def imported_folders(file: Path) -> Iterator[str]:
    """Folders of the three packages that a module imports from, inside of functions too."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        for name in names:
            path = ROOT / name.replace(".", "/")
            if path.with_suffix(".py").is_file():
                yield path.parent.relative_to(ROOT).as_posix()
            elif path.is_dir():
                yield path.relative_to(ROOT).as_posix()


def test_the_architecture_names_every_folder_once():
    named = folders_in_order()
    files = [file for layer in LAYERS for file in (ROOT / layer).rglob("__init__.py")]
    folders = {file.parent.relative_to(ROOT).as_posix() for file in files}
    assert len(named) == len(set(named))
    assert set(named) == folders


def test_a_folder_imports_only_from_folders_above_it_in_the_architecture():
    place = {name: at for at, name in enumerate(folders_in_order())}
    upwards = {
        f"{file.relative_to(ROOT)} imports from {folder}"
        for layer in LAYERS
        for file in (ROOT / layer).rglob("*.py")
        for folder in imported_folders(file)
        if place.get(folder, -1) > place.get(file.parent.relative_to(ROOT).as_posix(), -1)
    }
    assert not upwards
