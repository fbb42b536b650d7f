"""`paritygate approve` and `waive`: what people decide about a release, through the real command line."""

import json
import shutil
from datetime import date, timedelta
from types import SimpleNamespace

import pytest
import small_release
from small_release import CPU, GPU, KEY, cell, failed_cell

from flows.config.settings import Settings
from flows.prefect.release import unchanged
from flows.review import gate
from validators.contract import Verdict, Waiver
from validators.release.attestation_files import write_approval
from validators.release.integrity import ATTESTATIONS, manifest_digest
from validators.release.manifest import load

ANN = ("--by", "Ann", "--why", "read the report")
DAY = date(2026, 11, 27)
HERE = ("--runtimes", "onnxruntime", "--device", "cpu")
TOLERANCE = f"tolerance exceeded: {KEY}: "


@pytest.fixture
def call(call, monkeypatch):
    """The command line, on a wide console and on a day of our own."""
    monkeypatch.setenv("COLUMNS", "200")
    on(monkeypatch, DAY)
    return call


def on(monkeypatch, day):
    """Lets the gate and verify believe that it is another day."""
    monkeypatch.setattr("flows.review.gate.today", lambda: day)
    monkeypatch.setattr("flows.pipeline.verify.today", lambda: day)


@pytest.fixture
def good(tmp_path):
    """A good release whose policy demands that a person approves it."""
    return small_release.make(tmp_path / "small.release", approval=True)


@pytest.fixture
def refused(tmp_path):
    """A release that was refused, and would be again: the recorded reference is not what the artifact computes."""
    return small_release.make(tmp_path / "small.release", own=failed_cell("cpu"), off_by=0.5)


def attestations(release):
    folder = release / ATTESTATIONS
    return [json.loads(path.read_text()) for path in sorted(folder.iterdir())] if folder.exists() else []


def codes(out):
    return [reason["code"] for reason in json.loads(out)["verdict"]["reasons"]]


def test_a_release_that_awaits_a_person_says_how_to_approve_and_an_approval_lets_it_out(call, good):
    assert [reason.code for reason in load(good).verdict.reasons] == ["awaiting approval"]
    code, out, _ = call("gate", good)
    assert code == 1
    assert out.startswith("AWAITING")
    assert f"paritygate approve {good} --by WHO --why WHY\n" in out
    code, out, err = call("approve", good, *ANN)
    assert code == 0
    assert out.startswith("RELEASED")
    assert "approved by Ann on " in out
    assert "kept in " in err
    (kept,) = attestations(good)
    assert (kept["kind"], kept["act"], kept["who"], kept["why"]) == ("approval", "approved", "Ann", "read the report")
    assert kept["manifest"] == manifest_digest(good)
    assert call("gate", good)[:2] == (0, out)


def test_a_rejection_refuses_until_somebody_forces_it_and_stays_visible(call, good):
    code, out, _ = call("approve", good, "--reject", "--by", "Bob", "--why", "wrong labels")
    assert code == 1
    assert out.startswith("REFUSED")
    assert "rejected: release: by Bob: wrong labels" in out
    code, _, err = call("approve", good, *ANN)
    assert code == 1
    assert "not done: the gate refuses it; --force" in err
    code, out, _ = call("approve", good, "--force", *ANN)
    assert code == 0
    assert out.startswith("FORCED")
    assert "rejected by Bob" in out
    code, out, _ = call(
        "approve", good, "--reject", "--by", "Eve", "--why", "still wrong"
    )  # forced over Bob's no alone
    assert code == 1
    assert "rejected: release: by Eve: still wrong" in out


def test_what_the_gate_refuses_is_let_out_by_force_alone_and_says_so_in_every_later_look(call, refused):
    code, out, err = call("approve", refused, *ANN)
    assert (code, attestations(refused)) == (1, [])
    assert out.startswith("REFUSED")
    assert "--force releases it anyway, and every later report says so" in err
    code, out, _ = call("approve", refused, "--force", "--by", "Ann", "--why", "demo tonight")
    assert code == 0
    for look in (out, call("gate", refused)[1]):
        assert look.startswith("FORCED  small.keras")
        assert "RELEASED" not in look
        assert "FORCED   by Ann on " in look
        assert "demo tonight" in look
        assert f"forced   {TOLERANCE}" in look
    report = json.loads(call("gate", refused, "--json")[1])
    assert report["verdict"]["passed"]
    assert report["overridden"][0]["code"] == "tolerance exceeded"
    for file in (refused / ATTESTATIONS).iterdir():
        file.unlink()  # who takes the word away takes the release back
    assert call("gate", refused)[0] == 1


