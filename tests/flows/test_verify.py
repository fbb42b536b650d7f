"""`paritygate verify`: which cells it runs again, what it makes of them, and what it leaves in the release."""

import json
from dataclasses import replace

import pytest
import small_release
from small_release import CPU, GPU

from exporters.jobs import Outcome
from flows.machine.identity import describe
from flows.pipeline.selection import select
from flows.pipeline.verify import _judge
from validators.contract import Placement, Reason, Task
from validators.hardware.graphics_cards import Card
from validators.release import attestation_files
from validators.release.integrity import ATTESTATIONS, manifest_digest
from validators.release.manifest import load
from validators.runtimes.registry import ORIGINAL, RUNTIMES

ONE = ("--runtimes", "onnxruntime", "--device", "cpu")


@pytest.fixture
def call(call, monkeypatch):
    """The command line, on a wide console."""
    monkeypatch.setenv("COLUMNS", "200")
    return call


@pytest.fixture
def nothing_runs(monkeypatch):
    """Fails the test when a cell is started."""

    def started(*_, **__):
        pytest.fail("cells were run")

    monkeypatch.setattr("flows.pipeline.verify.Cells", started)


@pytest.fixture
def bare_machine(monkeypatch):
    """A machine without any runtime."""
    says = "is not installed: pip install it"
    for module in ("flows.pipeline.cells", "flows.pipeline.verify"):
        monkeypatch.setattr(f"{module}.missing", lambda row, **_: f"{row.distribution} {says}")


def files(release):
    return {path.relative_to(release).as_posix() for path in release.rglob("*")}


# Which cells


def test_every_row_of_the_policy_is_selected_by_default_and_the_original_never(tmp_path):
    manifest = load(small_release.make(tmp_path / "r"))
    found = select(manifest)
    rows = [row for row in RUNTIMES if row.format == "onnx" and not row.on_request]
    assert {row.name for row in found.rows} == {row.name for row in rows if not row.tf32}
    assert not found.narrowed
    everything = select(load(small_release.make(tmp_path / "tf32", tf32=True)))
    assert {row.name for row in everything.rows} == {row.name for row in rows}
    assert ORIGINAL not in {row.format for row in everything.rows}


def test_a_policy_without_gpus_selects_none(tmp_path):
    found = select(load(small_release.make(tmp_path / "r", gpu="off")))
    assert {row.device for row in found.rows} == {"cpu"}


