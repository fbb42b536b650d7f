"""The set-up: each step says what it did, and where it cannot, what to do."""

import json
import subprocess
import sys

import pytest

from exporters import installation
from exporters.errors import Broken
from flows import cli
from flows.setup import browser_packages, chromium, command, converter, steps
from flows.setup.step import SetupStep, StepResult
from validators.web import page_session


@pytest.fixture
def said():
    return []


def step(**changes):
    kept = {"name": "x", "needed": lambda: True, "ready": lambda: False, "install": lambda say: say("working")}
    return SetupStep(**{**kept, **changes})


def test_a_step_is_done_only_where_it_is_needed_and_missing(said):
    assert step(needed=lambda: False).run(said.append).status == "not needed"
    assert step(ready=lambda: True).run(said.append).status == "ready"
    assert said == []
    assert step().run(said.append).status == "installed"
    assert said == ["working"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Broken("no npm", next_step="install it"), "no npm\n  install it"),
        (PermissionError(13, "Permission denied", "/usr"), "check free space and permissions"),
    ],
)
def test_a_step_that_fails_says_why_and_the_others_go_on(said, monkeypatch, error, words):
    def fail(say):
        raise error

    monkeypatch.setattr(steps, "STEPS", (step(install=fail), step(name="y")))
    first, second = steps.complete(said.append)
    assert first.status == "failed"
    assert words in first.message
    assert second == StepResult(name="y", status="installed")


def test_the_command_ends_with_3_where_something_is_missing_and_names_it(monkeypatch, capfd):
    failed = StepResult(name="Chromium", status="failed", message="there is none\n  install Chromium")
    monkeypatch.setattr(steps, "complete", lambda say: (failed, StepResult(name="y", status="ready")))
    assert cli.main(["setup"]) == 3
    assert "failed      Chromium: there is none" in capfd.readouterr().out
    assert cli.main(["setup", "--json"]) == 3
    assert [one["status"] for one in json.loads(capfd.readouterr().out)] == ["failed", "ready"]


def test_without_npm_the_way_to_it_is_named(monkeypatch, said):
    monkeypatch.setattr(browser_packages, "program", lambda name: None)
    with pytest.raises(Broken, match="npm is not installed") as caught:
        browser_packages._install(said.append)
    assert "apt-get install npm" in caught.value.next_step


def test_outside_of_a_checkout_the_packages_go_to_the_users_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(page_session, "checkout", lambda: None)
    monkeypatch.setattr(page_session, "PAGE", tmp_path / "page")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "package-lock.json").write_text("{}")
    folder = page_session._packages()
    assert folder.parent.parent == tmp_path / "data" / "paritygate"
    (tmp_path / "page" / "package-lock.json").write_text("{ }")
    assert page_session._packages() != folder  # another version of paritygate has its own
    (tmp_path / "page" / "node_modules").mkdir()
    assert page_session._packages() == tmp_path / "page" / "node_modules"


def test_packages_of_another_lock_are_installed_again(monkeypatch, tmp_path):
    monkeypatch.setattr(browser_packages, "_STAMP", tmp_path / ".ready")
    assert not browser_packages._ready()
    (tmp_path / ".ready").write_text("of another lock")
    assert not browser_packages._ready()
    (tmp_path / ".ready").write_text(browser_packages._lock_digest())
    assert browser_packages._ready()


def test_chromium_is_not_installed_by_others_than_root(monkeypatch, said):
    monkeypatch.setattr(chromium.os, "geteuid", lambda: 1000)
    with pytest.raises(Broken, match="there is no Chromium") as caught:
        chromium._install(said.append)
    assert "apt-get install chromium" in caught.value.next_step
    assert said == []


def test_the_converter_is_tried_with_every_installer_and_without_one_the_way_is_named(monkeypatch, said):
    called = []

    def call(words, **more):
        called.append(words)
        raise Broken("offline", next_step=more["next_step"])

    monkeypatch.setattr(converter, "call", call)
    monkeypatch.setattr(converter, "_installers", lambda: [["uv"], ["pip"]])
    with pytest.raises(Broken, match="offline"):
        converter._install(said.append)
    assert called == [["uv"], ["pip"]]
    monkeypatch.setattr(converter, "_installers", list)
    with pytest.raises(Broken, match="neither uv nor pip") as caught:
        converter._install(said.append)
    assert "ensurepip" in caught.value.next_step


def test_every_installer_takes_the_locked_wheel_by_its_hash_without_what_it_demands():
    for words in converter._installers():
        assert {"--no-deps", "--require-hashes", str(converter.LOCK)} <= set(words)
        assert sys.executable in words


def test_a_program_that_fails_is_told_of_with_its_last_lines(tmp_path):
    words = [sys.executable, "-c", "print(*range(9), sep='\\n'); raise SystemExit(7)"]
    with pytest.raises(Broken, match=r"failed with exit code 7:\n4\n5\n6\n7\n8") as caught:
        command.call(words, cwd=tmp_path, next_step="look")
    assert caught.value.next_step == "look"


def test_state_lies_in_the_checkout_else_with_the_user(monkeypatch, tmp_path):
    assert installation.state_folder() == installation.checkout() / ".paritygate"
    monkeypatch.setattr(installation, "checkout", lambda: None)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert installation.state_folder() == tmp_path / "paritygate"


def test_without_the_converter_an_export_names_the_command_that_brings_it(monkeypatch):
    from exporters.formats import tfjs_stubs

    monkeypatch.setattr(tfjs_stubs.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(Broken, match="converter is not installed") as caught:
        tfjs_stubs.conversion_module()
    assert caught.value.next_step == "`make setup` installs it."


def test_nothing_heavy_is_imported_to_look():
    words = "import sys; from flows.setup.steps import STEPS; [s.needed() and s.ready() for s in STEPS]; "
    words += "print(*{'tensorflow', 'prefect', 'tensorflowjs'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-P", "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
