"""Doctor: every row of the registry, versions, and for each missing thing the command that brings it."""

import io
import json
import sys

import pytest
from rich.console import Console

from exporters.jobs import Workers
from flows import cli
from flows.machine import doctor
from tests.flows.doctor_jobs import crash
from validators.hardware.graphics_cards import Card, device_nodes
from validators.runtimes.gpu_probe import GpuAdapter, ProbeRequest
from validators.runtimes.registry import RUNTIMES


@pytest.fixture(autouse=True)
def no_probe(request, monkeypatch):
    """Only tests that look at the adapters themselves start a browser and load a driver."""
    if "slow" not in request.keywords:
        monkeypatch.setattr(doctor, "_in_pages", lambda workers, host: [])
        monkeypatch.setattr(doctor, "_native", lambda workers: [])


def page(found, width=160):
    console = Console(file=io.StringIO(), width=width, color_system=None)
    doctor.render(found, console)
    return console.file.getvalue()


def test_every_runtime_of_the_registry_has_its_row():
    found = doctor.examine()
    rows = [row for row in RUNTIMES if not row.tf32]
    assert [(r.name, r.device) for r in found.runtimes] == [(row.name, row.device) for row in rows]
    text = page(found)
    assert all(row.name in text for row in rows)


@pytest.mark.slow
def test_the_gpus_are_shown_by_every_interface_that_reaches_one():
    found = doctor.examine()
    assert [adapter.interface for adapter in found.adapters] == ["CUDA", "Vulkan", "WebGL", "WebGPU"]
    for adapter in found.adapters:
        assert bool(adapter.name) is not bool(adapter.problem)
        assert adapter.name or adapter.interface == "CUDA"
    if not device_nodes():
        assert all(adapter.software and "SwiftShader" in adapter.name for adapter in found.adapters[1:])
    ready = {(runtime.name, runtime.adapter) for runtime in found.runtimes if runtime.device == "gpu" and runtime.ready}
    assert ("tfjs-webgl", "software WebGL" if not device_nodes() else "WebGL") in ready
    assert ("litert-webgpu", "software Vulkan" if not device_nodes() else "Vulkan") in ready


def test_an_interface_that_breaks_is_told_of_and_its_runtimes_are_not_ready(monkeypatch):
    broken = (GpuAdapter(interface="Vulkan", problem="crashed: SIGSEGV"),)
    monkeypatch.setattr(doctor, "_adapters", lambda browser: broken)
    found = doctor.examine()
    (runtime,) = [runtime for runtime in found.runtimes if runtime.name == "litert-webgpu"]
    assert (runtime.ready, runtime.problem) == (False, "crashed: SIGSEGV")
    assert "Vulkan none: crashed: SIGSEGV" in page(found)


def test_a_driver_that_crashes_takes_nothing_else_along(tmp_path):
    with Workers(tmp_path, tmp_path) as workers:
        (adapter,) = doctor._probe(workers, crash, ProbeRequest(), ("Vulkan",))
    assert (adapter.interface, adapter.name) == ("Vulkan", None)
    assert adapter.problem.startswith("crashed: ")


def test_a_missing_package_is_named_with_the_command_that_brings_it(monkeypatch):
    monkeypatch.setattr("validators.runtimes.availability.find_spec", lambda name: None)
    found = doctor.examine()
    assert not any(runtime.ready for runtime in found.runtimes)
    rows = {(row.name, row.device): row for row in RUNTIMES}
    for runtime in found.runtimes:
        row = rows[runtime.name, runtime.device]
        if row.accelerator == "cuda":  # without a card no package helps
            continue
        wanted = "pip install 'paritygate[ort-cuda]'" if row.extra == "ort-cuda" else "make setup"
        assert runtime.problem.endswith(f"is not installed: {wanted}")
    assert "missing  onnxruntime on cpu: the package onnxruntime is not installed" in page(found)


