"""`paritygate gate`: a release judged with what other machines attested, through the real command line."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import small_release
from small_release import GPU, cell, failed_cell

from flows import cli
from validators.contract import Placement, Requirement, Skip
from validators.release.attestation_files import write_cells
from validators.release.attestations import Machine
from validators.release.integrity import ATTESTATIONS, manifest_digest
from validators.release.manifest import MANIFEST

GPU_KEY = "onnx/default onnxruntime gpu"


@pytest.fixture
def call(call, monkeypatch):
    """The command line, on a wide console."""
    monkeypatch.setenv("COLUMNS", "200")
    return call


@pytest.fixture
def release(tmp_path):
    """A good release whose policy demands a GPU cell from elsewhere."""
    return small_release.make(tmp_path / "small.release", elsewhere=[GPU])


def attest(release, *cells, host="box7"):
    (release / ATTESTATIONS).mkdir(exist_ok=True)
    machine = Machine(host=host, platform="Linux", processor="A processor", cards=(), adapters=(), runtimes=())
    return write_cells(release, manifest=manifest_digest(release), machine=machine, cells=cells, seconds=1.0)


def codes(out):
    return [reason["code"] for reason in json.loads(out)["verdict"]["reasons"]]


def test_a_release_that_demands_nothing_from_elsewhere_is_released_as_it_is(call, tmp_path):
    release = small_release.make(tmp_path / "small.release")
    code, out, err = call("gate", release)
    assert (code, err) == (0, "")
    assert out.startswith("RELEASED  small.keras: 1 own cell, 0 attested cells")
    assert manifest_digest(release) in out


def test_what_is_awaited_is_named_with_the_command_and_the_package_that_bring_it(call, release):
    code, out, _ = call("gate", release)
    assert code == 1
    assert out.startswith("AWAITING  small.keras")
    assert f"awaiting attestation: {GPU_KEY}: " in out
    assert f"paritygate verify {release} --device gpu --runtimes onnxruntime --attest\n" in out
    assert "paritygate[ort-cuda]" in out


def test_an_attested_cell_releases_and_is_shown_with_its_machine_and_adapter(call, release):
    attest(release, cell("gpu"))
    code, out, _ = call("gate", release)
    assert code == 0
    assert out.startswith("RELEASED")
    (line,) = [line for line in out.splitlines() if "on box7" in line]
    assert line.split()[:5] == ["✓", "passed", "1.2e-07", "onnx/default", "onnxruntime"]
    assert "on box7; CUDAExecutionProvider (A card) (onnxruntime 1.31.1)" in line
    assert "awaited" not in out


def test_the_gate_changes_nothing_in_the_release(call, release):
    attest(release, cell("gpu"))
    before = {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}
    call("gate", release)
    assert {path: path.read_bytes() for path in release.rglob("*") if path.is_file()} == before


def test_an_attested_cell_that_failed_refuses_and_its_machine_is_named(call, release):
    attest(release, failed_cell())
    code, out, _ = call("gate", release)
    assert code == 1
    assert out.startswith("REFUSED")
    assert f"tolerance exceeded: {GPU_KEY}: on box7: 12 of 3600 elements" in out


def test_a_failure_that_nobody_asked_for_refuses_as_well(call, tmp_path):
    release = small_release.make(tmp_path / "small.release")
    attest(release, failed_cell("cpu"))
    code, out, _ = call("gate", release)
    assert code == 1
    assert "tolerance exceeded: onnx/default onnxruntime cpu: on box7: " in out


def test_where_two_machines_disagree_the_one_that_failed_refuses_and_is_named_alone(call, release):
    attest(release, cell("gpu"), host="good-box")
    attest(release, failed_cell(), host="bad-box")
    code, out, _ = call("gate", release)
    assert code == 1
    (reason,) = [line for line in out.splitlines() if line.startswith("  tolerance exceeded")]
    assert "on bad-box: " in reason
    assert "good-box" not in reason
    assert "on good-box; " in out  # the cell that passed is shown all the same


def test_the_same_failure_on_two_machines_is_one_reason_that_names_both(call, release):
    attest(release, failed_cell(), host="box1")
    attest(release, failed_cell(), host="box2")
    code, out, _ = call("gate", release, "--json")
    assert code == 1
    (reason,) = json.loads(out)["verdict"]["reasons"]
    assert reason["message"].startswith("on box1, box2: ") or reason["message"].startswith("on box2, box1: ")


def test_a_runtime_that_broke_there_is_broken_here_until_another_machine_runs_it(call, release):
    broken = cell("gpu", status="errored", reason="crashed", message="SIGSEGV", placement=None, diffs=())
    attest(release, broken)
    code, out, _ = call("gate", release)
    assert code == 3
    assert f"errored: {GPU_KEY}: on box7: crashed: SIGSEGV" in out
    attest(release, cell("gpu"), host="box8")
    assert call("gate", release)[0] == 0


def test_a_machine_without_the_device_leaves_the_cell_awaited_and_says_so(call, release):
    absent = cell("gpu", status="unavailable", reason="no such device", message="no card", placement=None, diffs=())
    attest(release, absent)
    code, out, _ = call("gate", release)
    assert code == 1
    assert out.startswith("AWAITING")
    assert f"awaiting attestation: {GPU_KEY}: on box7: no attestation proves this cell yet: " in out
    assert "--runtimes onnxruntime --attest" in out


@pytest.mark.parametrize(
    ("lie", "code"),
    [
        ({"diffs": ()}, "nothing compared"),
        ({"placement": Placement(device="cpu", runtime="onnxruntime 1.31.1", adapter="CPU")}, "wrong device"),
        ({"diffs": failed_cell().diffs}, "inconsistent cell"),
        ({"skipped": {"seeded_batch2": Skip(kind="other batch", why="lie")}}, "incomplete cell"),
        ({"rows": 5}, "incomplete cell"),
        ({"variant": "other"}, "unknown artifact"),
    ],
)
def test_an_attested_cell_that_says_passed_and_shows_otherwise_is_found_out(call, release, lie, code):
    attest(release, cell("gpu"), host="honest")
    attest(release, replace(cell("gpu"), **lie), host="box7")
    got, out, _ = call("gate", release, "--json")
    assert got == 1
    (reason,) = json.loads(out)["verdict"]["reasons"]
    assert reason["code"] == code
    assert reason["message"].startswith("on box7: ")


def test_a_software_adapter_proves_nothing_where_the_policy_demands_a_card(call, tmp_path):
    release = small_release.make(tmp_path / "small.release", elsewhere=[GPU], gpu="hardware")
    soft = Placement(device="gpu", runtime="onnxruntime 1.31.1", adapter="SwiftShader", software=True)
    attest(release, cell("gpu", placement=soft))
    code, out, _ = call("gate", release)
    assert code == 1
    assert f"wrong device: {GPU_KEY}: on box7: the policy asks for a real card" in out


def test_the_same_attestation_twice_counts_and_shows_once(call, release):
    file = attest(release, cell("gpu"))
    shutil.copy(file, file.with_name("copy.json"))
    code, out, _ = call("gate", release)
    assert code == 0
    assert out.count("on box7") == 1


def test_a_broken_or_foreign_file_among_the_attestations_refuses_though_a_good_one_proves_all(call, release, tmp_path):
    attest(release, cell("gpu"))
    other = attest(small_release.make(tmp_path / "other.release"), cell("gpu"))
    shutil.copy(other, release / ATTESTATIONS)
    (release / ATTESTATIONS / "x.json").write_text("{}")
    code, out, _ = call("gate", release, "--json")
    assert code == 1
    assert sorted(codes(out)) == ["broken attestation", "foreign attestation"]


def test_the_attestations_cannot_be_swapped_for_a_link_to_a_folder_elsewhere(call, release, tmp_path):
    attest(release, cell("gpu"))
    (release / ATTESTATIONS).rename(tmp_path / "elsewhere")
    (release / ATTESTATIONS).symlink_to(tmp_path / "elsewhere")
    code, out, _ = call("gate", release, "--json")
    assert code == 1
    assert codes(out) == ["digest mismatch"]


def test_a_changed_artifact_is_refused_though_everything_is_attested(call, release):
    attest(release, cell("gpu"))
    with (release / "artifacts/onnx/default/model.onnx").open("ab") as file:
        file.write(b"\0")
    code, out, _ = call("gate", release)
    assert code == 1
    assert "artifacts/onnx/default/model.onnx: was changed" in out


def test_another_digest_than_the_one_given_is_refused(call, release):
    attest(release, cell("gpu"))
    assert call("gate", release, "--digest", manifest_digest(release))[0] == 0
    code, out, _ = call("gate", release, "--digest", "0" * 64)
    assert code == 1
    assert f"{MANIFEST}: its SHA-256 is {manifest_digest(release)}" in out


def test_the_digest_is_that_of_the_manifest_that_was_read(call, release, monkeypatch, tmp_path):
    attest(release, cell("gpu"))
    other = small_release.make(tmp_path / "other.release", gpu="hardware")
    own, digest = manifest_digest(release), manifest_digest(other)
    small_release.replaced_once_read(monkeypatch, release, other)
    code, out, _ = call("gate", release, "--digest", digest)
    assert code == 1
    assert f"{MANIFEST}: its SHA-256 is {own}, but {digest} was given" in out


def test_an_attestation_does_not_lift_what_stood_against_the_release_for_another_reason(call, tmp_path):
    reason = small_release.broken_reason()
    release = small_release.make(tmp_path / "small.release", elsewhere=[GPU], reasons=[reason])
    attest(release, cell("gpu"))
    code, out, _ = call("gate", release)
    assert code == 1
    assert out.startswith("REFUSED")
    assert f"  {reason.code}: {reason.subject}: {reason.message}\n" in out


def test_a_release_own_failed_cell_is_said_once_and_charged_to_no_other_machine(call, tmp_path):
    release = small_release.make(tmp_path / "small.release", own=failed_cell("cpu"))
    attest(release, cell("gpu"))
    code, out, _ = call("gate", release, "--json")
    assert code == 1
    assert codes(out) == ["tolerance exceeded"]
    assert not json.loads(out)["verdict"]["reasons"][0]["message"].startswith("on ")


def test_an_artifact_that_nothing_ran_here_is_proven_by_another_machine(call, tmp_path):
    stopped = cell(status="unavailable", reason="runtime missing", message="pip", placement=None, diffs=())
    required = [Requirement(format="tflite", runtime="litert-xnnpack", device="cpu")]  # so that ONNX is not required
    release = small_release.make(tmp_path / "small.release", own=stopped, required=tuple(required))
    _, out, _ = call("gate", release, "--json")
    assert codes(out) == ["missing required cell", "unproven artifact"]
    attest(release, cell("cpu"))
    _, out, _ = call("gate", release, "--json")
    assert codes(out) == ["missing required cell"]


CLAIMS = {
    "a verdict against its own reasons": (lambda tree: tree["verdict"].update(passed=True), "verdict.passed is true"),
    "a requirement taken out": (lambda tree: tree["policy"].update(elsewhere=[]), "verdict.required is not what"),
    "another model": (lambda tree: tree["artifacts"][0].update(source="0" * 64), "made from another model"),
    "other samples": (lambda tree: tree["samples"][0].update(rows=7), "samples or signature differ"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_what_the_manifest_says_against_its_own_records_is_a_false_claim(call, release, name):
    change, said = CLAIMS[name]
    small_release.edit(release, change)
    attest(release, cell("gpu"))
    code, out, _ = call("gate", release)
    assert code == 1
    (line,) = [line for line in out.splitlines() if line.startswith("  false claim: release.json: ")]
    assert said in line


def test_a_demand_for_a_runtime_that_this_version_does_not_know_stays_awaited(call, tmp_path):
    unknown = Requirement(format="onnx", runtime="tensorrt", device="gpu")
    release = small_release.make(tmp_path / "small.release", elsewhere=[unknown])
    code, out, _ = call("gate", release)
    assert code == 1
    assert "with a paritygate that knows this runtime" in out


@pytest.mark.parametrize("place", ["", "nowhere"])
def test_a_directory_that_is_no_release_is_bad_input(call, tmp_path, place):
    code, out, err = call("gate", tmp_path / place)
    assert (code, out) == (2, "")
    assert "is not a release directory" in err


def test_with_json_the_whole_report_is_one_object(call, release):
    attest(release, cell("gpu"))
    code, out, err = call("gate", release, "--json")
    assert (code, err) == (0, "")
    report = json.loads(out)
    assert report["digest"] == manifest_digest(release)
    assert report["verdict"]["passed"] is True
    assert report["attestations"][0]["attestation"]["machine"]["host"] == "box7"
    assert report["awaited"] == []


def test_a_machine_whose_name_is_an_escape_sequence_cannot_steer_the_terminal(call, release):
    attest(release, failed_cell(), host="\x1b[2Jbox")
    _, out, _ = call("gate", release)
    assert "\x1b" not in out
    assert "\\x1b[2Jbox" in out


def test_the_gate_imports_no_runtime_no_framework_and_no_prefect(release):
    attest(release, cell("gpu"))
    heavy = {"tensorflow", "keras", "prefect", "onnx", "onnxruntime", "ai_edge_litert", "websockets", "h5py"}
    script = (
        f"import sys; from flows import cli; code = cli.main(['gate', {str(release)!r}]); "
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
    )
    root = Path(cli.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_the_help_says_that_attestations_are_not_signed(call):
    code, out, _ = call("gate", "--help")
    assert code == 0
    assert "not signed yet" in " ".join(out.split())
