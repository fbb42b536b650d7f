"""The command line: exit codes, what goes where, and that nothing is left behind however it ends."""

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import small_release

from exporters.errors import Limited
from flows import cli
from flows.config.policy import requirement_of
from flows.pipeline.run import ReleaseRun
from flows.pipeline.verdict import toolchain
from flows.review.gate import gate
from validators.contract import Verdict
from validators.release.integrity import manifest_digest
from validators.release.manifest import load

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.keras"
SAMPLES = ROOT / "examples" / "digits" / "samples.npz"
COMMAND = [sys.executable, "-m", "flows.cli"]


@pytest.fixture
def call(call, monkeypatch, tmp_path):
    """The command line, in an empty folder and without TensorFlow: bad input is found before it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ReleaseRun, "warm_up", lambda run: None)
    return call


def image(rows=2, **changes):
    return {"image": np.zeros((rows, 8, 8, 1), "float32"), **changes}


def nan_image():
    array = image()["image"]
    array[1, 2, 3, 0] = np.nan
    return {"image": array}


FILES = {
    "an empty file": (b"", "empty"),
    "not a zip": (b"hello", "zip"),
    "a truncated zip": (DIGITS.read_bytes()[:5000], "zip"),
    "an HDF5 file": (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
    "a pickle": (pickle.dumps({"a": 1}), "pickle"),
}
ARRAYS = {
    "a missing input": ({}, "holds no array"),
    "a misnamed input": ({"imge": image()["image"]}, "imge"),
    "an extra input": (image(extra=np.zeros(2, "float32")), "extra"),
    "a wrong shape": ({"image": np.zeros((2, 8, 9, 1), "float32")}, "image"),
    "a wrong dtype": ({"image": np.zeros((2, 8, 8, 1), "complex64")}, "image"),
    "zero rows": (image(rows=0), "image"),
    "NaN": (nan_image(), "image"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_model_is_bad_input(call, tmp_path, name):
    content, said = FILES[name]
    (tmp_path / "m.keras").write_bytes(content)
    code, out, err = call("release", "m.keras", "--no-prefect")
    assert (code, out) == (2, "")
    assert "m.keras" in err
    assert said.lower() in err.lower()
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


@pytest.mark.parametrize("name", ARRAYS)
def test_samples_that_do_not_fit_are_bad_input(call, tmp_path, name):
    arrays, said = ARRAYS[name]
    np.savez(tmp_path / "s.npz", **arrays)
    code, out, err = call("release", DIGITS, "--samples", "s.npz", "--no-prefect")
    assert (code, out) == (2, "")
    assert said in err
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


@pytest.mark.parametrize("arguments", [["release", "no.keras"], ["release", str(DIGITS), "--samples", "no.keras"]])
def test_a_missing_file_is_named_before_anything_starts(call, arguments):
    code, _, err = call(*arguments)
    assert code == 2
    assert "no.keras: no such file" in err


def test_a_directory_that_is_not_ours_is_left_alone(call, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    code, _, err = call("release", DIGITS, "-o", "mine")
    assert code == 2
    assert "mine: exists and is not a release directory" in err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_release_that_others_attested_is_not_replaced_and_two_ways_on_are_named(call, tmp_path):
    release = small_release.make(tmp_path / "out")
    (release / "attestations").mkdir()
    (release / "attestations" / "cells-1.json").touch()
    code, _, err = call("release", DIGITS, "-o", release)
    assert code == 2
    assert "is a release with attestations" in err
    assert "another directory with -o, one for every run" in err
    assert f"move {release / 'attestations'} away" in err
    assert (release / "attestations" / "cells-1.json").exists()


def test_with_a_pool_json_is_the_gates_report_and_agrees_with_the_exit_code(call, monkeypatch, tmp_path):
    release = small_release.make(tmp_path / "out", elsewhere=[small_release.GPU])
    judged = replace(gate(release), verdict=Verdict(passed=True, reasons=(), required=()))
    run = SimpleNamespace(manifest=load(release), judged=judged, digest=manifest_digest(release))
    monkeypatch.setattr("flows.cli.release._released", lambda *_, **__: run)
    code, out, _ = call("release", DIGITS, "-o", release, "--json")
    told = json.loads(out)
    assert (code, told["verdict"]["passed"]) == (0, True)
    assert told["digest"] == run.digest


def test_the_toolchain_names_the_browser_packages_of_every_format(monkeypatch):
    monkeypatch.setattr("flows.pipeline.verdict.package_version", lambda name: f"{name} 1")
    assert toolchain(("onnx",))["onnxruntime-web"] == "onnxruntime-web 1"
    assert toolchain(("tflite",))["@litertjs/core"] == "@litertjs/core 1"
    assert not [name for name in toolchain(("onnx", "tflite")) if "tfjs-" in name]
    assert "@tensorflow/tfjs-core" in toolchain(("tfjs",))
    monkeypatch.setattr("flows.pipeline.verdict.package_version", lambda name: None)
    assert "onnxruntime-web" not in toolchain(("onnx",))


def test_the_toolchain_names_a_runtime_on_request_only_where_it_is_asked_for(monkeypatch):
    monkeypatch.setattr("flows.pipeline.verdict.versions", lambda names: dict.fromkeys(names, "1"))
    assert "openvino" not in toolchain(("onnx", "tflite"))
    asked = [requirement_of("tflite/batch1 openvino-tflite cpu")]
    assert "openvino" in toolchain(("onnx", "tflite"), asked=asked)
    assert "openvino" not in toolchain(("onnx",), asked=asked)


def test_a_mistake_in_release_toml_gets_the_near_match(call, tmp_path):
    (tmp_path / "release.toml").write_text("formats = ['tflit']\n")
    code, _, err = call("release", DIGITS, "--config", "release.toml")
    assert code == 2
    assert "did you mean 'tflite'?" in err


def test_a_cell_this_machine_cannot_run_is_refused_before_any_export(call, monkeypatch, tmp_path):
    monkeypatch.setattr(
        "flows.pipeline.preconditions.missing",
        lambda row, **_: "there is no ONNX Runtime: pip install it" if row.format == "onnx" else "",
    )
    code, _, err = call("release", DIGITS)
    assert code == 2
    assert "`onnx onnxruntime cpu`, which this machine cannot run: there is no ONNX Runtime" in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["relase", "m"], "release"),
        (["release", "m", "--formts", "onnx"], "--formats"),
        (["release"], "MODEL"),
        (["release", "m", "-o"], "-o"),
    ],
)
def test_wrong_usage_is_bad_input_with_what_was_probably_meant(call, arguments, said):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_with_json_an_error_is_one_object_on_stdout(call):
    code, out, _ = call("release", "no.keras", "--json")
    assert code == 2
    error = json.loads(out)["error"]
    assert (error["code"], error["kind"]) == (2, "bad input")
    assert "no.keras" in error["message"]
    assert error["next_step"]


def test_a_name_with_an_escape_sequence_cannot_steer_the_terminal(call):
    _, _, err = call("release", "a\x1b[2Jb.keras")
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (OSError(28, "No space left on device", "/x/release.json"), 3, "No space left on device"),
        (Limited("no string ops", limit="x"), 1, "no string ops"),
    ],
)
def test_what_the_machine_or_a_target_refuses_has_its_code_and_no_traceback(call, monkeypatch, error, code, said):
    def broken(*_, **__):
        raise error

    monkeypatch.setattr("flows.cli.release._released", broken)
    got, out, err = call("release", DIGITS)
    assert (got, out) == (code, "")
    assert said in err


def test_a_bug_of_ours_says_that_it_is_one_before_its_traceback(monkeypatch, capfd):
    def bug(*_, **__):
        raise KeyError("lost")

    monkeypatch.setattr("flows.cli.release._released", bug)
    assert cli.main(["release", str(DIGITS), "--json"]) == 3
    out, err = capfd.readouterr()
    assert json.loads(out)["error"]["kind"] == "broken"
    assert err.index("this is a bug in paritygate: KeyError") < err.index("Traceback")


def test_without_prefect_installed_the_way_around_it_is_named(call, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = call("release", DIGITS)
    assert code == 3
    assert "--no-prefect" in err


def test_help_names_every_command_and_every_exit_code(call):
    code, out, _ = call("--help")
    assert code == 0
    for word in ("release", "inspect", "verify", "gate", "doctor", "130", "bad input"):
        assert word in out


def test_help_imports_nothing_that_takes_long():
    script = (
        "import sys; from flows import cli; cli.main(['--help']); "
        "print(sorted({'tensorflow', 'prefect', 'numpy', 'pydantic'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


# Real runs.


def release(*arguments, output, **options):
    command = [*COMMAND, "release", str(DIGITS), "--formats", "onnx", "-o", str(output), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, **options)


@pytest.mark.slow
def test_json_is_the_manifest_byte_for_byte_and_progress_goes_to_stderr(tmp_path):
    done = release("--json", "--no-prefect", "--samples", str(SAMPLES), output=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (tmp_path / "out" / "release.json").read_text("utf-8")
    assert "done    export onnx/default" in done.stderr


@pytest.mark.slow
def test_a_target_that_cannot_be_written_is_broken_and_leaves_nothing(tmp_path):
    folder = Path("/proc/paritygate")  # no one can write there, root included
    done = release("--no-prefect", output=folder / "out")
    assert done.returncode == 3
    assert "/proc/paritygate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_of_a_framework_that_dies_while_it_is_imported_the_last_words_are_kept(tmp_path):
    fake = tmp_path / "fake"
    (fake / "keras").mkdir(parents=True)
    (fake / "keras" / "__init__.py").write_text("import os; os.write(2, b'illegal instruction'); os.abort()")
    done = release("--no-prefect", output=tmp_path / "out", env={**os.environ, "PYTHONPATH": fake, "TMPDIR": tmp_path})
    assert done.returncode == 3, done.stderr
    (kept,) = tmp_path.glob("paritygate-logs-*")
    assert str(kept) in done.stderr.replace("\n", "").replace("  ", "")
    assert "illegal instruction" in (kept / "fork-server-tensorflow.log").read_text()
    assert not list(tmp_path.glob("paritygate-fork-servers-*"))


@pytest.mark.slow
def test_a_full_disk_is_broken_and_leaves_nothing(tmp_path):
    def small_files():  # no file may grow beyond 20 kB: writing more fails as it does on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = release("--no-prefect", output=tmp_path / "out", preexec_fn=small_files)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    left = list(tmp_path.rglob("*"))
    assert not [path for path in left if ".partial-" in str(path)]
    assert (tmp_path / "out" / "release.json").exists() or not left


def descendants(process, at_least, seconds=60):
    """Waits until the process has that many descendants, then gives them."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = psutil.Process(process.pid).children(recursive=True)
        if len(found) >= at_least:
            return found
        time.sleep(0.05)
    pytest.fail(f"only {len(found)} processes: {process.stderr.read()}")