@pytest.mark.parametrize(("device", "required"), [(None, (CPU,)), ("cpu", (CPU,)), ("gpu", (GPU,))])
def test_what_others_have_to_prove_is_due_where_its_device_is_asked_for(tmp_path, device, required):
    found = select(load(small_release.make(tmp_path / "r", elsewhere=[GPU])), device=device)
    assert found.required == required
    assert {row.device for row in found.rows} == ({device} if device else {"cpu", "gpu"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["--runtimes", "onxruntime"],
            "no runtime 'onxruntime' (did you mean 'onnxruntime'?); valid are onnxruntime, ",
        ),
        (["--runtimes", "litert-xnnpack"], "no runtime 'litert-xnnpack'; valid are "),
        (["--runtimes", "ort-web-webgpu", "--device", "cpu"], "no runtime 'ort-web-webgpu' on cpu"),
        (["--runtimes", "onnxruntime-tf32"], "no runtime 'onnxruntime-tf32'"),
        (["--device", "gpus"], "no device 'gpus' (did you mean 'gpu'?); valid are cpu, gpu"),
        (["--formats", "onx"], "no format 'onx' (did you mean 'onnx'?); valid are onnx"),
        (["--formats", "tflite"], "no format 'tflite'; valid are onnx"),
    ],
)
def test_a_name_the_release_does_not_have_is_bad_input_with_the_valid_ones(
    call, nothing_runs, tmp_path, arguments, said
):
    code, out, err = call("verify", small_release.make(tmp_path / "r"), *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_a_gpu_where_the_policy_has_none_is_bad_input_that_names_the_policy(call, nothing_runs, tmp_path):
    code, _, err = call("verify", small_release.make(tmp_path / "r", gpu="off"), "--device", "gpu")
    assert code == 2
    assert 'says gpu = "off"' in err


# What comes of them


def test_the_named_cells_alone_run_and_leave_the_release_as_it_was(call, tmp_path):
    release = small_release.make(tmp_path / "r")
    before = files(release)
    code, out, err = call("verify", release, *ONE, "--json")
    assert code == 0, err
    report = json.loads(out)
    assert [(cell["runtime"], cell["device"], cell["status"]) for cell in report["cells"]] == [
        ("onnxruntime", "cpu", "passed")
    ]
    assert report["attestation"] is None
    assert files(release) == before


def test_an_awaited_cell_is_proven_attested_and_then_released_by_the_gate(call, tmp_path):
    release = small_release.make(tmp_path / "r", elsewhere=[CPU])
    assert call("gate", release)[0] == 1
    code, out, err = call("verify", release, *ONE, "--attest", "--digest", manifest_digest(release))
    assert code == 0, err
    assert out.startswith(f"VERIFIED  {release}: 1 of 1 cell passed again")
    assert out.splitlines()[2].split()[-4:] == ["onnx/default", "onnxruntime", "cpu", "CPUExecutionProvider"]
    (file,) = (release / ATTESTATIONS).iterdir()
    assert f"attested {file}" in out
    (found,), faults = attestation_files.read(release, manifest=manifest_digest(release))
    assert faults == ()
    assert found.attestation.machine.adapters == ("CPUExecutionProvider",)
    assert found.attestation.machine.runtimes[0].startswith("onnxruntime 1.")
    assert all((found.attestation.machine.host, found.attestation.machine.processor))
    assert call("gate", release)[0] == 0


def test_the_cards_and_adapters_of_the_machine_stand_in_its_record(monkeypatch):
    monkeypatch.setattr(
        "flows.machine.identity.cards", lambda: (Card(uuid="GPU-1", name="NVIDIA H200", driver="580.1"),)
    )
    soft = Placement(device="gpu", runtime="tfjs 4.22.0", adapter="WebGL (SwiftShader)", software=True)
    never_ran = small_release.cell(status="unavailable", placement=None, diffs=())
    machine = describe([small_release.cell("gpu"), small_release.cell("gpu", placement=soft), never_ran])
    assert machine.cards == ("NVIDIA H200, driver 580.1",)
    assert machine.adapters == ("CUDAExecutionProvider (A card)", "software WebGL (SwiftShader)")
    assert machine.runtimes == ("onnxruntime 1.31.1", "tfjs 4.22.0")


def test_without_attest_a_person_is_told_that_the_release_waits_for_these_cells(call, tmp_path):
    code, out, _ = call("verify", small_release.make(tmp_path / "r", elsewhere=[CPU]), *ONE)
    assert code == 0
    assert "--attest keeps these cells in the release" in out


def test_a_cell_that_fails_here_is_attested_and_refuses_the_release(call, tmp_path):
    release = small_release.make(tmp_path / "r", off_by=0.5)
    assert call("gate", release)[0] == 0
    code, out, _ = call("verify", release, *ONE, "--attest")
    assert code == 1
    assert out.startswith("NOT VERIFIED")
    assert "tolerance exceeded: onnx/default onnxruntime cpu: " in out
    code, out, _ = call("gate", release)
    assert code == 1
    assert "tolerance exceeded: onnx/default onnxruntime cpu: on " in out


def test_where_nothing_can_run_nothing_is_verified_nothing_attested_and_the_way_is_said(call, bare_machine, tmp_path):
    release = small_release.make(tmp_path / "r")
    code, out, _ = call("verify", release, "--device", "gpu", "--attest")
    assert code == 1
    assert "nothing ran: release: none of the " in out
    assert "unavailable: onnxruntime gpu: onnxruntime-gpu is not installed: pip install it" in out
    assert not list((release / ATTESTATIONS).iterdir())


def test_an_awaited_cell_that_cannot_run_here_is_not_verified(call, bare_machine, tmp_path):
    release = small_release.make(tmp_path / "r", elsewhere=[GPU])
    code, out, _ = call("verify", release, "--device", "gpu", "--json")
    assert code == 1
    assert [(r["code"], r["subject"]) for r in json.loads(out)["verdict"]["reasons"]] == [
        ("unavailable", "onnx/default onnxruntime gpu")
    ]


def test_all_cells_that_the_policy_requires_are_due_when_none_are_named(call, bare_machine, tmp_path):
    release = small_release.make(tmp_path / "r", elsewhere=[GPU])
    code, out, _ = call("verify", release, "--json")
    assert code == 1
    subjects = {reason["subject"] for reason in json.loads(out)["verdict"]["reasons"]}
    assert "onnx/default onnxruntime cpu" in subjects
    assert "onnx/default onnxruntime gpu" not in subjects  # that one is another machine's


def test_a_task_that_is_not_measured_again_speaks_against_nothing(tmp_path):
    manifest = load(small_release.make(tmp_path / "r"))
    task = Task(metric="mine:score", output="", original=0.9, rows=6)
    policy, grounds = replace(manifest.policy, task_margin=0.1), replace(manifest.grounds, task=task)
    manifest = replace(manifest, policy=policy, grounds=grounds)
    assert _judge(manifest, select(manifest), manifest.cells, ())[0] == []
    worse = [replace(cell, task=0.7) for cell in manifest.cells]
    assert [reason.code for reason in _judge(manifest, select(manifest), worse, ())[0]] == ["worse at the task"]


def test_a_cell_has_the_time_that_the_release_gave_it(call, tmp_path):
    code, out, _ = call("verify", small_release.make(tmp_path / "r", seconds=0.01), *ONE, "--json")
    assert code == 3
    (cell,) = json.loads(out)["cells"]
    assert (cell["status"], cell["reason"]) == ("errored", "timeout")
    assert "0.01 s" in cell["message"]


def test_a_cell_has_the_memory_that_the_release_gave_it(call, monkeypatch, tmp_path):
    asked = []

    def run(workers, job):
        asked.append(job.limits.memory)
        return Outcome(status="crashed", log=tmp_path / "log")

    monkeypatch.setattr("exporters.jobs.Workers.run", run)
    call("verify", small_release.make(tmp_path / "r", memory_gib=1.5), *ONE)
    assert asked == [3 * 2**29]


LIMITED = ("limited", "the accelerator takes no dynamic batch")
ABSENT = ("unavailable", "there is no such device")
CRASHED = ("errored", "crashed (SIGSEGV)")


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        ({"onnxruntime": ABSENT}, (0, [])),
        ({"onnxruntime": LIMITED}, (0, [])),
        ({"onnxruntime": CRASHED}, (0, [])),  # nobody requires it, and another cell proves the artifact
        ({"onnxruntime": ABSENT, "ort-web-webgpu": LIMITED}, (1, ["nothing ran"])),
        ({"onnxruntime": ABSENT, "ort-web-webgpu": CRASHED}, (3, ["unproven artifact"])),
    ],
)
def test_of_cells_that_nobody_requires_those_count_that_ran(call, monkeypatch, tmp_path, outcomes, said):
    def outcome(cells, artifact, row, **_):
        good = small_release.cell("gpu", runtime=row.name)
        status, message = outcomes.get(row.name, ("passed", ""))
        return good if status == "passed" else replace(good, status=status, message=message, placement=None, diffs=())

    monkeypatch.setattr("flows.pipeline.cells.Cells.run", outcome)
    monkeypatch.setattr("flows.pipeline.verify.missing", lambda row, **_: "nothing is started")
    code, out, _ = call("verify", small_release.make(tmp_path / "r"), "--device", "gpu", "--json")
    assert (code, [reason["code"] for reason in json.loads(out)["verdict"]["reasons"]]) == said


