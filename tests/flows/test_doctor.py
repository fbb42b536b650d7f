"""Doctor: every row of the registry, versions, and for each missing thing the command that brings it."""

import io
import json
import sys

import pytest
from rich.console import Console

from flows import cli, doctor
from validators.registry import RUNTIMES


def page(found, width=160):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    doctor.render(found, console)
    return console.file.getvalue()


def test_every_runtime_of_the_registry_has_its_row():
    found = doctor.examine()
    assert [(r.name, r.device) for r in found.runtimes] == [(row.name, row.device) for row in RUNTIMES]
    text = page(found)
    assert all(row.name in text for row in RUNTIMES)


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr("validators.availability.find_spec", lambda name: None)
    found = doctor.examine()
    assert not any(runtime.ready for runtime in found.runtimes)
    for row, runtime in zip(RUNTIMES, found.runtimes, strict=True):
        assert "make setup" in runtime.problem
        # A plain resolve of the converters falls back to a tensorflowjs of years ago: pip is no way to them.
        assert ("pip install" in runtime.problem) == (row.extra != "export")
    assert "missing  onnxruntime on cpu: the package onnxruntime is not installed" in page(found)


def test_a_missing_converter_is_brought_by_make_setup_alone(monkeypatch):
    monkeypatch.setattr("flows.doctor._version", lambda distribution: "")
    remedies = {tool.name: tool.remedy for tool in doctor.examine().tools}
    assert remedies["tensorflowjs"] == remedies["tensorflow"] == "make setup"
    assert remedies["prefect"].startswith("pip install 'paritygate[flow]'")


def test_a_runtime_in_the_browser_has_the_version_of_the_pages_packages(monkeypatch):
    packages = {"@tensorflow/tfjs-core": "4.22.0", "@tensorflow/tfjs-backend-cpu": "4.22.0", "other-web": "1.2.3"}
    monkeypatch.setattr("flows.doctor.package_versions", lambda: packages)
    found = {runtime.name: runtime.version for runtime in doctor.examine().runtimes}
    assert found["tfjs-wasm"] == found["tfjs-cpu"] == "4.22.0"


def test_names_stay_whole_on_a_narrow_terminal():
    found = doctor.examine()
    words = page(found, width=80).split()
    assert {runtime.name for runtime in found.runtimes} | {tool.name for tool in found.tools} <= set(words)


def test_a_missing_chromium_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setenv("PARITYGATE_CHROMIUM", "/nowhere/chromium")
    found = doctor.examine()
    browser = next(tool for tool in found.tools if tool.name == "Chromium")
    assert "/nowhere/chromium" in browser.remedy
    assert not any(runtime.ready for runtime in found.runtimes if runtime.name.startswith("tfjs"))


def test_a_chromium_that_cannot_be_run_is_not_ready(monkeypatch, tmp_path):
    foreign = tmp_path / "chromium"
    foreign.write_bytes(b"MZ, a program of another system")
    foreign.chmod(0o755)
    monkeypatch.setenv("PARITYGATE_CHROMIUM", str(foreign))
    runtimes = [runtime for runtime in doctor.examine().runtimes if runtime.name.startswith("tfjs")]
    assert not any(runtime.ready for runtime in runtimes)
    assert all(f"{foreign} cannot be run" in runtime.problem for runtime in runtimes)


def test_without_a_driver_there_is_no_cuda_device(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.examine().gpu == "no CUDA device"


def test_a_card_is_named_as_the_driver_names_it(monkeypatch, tmp_path):
    driver = tmp_path / "nvidia-smi"
    driver.write_text("#!/bin/sh\necho 'NVIDIA H100, 560.1'\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert doctor.examine().gpu == "CUDA: NVIDIA H100, 560.1"


def test_nothing_heavy_is_imported():
    before = set(sys.modules)
    doctor.examine()
    assert not {"tensorflow", "onnxruntime", "prefect", "playwright"} & (set(sys.modules) - before)


@pytest.mark.parametrize(("missing", "code"), [(False, 0), (True, 3)])
def test_json_is_the_whole_diagnosis_and_the_code_says_whether_anything_runs(capfdbinary, monkeypatch, missing, code):
    if missing:
        monkeypatch.setattr("validators.availability.find_spec", lambda name: None)
    else:
        monkeypatch.setattr("flows.doctor.missing", lambda row: "")
    assert cli.main(["doctor", "--json"]) == code
    told = json.loads(capfdbinary.readouterr().out)
    assert {"system", "gpu", "runtimes", "tools"} == set(told)
