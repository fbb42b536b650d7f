"""Verifying where only the runtime in question is installed: nothing else can be imported, in any process.

The release is made once, with everything there. Whether the extras really bring so little is another test's question,
in environments of their own.
"""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from exporters.installation import install_command
from validators.gate.verdict import AWAITING, judge
from validators.release.manifest import MANIFEST, dump, load
from validators.runtimes.registry import RUNTIMES as ROWS

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.keras"
COMMAND = [sys.executable, "-m", "flows.cli"]
FRAMEWORKS = ("tensorflow", "keras", "prefect", "onnx", "tf2onnx", "tensorflowjs", "h5py", "jax", "sklearn")
PACKAGES = {"litert": "ai_edge_litert", "ort": "onnxruntime", "web": "websockets"}
AWAITED = ("tflite litert-reference cpu", "tflite litert-webgpu gpu", "onnx onnxruntime cpu", "tfjs tfjs-webgl gpu")
REQUIRED = ("tflite litert-xnnpack cpu", "tfjs tfjs-wasm cpu")

pytestmark = pytest.mark.slow

SITE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"{{name}} is not installed on this machine", name=name)
sys.meta_path.insert(0, Absent())
sys.modules.update(dict.fromkeys({blocked!r}))  # looking for them finds nothing, as where they are not installed
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """A release of the digits example that awaits cells of three runtimes from elsewhere.

    It is made without GPU cells, which take their time, and given the policy afterwards.
    """
    folder = tmp_path_factory.mktemp("portable")
    config = folder / "release.toml"
    config.write_text(
        f"formats = ['tflite', 'onnx', 'tfjs']\npolicy.gpu = 'off'\npolicy.required = {list(REQUIRED)}\n"
        "limits.software_seconds = 2\n"
    )
    out = folder / "digits.release"
    command = [*COMMAND, "release", str(DIGITS), "--config", str(config), "-o", str(out), "--no-prefect"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = load(out)
    elsewhere = tuple(row.requirement for row in ROWS if str(row.requirement) in AWAITED)
    policy = replace(manifest.policy, gpu="any", elsewhere=elsewhere)
    verdict = judge(replace(manifest, policy=policy), today=date.max)
    assert {reason.code for reason in verdict.reasons} == {AWAITING}
    (out / MANIFEST).write_bytes(dump(replace(manifest, policy=policy, verdict=verdict)))
    return out


def bare(folder, *installed):
    """Runs the command line where, beside the base, only the packages of the named extras can be imported."""
    blocked = {*FRAMEWORKS, *(package for extra, package in PACKAGES.items() if extra not in installed)}
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SITE.format(blocked=sorted(blocked)))
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"}

    def call(*arguments):
        command = [*COMMAND, *map(str, arguments), "--json"]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout), done.stderr

    return call


def ran(report):
    return {
        (cell["runtime"], cell["device"]): cell["status"] for cell in report["cells"] if cell["variant"] != "dynamic"
    }


def test_on_such_a_machine_no_framework_can_be_imported_in_any_process(tmp_path):
    bare(tmp_path / "site", "ort")
    script = (
        "import importlib\nfor name in ('tensorflow', 'keras.layers', 'prefect', 'onnx', 'websockets'):\n"
        "    try:\n        importlib.import_module(name)\n    except ImportError:\n        continue\n    print(name)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("extra", "device", "runtimes"),
    [
        ("litert", "cpu", ["litert-xnnpack", "litert-reference"]),
        ("litert", "gpu", ["litert-webgpu"]),
        ("ort", "cpu", ["onnxruntime"]),
        ("web", "cpu", ["tfjs-wasm"]),
        ("web", "gpu", ["tfjs-webgl"]),
    ],
)
def test_a_machine_with_one_runtime_proves_its_cells_and_keeps_them_in_the_release(
    release, tmp_path, extra, device, runtimes
):
    machine = bare(tmp_path / "site", extra)
    code, report, err = machine("verify", release, "--device", device, "--runtimes", *runtimes, "--attest")
    assert code == 0, err
    assert ran(report) == {(runtime, device): "passed" for runtime in runtimes}
    file = Path(report["attestation"])
    assert file.parent == release / "attestations"
    code, report, err = machine("gate", release)
    assert code in {0, 1}, err  # the others may not have brought theirs yet
    assert {reason["code"] for reason in report["verdict"]["reasons"]} <= {AWAITING}
    assert f"attestations/{file.name}" in {each["file"] for each in report["attestations"]}


def test_once_every_machine_ran_the_command_it_was_given_the_release_goes_out(release, tmp_path):
    nobody = bare(tmp_path / "site")
    extras = {str(row.requirement): row.extra for row in ROWS}
    for number, awaited in enumerate(nobody("gate", release)[1]["awaited"]):
        program, *arguments = shlex.split(awaited["command"])
        assert program == "paritygate"
        machine = bare(tmp_path / str(number), extras[awaited["requirement"]])
        assert machine(*arguments)[0] == 0
    code, report, err = nobody("gate", release)
    assert code == 0, err
    assert report["awaited"] == []


def test_what_such_a_machine_lacks_is_unavailable_with_the_way_to_get_it(release, tmp_path):
    code, report, err = bare(tmp_path / "site", "ort")("verify", release, "--device", "cpu")
    assert code == 1, err
    status = {cell["runtime"]: (cell["status"], cell["message"]) for cell in report["cells"]}
    assert status["onnxruntime"][0] == "passed"
    assert status["litert-xnnpack"][0] == "unavailable"
    assert install_command("litert") in status["litert-xnnpack"][1]
    assert install_command("web") in status["tfjs-wasm"][1]