def alive(processes, seconds):
    """The processes that still run after a while."""
    return psutil.wait_procs(processes, timeout=seconds)[1]


def await_line(process, text):
    """Reads the progress until a line holds the text."""
    for line in process.stderr:
        if text in line:
            return
    pytest.fail(f"the command ended before it said {text!r}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signum", "arguments", "moment"),
    [
        (signal.SIGINT, ["--no-prefect"], "done    lowering"),  # exports are running
        (signal.SIGTERM, ["--no-prefect"], "done    admission"),  # TensorFlow is being imported
        (signal.SIGTERM, [], "done    lowering"),
        (signal.SIGINT, [], None),  # Prefect's server is starting
    ],
)
def test_a_signal_ends_every_process_and_removes_the_staging_folder(tmp_path, signum, arguments, moment):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    process = subprocess.Popen(
        [*COMMAND, "release", str(DIGITS), "-o", str(tmp_path / "out"), *arguments],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    if moment:
        await_line(process, moment)
    children = descendants(process, at_least=6)  # TensorFlow's host, the browser's host and Chromium's own
    process.send_signal(signum)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 128 + signum
    assert "Traceback" not in err
    assert "done    cell" not in err  # the running jobs were stopped, not waited for
    assert not alive(children, seconds=5)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_killed_command_takes_its_children_with_it(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "release", str(DIGITS), "-o", str(tmp_path / "out"), "--no-prefect"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    children = descendants(process, at_least=6)
    process.kill()
    process.communicate(timeout=30)
    assert not alive(children, seconds=30)  # the import of TensorFlow has to end before its host sees the end of stdin