def test_force_overrides_what_stood_then_and_nothing_that_comes_up_later(call, refused):
    assert call("approve", refused, "--force", *ANN)[0] == 0
    from test_gate_command import attest

    attest(refused, failed_cell("gpu"))
    code, out, _ = call("gate", refused)
    assert code == 1
    assert out.startswith("REFUSED")
    assert "FORCED   by Ann" in out


def test_nobody_forces_bytes_that_changed(call, refused):
    assert call("approve", refused, "--force", *ANN)[0] == 0
    (refused / "artifacts/onnx/default/model.onnx").write_bytes(b"other")
    code, out, _ = call("gate", refused, "--json")
    assert code == 1
    assert "digest mismatch" in codes(out)
    code, _, err = call("approve", refused, "--force", *ANN)
    assert code == 1
    assert "not done: digest mismatch: a release that is not what it says cannot be forced" in err
    assert len(attestations(refused)) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--force", *ANN), "the gate does not refuse this release"),
        (("--force", "--reject", *ANN), "contradict each other"),
        (("--by", " ", "--why", "x"), "--by: got nothing"),
        (("--by", "Ann", "--why", ""), "--why: got nothing"),
        (("--by", "Ann"), "--why"),
    ],
)
def test_a_decision_that_says_too_little_or_nothing_is_bad_input(call, tmp_path, arguments, said):
    release = small_release.make(tmp_path / "small.release")
    code, out, err = call("approve", release, *arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert attestations(release) == []


def test_an_approval_of_another_release_or_an_edited_one_refuses(call, good, tmp_path):
    other = small_release.make(tmp_path / "other.release", approval=True, gpu="hardware")
    call("approve", other, *ANN)
    shutil.copytree(other / ATTESTATIONS, good / ATTESTATIONS)
    code, out, _ = call("gate", good, "--json")
    assert (code, codes(out)) == (1, ["foreign attestation", "awaiting approval"])
    (file,) = (good / ATTESTATIONS).iterdir()
    tree = json.loads(file.read_text()) | {"manifest": manifest_digest(good)}
    for changes in ({"who": " "}, {"act": "blessed"}, {"act": "forced"}, {"overridden": [{"code": "x"}]}):
        file.write_text(json.dumps(tree | changes))
        code, out, _ = call("gate", good, "--json")
        assert (code, codes(out)) == (1, ["broken attestation", "awaiting approval"]), changes


def test_another_digest_than_the_one_that_was_looked_at_is_not_approved(call, good):
    code, _, err = call("approve", good, *ANN, "--digest", "0" * 64)
    assert (code, attestations(good)) == (1, [])
    assert "not done" in err


WAIVER = Waiver(cell=str(CPU), until=DAY, by="Ann", why="upstream#1")
CELLS = [str(CPU), KEY]


@pytest.mark.parametrize("cell_name", CELLS)
def test_a_waiver_of_the_policy_holds_to_its_last_day_and_no_longer(call, tmp_path, monkeypatch, cell_name):
    stopped = cell(status="limited", reason="no strings", message="no string operators", placement=None, diffs=())
    waiver = Waiver(cell=cell_name, until=DAY, by="Ann", why="upstream#1")
    release = small_release.make(tmp_path / "small.release", own=stopped, waivers=(waiver,), elsewhere=[GPU])
    from test_gate_command import attest

    attest(release, cell("gpu"))  # an artifact that nothing proves goes out under no waiver
    code, out, _ = call("gate", release)
    assert code == 0, out
    assert f"waived   limited: {KEY}: until 2026-11-27 by Ann (upstream#1): no strings" in out
    on(monkeypatch, DAY + timedelta(days=1))
    code, out, _ = call("gate", release)
    assert code == 1
    assert f"limited: {KEY}: no strings: no string operators (the waiver by Ann ended on 2026-11-27)" in out


def test_a_waiver_proves_nothing(call, tmp_path):
    stopped = cell(status="limited", reason="r", message="m", placement=None, diffs=())
    release = small_release.make(tmp_path / "small.release", own=stopped, waivers=(WAIVER,))
    code, out, _ = call("gate", release, "--json")
    assert (code, codes(out)) == (1, ["unproven artifact"])


def test_a_waiver_that_comes_later_is_kept_with_who_why_and_until_when(call, tmp_path, monkeypatch):
    release = small_release.make(tmp_path / "small.release", own=failed_cell("cpu"), elsewhere=[GPU])
    from test_gate_command import attest

    attest(release, cell("gpu"))
    given = (release, str(CPU), "--until", DAY.isoformat(), "--by", "Ann", "--why", "upstream#1")
    code, out, _ = call("waive", *given)
    assert code == 0, out
    assert f"waived   {TOLERANCE}until 2026-11-27 by Ann (upstream#1): " in out
    kept = attestations(release)[-1]
    assert kept["waiver"] == {"cell": str(CPU), "until": "2026-11-27", "by": "Ann", "why": "upstream#1"}
    assert kept["manifest"] == manifest_digest(release)
    on(monkeypatch, DAY + timedelta(days=1))
    code, out, _ = call("gate", release, "--json")
    assert (code, codes(out)) == (1, ["tolerance exceeded"])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("onnx onnxruntme cpu", "--until", "2027-01-01", *ANN), "knows no cell 'onnx onnxruntme cpu'"),
        ((str(CPU), "--until", "soon", *ANN), "--until soon: is not a date"),
        ((str(CPU), "--until", "2027-01-01", "--by", "Ann", "--why", " "), "by whom and why"),
        ((str(CPU), *ANN), "--until"),
    ],
)
def test_a_waiver_for_no_cell_without_end_or_without_reason_is_bad_input(call, good, given, said):
    code, out, err = call("waive", good, *given)
    assert (code, out) == (2, "")
    assert said in err


