"""The browser packages: pinned, with integrity and without the address of any registry."""

import json
import re

import pytest

from validators.web import session
from validators.web.session import PACKAGES, PAGE, package_version, package_versions


def test_the_lock_file_pins_every_package_by_its_content_and_names_no_address():
    text = (PAGE / "package-lock.json").read_text()
    assert "://" not in text
    packages = {name: entry for name, entry in json.loads(text)["packages"].items() if name}
    assert packages
    assert all(re.match(r"sha512-", entry["integrity"]) for entry in packages.values())


def test_the_lock_file_holds_the_versions_that_the_page_asks_for():
    wanted = json.loads((PAGE / "package.json").read_text())["dependencies"]
    locked = json.loads((PAGE / "package-lock.json").read_text())["packages"]
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted


def test_no_package_but_our_own_runs_a_script_when_it_is_installed():
    packages = json.loads((PAGE / "package-lock.json").read_text())["packages"]
    assert [name for name, entry in packages.items() if entry.get("hasInstallScript")] == [""]


def test_an_absent_package_has_no_version(monkeypatch, tmp_path):
    assert package_version("no-such-package") is None
    installed = tmp_path / "@tensorflow" / "tfjs-core" / "package.json"
    installed.parent.mkdir(parents=True)
    installed.write_text('{"version": "4.22.0"}')
    monkeypatch.setattr(session, "PACKAGES", tmp_path)
    assert package_versions() == {"@tensorflow/tfjs-core": "4.22.0"}


@pytest.mark.slow
def test_what_is_installed_is_what_the_page_needs_and_little_more():
    assert package_version("@tensorflow/tfjs-core") == "4.22.0"
    assert sum(file.stat().st_size for file in PACKAGES.rglob("*") if file.is_file()) < 8_000_000
