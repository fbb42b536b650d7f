"""What is committed about the environment: pinned with hashes, free of addresses and of anybody's machine."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import tomllib
import zlib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from flows.setup import converter
from validators.runtimes.registry import RUNTIMES

ROOT = Path(__file__).resolve().parents[1]
LONE_EXTRAS = sorted({row.extra for row in RUNTIMES} - {"export"})
"""A machine that only validates has the base and one of these; each has a lock of its own."""
LOCKS = ("requirements.lock", "tools/installer.lock", *(f"locks/{extra}.lock" for extra in LONE_EXTRAS))
WORKER_LOCK, SERVER_LOCK = "locks/worker.lock", "tests/object_store/swift.lock"
CONVERTER_LOCK = "flows/setup/converter.lock"
PACKAGE_LOCKS = ("validators/web/page/package-lock.json", "tools/pyright/package-lock.json")
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


@pytest.mark.parametrize("lock", [*LOCKS, WORKER_LOCK, SERVER_LOCK, CONVERTER_LOCK])
def test_every_pin_carries_a_hash(lock):
    blocks = re.split(r"^(?=\w)", (ROOT / lock).read_text("utf-8"), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pins(lock)) > 0
    assert [block.splitlines()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("lock", [*LOCKS, WORKER_LOCK, SERVER_LOCK, CONVERTER_LOCK])
def test_a_lock_names_no_address(lock):
    lines = (ROOT / lock).read_text("utf-8").splitlines()
    assert [line for line in lines if "://" in line or line.startswith("-") or " @ " in line] == []


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def unmet(lock, extras):
    """What the base and these extras ask for and the lock has not, or not in a fitting version."""
    given = project()
    wanted = itertools.chain(given["dependencies"], *(given["optional-dependencies"][extra] for extra in extras))
    asked = [Requirement(text) for text in wanted]
    locked = pins(lock)
    met = {need.name for need in asked for name, version in locked if name == need.name and version in need.specifier}
    return {need.name for need in asked} - met


def test_the_lock_satisfies_what_pyproject_asks_for():
    extras = set(project()["optional-dependencies"]) - {"all", "ort-cuda"}  # other extras; in the place of `ort`
    assert unmet("requirements.lock", extras) == set(), "run: make lock"


@pytest.mark.parametrize("extra", LONE_EXTRAS)
def test_the_lock_of_a_machine_that_only_validates_has_the_base_and_one_extra(extra):
    lock = f"locks/{extra}.lock"
    assert unmet(lock, [extra]) == set(), "run: make lock"
    others = {"tensorflow", "keras", "prefect", "ai-edge-litert", "onnxruntime", "onnxruntime-gpu", "websockets"}
    asked = {Requirement(text).name for text in project()["optional-dependencies"][extra]}
    assert {name for name, _ in pins(lock)} & others == asked & others


@pytest.mark.parametrize("extra", LONE_EXTRAS)
def test_all_locks_are_of_the_same_versions(extra):
    own = {pin for pin in pins(f"locks/{extra}.lock") if not pin[0].startswith(("nvidia-", "onnxruntime-gpu"))}
    assert own - set(pins("requirements.lock")) == set(), "run: make lock"


def test_the_lock_of_a_worker_has_prefect_and_what_builds_this_project():
    assert unmet(WORKER_LOCK, ["flow", "s3"]) == set(), "run: make lock"
    assert set(pins(WORKER_LOCK)) - set(pins("requirements.lock")) == set(), "run: make lock"
    assert "hatchling" in dict(pins(WORKER_LOCK))


def test_the_two_builds_of_onnx_runtime_are_of_one_version_and_in_no_lock_together():
    both = {"onnxruntime", "onnxruntime-gpu"}
    found = {lock: dict(pins(lock)) for lock in LOCKS}
    assert [lock for lock, versions in found.items() if both <= set(versions)] == []
    assert found["locks/ort-cuda.lock"]["onnxruntime-gpu"] == found["requirements.lock"]["onnxruntime"]
    assert {"nvidia-cublas", "nvidia-cudnn-cu13"} <= set(found["locks/ort-cuda.lock"])


def test_make_lock_writes_a_lock_for_every_extra():
    make = [shutil.which("make"), "-pn", "help"]
    database = subprocess.run(make, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    named = {name: line.split() for name, line in re.findall(r"^(\w+_EXTRAS) := (.+)$", database, re.MULTILINE)}
    assert sorted(named["LONE_EXTRAS"]) == sorted(LONE_EXTRAS)
    assert sorted([*named["SHARED_EXTRAS"], "all", "ort-cuda"]) == sorted(project()["optional-dependencies"])


def test_the_extra_all_is_every_other_one_but_those_of_developers_and_of_a_second_onnx_runtime():
    extras = project()["optional-dependencies"]
    (itself,) = map(Requirement, extras["all"])
    assert itself.name == "paritygate"
    assert itself.extras == set(extras) - {"all", "dev", "ort-cuda"}


def test_no_extra_asks_for_the_converter_whose_demands_pip_cannot_meet():
    asked = {Requirement(text).name for extra in project()["optional-dependencies"].values() for text in extra}
    assert {name for name, _ in pins(CONVERTER_LOCK)} == {"tensorflowjs"}
    assert converter.locked_version() == dict(pins(CONVERTER_LOCK))["tensorflowjs"]
    assert "tensorflowjs" not in asked
    assert "tensorflowjs" not in dict(pins("requirements.lock"))
    assert "override-dependencies" not in (ROOT / "pyproject.toml").read_text("utf-8")  # pip knows no such thing


@pytest.mark.slow
@pytest.mark.parametrize("extra", ["litert", "ort", "web"])
def test_a_machine_that_only_validates_fetches_less_than_80_mb(extra, tmp_path):
    """Wheels are compressed files: their sizes are those of the installed files, compressed alike."""
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if uv is None:
        pytest.skip("no uv; make setup brings it")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "venv"], check=True)
    install = [uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--python", tmp_path / "venv"]
    install += ["-r", ROOT / "locks" / f"{extra}.lock"]
    # `make setup` filled the cache.
    if subprocess.run([*install, "--offline"], check=False, capture_output=True, cwd=tmp_path).returncode:
        subprocess.run(install, check=True, cwd=tmp_path)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    files = [file for file in packages.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    assert {"pydantic", "numpy"} <= {file.relative_to(packages).parts[0] for file in files}
    fetched = sum(len(zlib.compress(file.read_bytes())) for file in files)
    assert fetched < 80e6
    assert sum(file.stat().st_size for file in files) < 160e6


def test_the_changelog_names_the_locked_toolchain():
    newest = (ROOT / "CHANGELOG.md").read_text("utf-8").split("\n## ")[1]
    table = dict(re.findall(r"^\| (\S+(?: Runtime)?)(?: \(converter\))? \| ([\d.]+) \|$", newest, re.MULTILINE))
    named = {name.lower().replace(" ", ""): version for name, version in table.items()}
    locked = pins("requirements.lock") + pins(CONVERTER_LOCK)
    assert {"tensorflow", "keras", "tf2onnx", "onnxruntime", "tensorflowjs", "ai-edge-litert", "prefect"} <= set(named)
    stale = {name for name, version in named.items() if (name, version) not in locked}
    assert stale <= {"tf.js", "litert.js", "chromium"}  # not Python packages


def test_the_installer_is_the_one_the_makefile_names():
    (version,) = re.findall(r"^UV_VERSION := (.+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert pins("tools/installer.lock") == [("uv", version)]


@pytest.mark.parametrize("lock", PACKAGE_LOCKS)
def test_npm_packages_are_pinned_without_an_address(lock):
    packages = json.loads((ROOT / lock).read_text("utf-8"))["packages"]
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