def test_verify_runs_a_forced_release_and_says_that_it_was_forced(call, refused):
    code, out, _ = call("verify", refused, *HERE)
    assert code == 1
    assert "was refused and still is: tolerance exceeded" in out
    assert call("approve", refused, "--force", *ANN)[0] == 0
    code, out, _ = call("verify", refused, *HERE)
    assert code == 0, out
    assert out.startswith("VERIFIED FORCED")
    assert "FORCED   by Ann on " in out
    assert f"forced   {TOLERANCE}" in out


def test_verify_lets_a_waived_cell_fail_until_its_last_day(call, tmp_path, monkeypatch):
    release = small_release.make(
        tmp_path / "small.release", own=failed_cell("cpu"), off_by=0.5, waivers=(WAIVER,), elsewhere=[GPU]
    )
    code, out, _ = call("verify", release, *HERE)
    assert code == 1
    assert "unproven" not in out
    assert f"waived   {TOLERANCE}" in out
    on(monkeypatch, DAY + timedelta(days=1))
    code, out, _ = call("verify", release, *HERE)
    assert code == 1
    assert "was refused and still is: tolerance exceeded" in out


def test_verify_refuses_a_folder_of_attestations_that_it_cannot_read(call, tmp_path):
    release = small_release.make(tmp_path / "small.release")
    (release / ATTESTATIONS).mkdir()
    (release / ATTESTATIONS / "approval.json").write_text("{}")
    code, out, _ = call("verify", release, *HERE)
    assert code == 1
    assert "broken attestation: attestations/approval.json" in out


def test_a_night_neither_makes_an_awaiting_release_again_nor_calls_it_verified(call, good, monkeypatch):
    from flows.batch import nightly

    found = SimpleNamespace(
        verdict=Verdict(passed=True, reasons=(), required=()),
        manifest=load(good),
        approvals=(),
        overridden=(),
        digest=manifest_digest(good),
    )
    monkeypatch.setattr(nightly, "verify", lambda *_, **__: found)
    state = nightly.verify_again.fn(good)
    assert (state.type, state.name) == ("FAILED", "Awaiting")
    call("approve", good, *ANN)
    assert nightly.verify_again.fn(good).name == "Verified"
    monkeypatch.setattr("flows.prefect.release.settings_digest", lambda *_, **__: load(good).asked)
    settings = Settings(model=good / "release.json", output=good)
    assert unchanged(settings)
    shutil.rmtree(good / ATTESTATIONS)
    assert unchanged(settings)
    call("approve", good, "--reject", *ANN)
    assert not unchanged(settings)


def test_a_name_that_is_an_escape_sequence_cannot_steer_the_terminal(call, good):
    write = {"manifest": manifest_digest(good), "act": "approved", "who": "\x1b[2JAnn", "why": "x"}
    (good / ATTESTATIONS).mkdir()
    write_approval(good, **write)
    _, out, _ = call("gate", good)
    assert "\x1b" not in out
    assert gate.gate(good).verdict.passed