@pytest.mark.parametrize(
    ("file", "command"),
    [
        (None, "pip install 'paritygate[{}]'"),
        ("uv-receipt.toml", "uv tool install 'paritygate[all]'"),
        ("pipx_metadata.json", "pipx install --force 'paritygate[all]'"),
    ],
)
def test_outside_of_a_checkout_a_missing_package_is_brought_by_what_installed_paritygate(
    monkeypatch, tmp_path, file, command
):
    monkeypatch.setattr("flows.machine.doctor.installed", lambda distribution: "")
    monkeypatch.setattr("exporters.installation.checkout", lambda: None)
    monkeypatch.setattr("exporters.installation.sys.prefix", str(tmp_path))
    if file:
        (tmp_path / file).touch()
    remedies = {tool.name: tool.remedy for tool in doctor.examine().tools}
    assert remedies["tensorflow"] == command.format("export")
    assert remedies["prefect"] == command.format("flow")
    assert remedies["tensorflowjs"] == "paritygate setup"


def test_in_a_checkout_make_setup_brings_every_package(monkeypatch):
    monkeypatch.setattr("flows.machine.doctor.installed", lambda distribution: "")
    remedies = {tool.name: tool.remedy for tool in doctor.examine().tools}
    assert {remedies[name] for name in ("tensorflow", "tensorflowjs", "prefect")} == {"make setup"}


def test_a_runtime_in_the_browser_has_the_version_of_its_first_package(monkeypatch):
    packages = {"@tensorflow/tfjs-core": "4.22.0", "onnxruntime-web": "1.2.3"}
    monkeypatch.setattr("flows.machine.doctor.package_version", packages.get)
    found = {runtime.name: runtime.version for runtime in doctor.examine().runtimes}
    assert found["tfjs-wasm"] == found["tfjs-cpu"] == "4.22.0"
    assert found["ort-web-wasm"] == "1.2.3"
    assert found["litertjs-wasm"] == ""


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


def test_a_card_is_named_as_the_driver_names_it(monkeypatch):
    card = Card(uuid="GPU-1", name="NVIDIA H100", driver="560.1")
    monkeypatch.setattr("flows.machine.doctor.cards", lambda: (card,))
    assert doctor.examine().adapters[0] == GpuAdapter(interface="CUDA", name="NVIDIA H100, driver 560.1")


def test_a_hidden_card_is_told_of_in_the_same_words_as_by_the_rows_that_want_it(monkeypatch):
    card = Card(uuid="GPU-1", name="NVIDIA H100", driver="560.1")
    monkeypatch.setattr("validators.hardware.graphics_cards.installed_cards", lambda: (card,))
    monkeypatch.setattr("validators.runtimes.availability.installed_cards", lambda: (card,))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    found = doctor.examine()
    assert found.adapters[0].problem.startswith("CUDA_VISIBLE_DEVICES=-1 hides the 1 NVIDIA card of this machine: ")
    assert {r.problem for r in found.runtimes if r.name == "keras"} == {found.adapters[0].problem}


def test_nothing_heavy_is_imported():
    before = set(sys.modules)
    doctor.examine()
    assert not {"tensorflow", "onnxruntime", "prefect", "playwright"} & (set(sys.modules) - before)


@pytest.mark.parametrize(("missing", "code"), [(False, 0), (True, 3)])
def test_json_is_the_whole_diagnosis_and_the_code_says_whether_anything_runs(capfdbinary, monkeypatch, missing, code):
    if missing:
        monkeypatch.setattr("validators.runtimes.availability.find_spec", lambda name: None)
    else:
        monkeypatch.setattr("flows.machine.doctor.missing", lambda row: "")
        monkeypatch.setattr("flows.machine.doctor._adapters", lambda browser: ())
    assert cli.main(["doctor", "--json"]) == code
    told = json.loads(capfdbinary.readouterr().out)
    assert {"system", "adapters", "runtimes", "tools"} == set(told)
