"""The container files: linted, without a registry, and their steps performed outside a container."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import dockerfile
import pytest
import small_release

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "deployments").glob("Dockerfile.*"))
APT_CACHE = shutil.which("apt-cache")
UV = Path(sys.executable).with_name("uv")
HADOLINT = Path(sys.executable).with_name("hadolint")


def test_there_is_one_for_each_kind_of_worker():
    assert [file.suffix for file in FILES] == [".cpu", ".gpu"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.suffix)
def test_hadolint_finds_nothing(file):
    done = subprocess.run([HADOLINT, file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_hadolint_would_find_something(tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM debian:latest\nRUN cd /tmp && sudo apt-get install x\n")
    done = subprocess.run([HADOLINT, tmp_path / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 1


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.suffix)
def test_no_registry_is_named_and_every_image_has_a_version(file):
    images = [rest.split()[0] for name, rest in dockerfile.instructions(file.read_text()) if name == "FROM"]
    assert images
    assert [
        image for image in images if not re.fullmatch(r"[a-z]+:[\w.]+-bookworm-slim|[a-z]+:[\w.]+-slim-bookworm", image)
    ] == []
    assert "index-url" not in file.read_text()


def built(suffix, scratch, locks):
    file = ROOT / "deployments" / f"Dockerfile.{suffix}"
    cache = subprocess.run([UV, "cache", "dir"], capture_output=True, text=True, check=True).stdout.strip()
    given = {"LOCKS": locks, "UV_CACHE_DIR": cache, "UV_LINK_MODE": "hardlink"}
    image = dockerfile.build(file, ROOT, scratch, given)
    assert image.user == "65534:65534"
    for package in image.packages:
        found = subprocess.run([APT_CACHE, "show", package], capture_output=True, check=False)
        assert found.returncode == 0, f"{package}: no such system package"
    return image


def called(image, *command):
    """Runs a command of the image, at its root."""
    program = image.inside(".venv/bin") / command[0]
    run = [str(program), *map(str, command[1:])]
    done = subprocess.run(
        run, cwd=image.inside("."), env=image.variables(), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(APT_CACHE is None, reason="the images are Debian's")
def test_the_steps_make_a_light_worker_that_verifies_a_release_and_one_that_has_everything(tmp_path):
    """Light locks in the place of the large ones: CUDA's libraries are 2 GB, and `make setup` has proven the other."""
    image = built("gpu", tmp_path / "gpu", "locks/worker.lock locks/ort.lock")
    assert image.environment["NVIDIA_VISIBLE_DEVICES"] == "all"
    code, out, err = called(image, *image.entrypoint, "--help")
    assert code == 0, err
    assert "--pool" in out
    code, out, err = called(image, "paritygate", "verify", small_release.make(tmp_path / "small.release"))
    assert code == 0, out + err
    assert called(image, "python", "-c", "import flows.prefect.validate, flows.prefect.release")[0] == 0
    assert "No module named 'tensorflow'" in called(image, "python", "-c", "import tensorflow")[2]

    environment = tmp_path / "cpu/final/opt/paritygate/.venv"  # the same packages: no need to lay them out again
    environment.parent.mkdir(parents=True)
    image.inside(".venv").rename(environment)
    image = built("cpu", tmp_path / "cpu", "locks/worker.lock")
    assert "chromium-headless-shell" in image.packages
    code, out, err = called(image, "paritygate", "server", "deploy")
    assert (code, out) == (2, ""), err
    asked = "from validators.web.page_session import package_version; print(package_version('@tensorflow/tfjs-core'))"
    assert called(image, "python", "-c", asked) == (0, "4.22.0\n", "")
    for step in (
        "exporters/formats/onnx.py",
        "requirements.lock",
        "tools/environment.sh",
        "examples/digits/digits.keras",
    ):
        assert image.inside(step).is_file()
    assert image.inside("releases").stat().st_mode & 0o7777 == 0o1777  # the image's user is not the one who built it


def test_a_step_that_would_touch_the_host_is_not_performed(tmp_path):
    for step in ("RUN rm -rf /var/lib", "RUN apt-get remove x", "ADD x y"):
        (tmp_path / "Dockerfile").write_text(f"FROM a:1\n{step}\n")
        with pytest.raises(ValueError, match="outside a container"):
            dockerfile.build(tmp_path / "Dockerfile", tmp_path, tmp_path / "root", {})
