"""The GitHub action, its annotations, and the GitLab template: their steps run for real, outside GitHub."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import factory
import pytest
import yaml

from deployments.annotate import Annotation, annotations, code_quality, command, commands, main, summary
from validators.contract import Reason, Verdict
from validators.release.manifest import dump

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits" / "digits.keras"
QUICK = 'formats = ["onnx"]\n[policy]\ngpu = "off"\nrequired = ["onnx onnxruntime cpu"]\n'


def test_every_failed_cell_is_one_annotation():
    good, bad = factory.cell(), factory.cell(runtime="ort-web-wasm", status="failed", reason="r", message="m")
    missing = Reason(code="missing cell", subject="onnx onnxruntime cpu", message="not run")
    own = Reason(code="failed", subject=bad.key, message="m")
    refused = replace(
        factory.manifest(), cells=(good, bad), verdict=Verdict(passed=False, reasons=(own, missing), required=())
    )
    assert list(annotations(refused)) == [
        Annotation(bad.key, "failed: r: m"),
        Annotation("onnx onnxruntime cpu", "missing cell: not run"),
    ]
    passed = replace(refused, verdict=Verdict(passed=True, reasons=(), required=()))
    assert list(annotations(passed)) == [Annotation(bad.key, "failed: r: m", warning=True)]


def test_a_refusal_without_a_failed_cell_says_its_reasons():
    reason = Reason(code="missing cell", subject="onnx onnxruntime cpu", message="not run")
    refused = Verdict(passed=False, reasons=(reason,), required=())
    manifest = replace(factory.manifest(), verdict=refused)
    assert list(annotations(manifest)) == [Annotation("onnx onnxruntime cpu", "missing cell: not run")]


def test_a_message_cannot_begin_a_command_of_its_own():
    said = command(Annotation("a,b::c", "100%\n::set-output name=x::y\r"))
    assert "\n" not in said
    assert said.startswith("::error title=paritygate%3A a%2Cb%3A%3Ac::100%25")


def test_of_more_annotations_than_github_shows_the_last_one_counts_the_rest():
    errors, warnings = ([Annotation(str(n), "m", warning=mild) for n in range(12)] for mild in (False, True))
    said = commands([*warnings[:10], *errors])
    assert said[:9] == [command(each) for each in errors[:9]]
    assert said[9] == "::error title=paritygate%3A more::3 more: the step summary has all of them"
    assert said[10:] == [command(each) for each in warnings[:10]]


def test_gitlab_knows_a_line_again_whatever_its_figures_are():
    before, after = (code_quality([Annotation("cell", f"off by {n}\nat row 3")], "m.keras") for n in (1, 2))
    (old,), (new,) = json.loads(before), json.loads(after)
    assert (old["description"], new["description"]) == ("cell: off by 1 at row 3", "cell: off by 2 at row 3")
    assert old["fingerprint"] == new["fingerprint"]
    (mild,) = json.loads(code_quality([Annotation("cell", "m", warning=True)], "m.keras"))
    assert (old["severity"], mild["severity"]) == ("blocker", "minor")
    assert mild["fingerprint"] != old["fingerprint"]


def test_the_summary_is_the_report_and_of_an_error_its_message():
    manifest = factory.manifest()
    text, _ = summary(dump(manifest))
    assert manifest.model.name in text
    text, found = summary(b'{"error": {"kind": "bad input", "message": "no such file", "next_step": "look"}}')
    assert "no such file look" in text
    assert found == [Annotation("bad input", "no such file look")]


def test_a_release_that_ended_without_a_word_is_an_annotation_too(tmp_path, capsys, monkeypatch):
    for said in (None, b"", b'{"half'):
        file = tmp_path / "paritygate.json"
        if said is not None:
            file.write_bytes(said)
        monkeypatch.setattr("sys.argv", ["annotate", str(file)])
        assert main() == 0
        assert capsys.readouterr().out.startswith("::error title=paritygate%3A broken::the release ended without")


def test_a_waived_cell_that_failed_is_a_warning():
    bad = factory.failed_cell()
    waived = factory.reason(bad.reason, bad.key)
    verdict = Verdict(passed=True, reasons=(), required=(), waived=(waived,))
    (said,) = annotations(replace(factory.manifest(), cells=(bad,), verdict=verdict))
    assert said.warning
    other = replace(verdict, passed=False, reasons=(factory.reason("failed", "x"),))
    said, _ = annotations(replace(factory.manifest(), cells=(bad,), verdict=other))
    assert said.warning


def test_both_ci_gates_take_the_same_inputs():
    given = set(yaml.safe_load((ROOT / "deployments/github-action/action.yml").read_text())["inputs"])
    job = yaml.safe_load((ROOT / "deployments/gitlab/paritygate.yml").read_text())[".paritygate"]
    assert given == {"model", *(name.lower() for name in job["variables"])}


@pytest.fixture
def action(tmp_path):
    """Runs the action's steps with inputs; gives exit code and output."""
    config = tmp_path / "release.toml"
    config.write_text(QUICK)

    def run(model, **inputs):
        given = {"model": model, "config": config, "output": tmp_path / "out", **inputs}
        command = [sys.executable, "-m", "tools.run_action", *(f"{name}={value}" for name, value in given.items())]
        settings = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
        done = subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    return run