# What keeps cells from being run at all


def test_a_release_that_cannot_be_written_is_told_before_any_cell_runs(call, nothing_runs, monkeypatch, tmp_path):
    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    release = small_release.make(tmp_path / "r")
    monkeypatch.setattr(attestation_files.tempfile, "NamedTemporaryFile", denied)
    code, out, err = call("verify", release, *ONE, "--attest")
    assert (code, out) == (2, "")
    assert f"{release / ATTESTATIONS}: an attestation cannot be written there: Permission denied" in err


def test_a_changed_file_means_that_nothing_is_run_and_nothing_attested(call, nothing_runs, tmp_path):
    release = small_release.make(tmp_path / "r")
    (release / "artifacts/onnx/default/extra").touch()
    code, out, _ = call("verify", release, *ONE, "--attest")
    assert code == 1
    assert "artifacts/onnx/default/extra: the manifest does not name this file" in out
    assert out.startswith(f"NOT VERIFIED  {release}: no cell was run\n")
    assert not (release / ATTESTATIONS).exists()


def test_a_file_that_changes_while_the_cells_run_refuses_and_nothing_is_attested(call, monkeypatch, tmp_path):
    release = small_release.make(tmp_path / "r")
    model = release / "artifacts/onnx/default/model.onnx"

    def swapped(*_, **__):
        model.write_bytes(model.read_bytes() + b"\0")
        return small_release.cell()

    monkeypatch.setattr("flows.pipeline.cells.Cells.run", swapped)
    code, out, _ = call("verify", release, *ONE, "--attest")
    assert code == 1
    assert "digest mismatch: release: artifacts/onnx/default/model.onnx: was changed" in out
    assert "attested" not in out
    assert not list((release / ATTESTATIONS).iterdir())


def test_the_digest_is_that_of_the_manifest_that_was_read(call, nothing_runs, monkeypatch, tmp_path):
    release, other = small_release.make(tmp_path / "r"), small_release.make(tmp_path / "other", gpu="hardware")
    digest = manifest_digest(other)
    small_release.replaced_once_read(monkeypatch, release, other)
    code, out, _ = call("verify", release, *ONE, "--digest", digest)
    assert code == 1
    assert f"but {digest} was given: this is not the manifest of that release" in out


def test_a_release_refused_for_another_reason_is_not_run(call, nothing_runs, tmp_path):
    release = small_release.make(tmp_path / "r", elsewhere=[GPU], reasons=[small_release.broken_reason()])
    code, out, _ = call("verify", release, *ONE)
    assert code == 1
    assert "false claim: release.json: the release was refused and still is: digest mismatch" in out


def test_a_release_that_awaits_proof_of_an_artifact_that_nothing_ran_is_run(tmp_path, call):
    unproven = Reason(code="unproven artifact", subject="onnx/default", message="no cell proves it")
    release = small_release.make(tmp_path / "r", elsewhere=[CPU], reasons=[unproven])
    assert call("verify", release, *ONE)[0] == 0


def test_a_directory_that_is_no_release_is_bad_input(call, nothing_runs, tmp_path):
    code, _, err = call("verify", tmp_path, "--device", "gpu")
    assert code == 2
    assert "is not a release directory" in err
