"""The wheel in a new environment outside of the checkout: complete, and every hint names a command that is there."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import paritygate
from flows.prefect import server
from tools import wheel_check

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"
UV = Path(sys.executable).with_name("uv")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return wheel_check.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture
def planted(tmp_path):
    """A copy of our packages' first modules, as they lie in site-packages; gives the folder."""
    site = tmp_path / "site"
    for name in paritygate.PACKAGES:
        (site / name).mkdir(parents=True)
        shutil.copy(ROOT / name / "__init__.py", site / name)
    shutil.copy(ROOT / "paritygate.py", site)
    return site


def call_planted(site, **variables):
    """Runs the planted command; it has no command line behind it, so it cannot do more than check."""
    words = f"import sys; sys.path.insert(0, {str(site)!r}); import paritygate; print(paritygate.shadowed())"
    done = subprocess.run(
        [sys.executable, "-I", "-c", words], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_wheel_has_everything_and_no_node_modules(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        [shutil.which("git"), "ls-files", "-co", "--exclude-standard", *paritygate.PACKAGES],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert {name for name in tracked if (ROOT / name).is_file()} - names == set()
    assert {"paritygate.py", "flows/deployment/prefect.yaml", "validators/web/page/.npmrc"} <= names
    assert not [name for name in names if "node_modules" in name or name.startswith(("tests", "deployments", "tools"))]


def test_our_packages_are_recognised_as_ours(planted):
    assert paritygate.shadowed() is None
    assert call_planted(planted) == "None"


@pytest.mark.parametrize("name", paritygate.PACKAGES)
def test_an_overwritten_package_is_named(planted, name):
    (planted / name / "__init__.py").write_text('"""Another distribution\'s."""\n')
    assert f"has overwritten paritygate's package `{name}`" in call_planted(planted)


def test_a_package_before_ours_on_the_path_stops_the_command_in_one_sentence(tmp_path):
    (tmp_path / "validators").mkdir()
    (tmp_path / "validators" / "__init__.py").write_text("raise RuntimeError('it must not be imported')\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "paritygate", "--help"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "")
    first, way_out = done.stderr.splitlines()
    assert first.startswith(f"paritygate: broken: the package `validators` is taken from {tmp_path}")
    assert "an environment of its own" in way_out


def commands_in_hints():
    """Every `paritygate WORD` in a string of the three packages."""
    texts = [file.read_text("utf-8") for name in paritygate.PACKAGES for file in (ROOT / name).rglob("*.py")]
    return {word for text in texts for word in re.findall(r"`(?:\w+=\S+ )?paritygate ([a-z]+)\b", text)}


def test_a_hint_names_only_commands_that_exist():
    from flows.cli import app

    named = commands_in_hints()
    assert {"setup", "server", "verify"} <= named
    assert named - set(app) == set()


def test_outside_of_a_checkout_no_hint_names_make():
    """`make setup` may stand only where the checkout is asked for first."""
    found = [
        file.relative_to(ROOT).as_posix()
        for name in paritygate.PACKAGES
        for file in (ROOT / name).rglob("*.py")
        if re.search(r'["`]make [a-z]', re.sub(r'"""(?:.|\n)*?"""', "", file.read_text("utf-8")))
    ]
    assert found == ["exporters/installation.py"]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_installs_completes_itself_and_releases_a_model(wheel, tmp_path):
    """With the lock's versions, which `make setup` left in uv's cache; `make wheel-check` has plain pip."""
    home, venv = tmp_path / "home", tmp_path / "venv"
    (home / ".npm").parent.mkdir()
    pins = tmp_path / "pins.txt"
    pins.write_text(
        "\n".join(
            re.findall(r"^[\w.-]+==[^ \\]+(?: ;[^\\\n]+)?", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
        )
    )
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, venv], check=True)
    install = [UV, "pip", "install", "--quiet", "--python", venv, "--constraints", pins, f"{wheel}[all]"]
    if subprocess.run([*install, "--offline"], cwd=tmp_path, capture_output=True, check=False).returncode:
        subprocess.run(install, cwd=tmp_path, check=True)
    # The user's own folders, but with a migrated database: to make one takes 20 s and other tests do it.
    caches = {name: os.environ.get(name, str(Path.home() / folder)) for name, folder in CACHES.items()}
    shutil.copytree(server.home(), home / "prefect")
    environment = {**wheel_check.user_environment(home), **caches, "PREFECT_HOME": str(home / "prefect")}
    environment["PATH"] = f"{UV.parent}:{environment['PATH']}"

    def run(*arguments):
        command = [venv / "bin" / "paritygate", *arguments]
        done = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    assert run("--help")[0] == run("setup", "--help")[0] == run("server", "--help")[0] == 0
    before = {tool["name"]: tool["remedy"] for tool in json.loads(run("doctor", "--json")[1])["tools"]}
    assert before["tensorflowjs"] == "paritygate setup"
    assert before["onnxruntime-web"] == "run `paritygate setup`"
    code, out, err = run("setup", "--json")
    assert code == 0, out + err
    assert {step["name"]: step["status"] for step in json.loads(out)} == {
        "TF.js converter": "installed",
        "browser packages": "installed",
        "Chromium": "ready",
        "Prefect's database": "ready",
    }
    after = {tool["name"]: tool["remedy"] for tool in json.loads(run("doctor", "--json")[1])["tools"]}
    assert not any(after.values()), after
    release = (DIGITS / "digits.keras", "--samples", DIGITS / "samples.npz", "-o", "digits.release")
    code, out, err = run("release", *release, "--no-prefect")
    assert code == 0, out + err
    code, out, err = run("submit", DIGITS / "digits.keras")
    assert code == 2
    assert "`paritygate server start` starts one here" in err


CACHES = {"npm_config_cache": ".npm", "UV_CACHE_DIR": ".cache/uv", "PLAYWRIGHT_BROWSERS_PATH": ".cache/ms-playwright"}
"""What a user has of other projects."""