@pytest.mark.slow
def test_the_action_releases_and_shows_the_matrix(action, tmp_path):
    code, out = action(DIGITS)
    assert code == 0, out
    assert "::error" not in out
    assert "onnxruntime" in out.partition("== step summary")[2]
    assert "left out here: actions/upload-artifact" in out
    assert (tmp_path / "out" / "junit.xml").exists()


@pytest.mark.slow
def test_the_action_ends_with_the_exit_code_and_an_annotation(action, tmp_path):
    (tmp_path / "release.toml").write_text(f"{QUICK}atol = 0.0\nrtol = 0.0\n")
    code, out = action(DIGITS)
    assert code == 1
    assert out.count("::error title=paritygate%3A onnx/default onnxruntime cpu::failed: tolerance exceeded") == 1
    code, out = action(DIGITS, baseline=tmp_path / "last.release")
    assert code == 2
    assert "last.release is not a release directory" in out.partition("== step summary")[2]
    code, out = action(tmp_path / "missing.keras")
    assert code == 2
    assert "::error title=paritygate%3A bad input::" in out
    assert "no such file" in out.partition("== step summary")[2]


@pytest.fixture
def gitlab(tmp_path):
    """Runs the template's job as a runner would; gives its exit code and the files that it keeps."""
    job = yaml.safe_load((ROOT / "deployments" / "gitlab" / "paritygate.yml").read_text())[".paritygate"]

    def run(terms):
        (tmp_path / "release.toml").write_text(terms)
        variables = {**job["variables"], "PARITYGATE": str(ROOT), "MODEL": str(DIGITS), "CONFIG": "release.toml"}

        def steps(*lines):
            script = ["/bin/bash", "-eo", "pipefail", "-c", "\n".join(lines)]
            return subprocess.run(script, cwd=tmp_path, env={**os.environ, **variables}, check=False).returncode

        code = steps(*job["before_script"], *job["script"])
        assert steps(*job["after_script"]) == 0
        kept = {
            name: path.replace("$OUTPUT", variables["OUTPUT"]) for name, path in job["artifacts"]["reports"].items()
        }
        return code, {name: tmp_path / path for name, path in kept.items()}

    return run


@pytest.mark.slow
def test_the_gitlab_job_releases(gitlab):
    code, kept = gitlab(QUICK)
    assert code == 0
    assert "<failure" not in kept["junit"].read_text()
    assert json.loads(kept["codequality"].read_text()) == []


@pytest.mark.slow
def test_the_gitlab_job_ends_with_the_exit_code_and_an_annotation(gitlab):
    code, kept = gitlab("formats = ['onx']\n")
    assert code == 2
    assert "broken: the release ended without a result" in kept["codequality"].read_text()
    code, kept = gitlab(f"{QUICK}atol = 0.0\nrtol = 0.0\n")
    assert code == 1
    assert "<failure" in kept["junit"].read_text()
    told = {each["description"].partition(": tolerance")[0] for each in json.loads(kept["codequality"].read_text())}
    assert "onnx/default onnxruntime cpu: failed" in told
