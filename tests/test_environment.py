"""What is committed about the environment: pinned with hashes, free of addresses and of anybody's machine."""

import itertools
import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ("requirements.lock", "tools/installer.lock")
PACKAGE_LOCK = "validators/web/page/package-lock.json"
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==([^ \\;]+)", re.MULTILINE)
# Written so that this file does not match its own patterns.
MACHINE_PATHS = (rb"/(?:home|Users)/[a-z]\w*/", rb"(?<![\w.])/(?:root|work)/[\w.]", rb"/tmp/\w+\.\w{6,}/")


def pins(lock: str) -> list[tuple[str, str]]:
    """Returns (package, version) of every pin; some packages have one for each of several Python versions."""
    return PIN.findall((ROOT / lock).read_text("utf-8"))


def committed() -> list[Path]:
    """Returns the files that git tracks or would track; skips the test outside a checkout."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert ROOT / "pyproject.toml" in files
    return files


def machine_paths(content: bytes) -> list[bytes]:
    return [found for pattern in MACHINE_PATHS for found in re.findall(pattern, content)]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_carries_a_hash(lock):
    blocks = re.split(r"^(?=\w)", (ROOT / lock).read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(lock)) > 0
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address(lock):
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    assert [line for line in lines if "://" in line or line.startswith("-") or " @ " in line] == []


def test_the_lock_satisfies_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [Requirement(text) for text in itertools.chain(project["dependencies"], *extras.values())]
    locked = pins("requirements.lock")
    met = {need.name for need in asked for name, version in locked if name == need.name and version in need.specifier}
    assert {need.name for need in asked} - met == set(), "run: make lock"


def test_the_changelog_names_the_locked_toolchain():
    newest = (ROOT / "CHANGELOG.md").read_text("utf-8").split("\n## ")[1]
    table = dict(re.findall(r"^\| (\S+(?: Runtime)?)(?: \(converter\))? \| ([\d.]+) \|$", newest, re.MULTILINE))
    named = {name.lower().replace(" ", ""): version for name, version in table.items()}
    locked = pins("requirements.lock")
    assert {"tensorflow", "keras", "tf2onnx", "onnxruntime", "tensorflowjs", "ai-edge-litert", "prefect"} <= set(named)
    stale = {name for name, version in named.items() if (name, version) not in locked}
    assert stale <= {"tf.js", "chromium"}  # not Python packages


def test_the_installer_is_the_one_the_makefile_names():
    (version,) = re.findall(r"^UV_VERSION := (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert pins("tools/installer.lock") == [("uv", version)]


def test_the_browser_packages_are_pinned_without_an_address():
    packages = json.loads((ROOT / PACKAGE_LOCK).read_text("utf-8"))["packages"]
    installed = {path: entry for path, entry in packages.items() if path}
    assert installed
    assert [path for path, entry in installed.items() if "resolved" in entry] == []
    assert [path for path, entry in installed.items() if not entry.get("integrity", "").startswith("sha512-")] == []


def test_uv_lock_is_not_committed():
    assert [file for file in committed() if file.name == "uv.lock"] == []


def test_no_committed_file_names_a_place_on_somebodys_machine():
    found = {str(file.relative_to(ROOT)): machine_paths(file.read_bytes()) for file in committed()}
    assert {file: paths for file, paths in found.items() if paths} == {}


@pytest.mark.parametrize("path", ["home/jo/x.py", "Users/jo/x", "root/.venv", "work/main", "tmp/tmp.Ab3dE6gH/x"])
def test_a_place_on_a_machine_would_be_found(path):
    assert machine_paths(f"see /{path}".encode())
