"""`--baseline`: a release held against the last one that went out, through the real command line."""

from pathlib import Path

import pytest
import small_release
from small_release import failed_cell

from validators.release.integrity import manifest_digest
from validators.release.manifest import load

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits" / "digits.keras"
QUICK = 'formats = ["onnx"]\n[policy]\ngpu = "off"\nrequired = ["onnx onnxruntime cpu"]\n'


def test_a_baseline_that_did_not_go_out_or_is_none_is_bad_input_before_anything_runs(call, tmp_path):
    refused = small_release.make(tmp_path / "refused.release", own=failed_cell("cpu"))
    out, config = tmp_path / "out", tmp_path / "release.toml"
    config.write_text(QUICK)
    given = ("release", DIGITS, "-o", out, "--no-prefect", "--config", config, "--baseline")
    code, _, err = call(*given, refused)
    assert code == 2
    assert "this baseline did not go out: tolerance exceeded: onnx/default onnxruntime cpu" in err
    code, _, err = call(*given, tmp_path / "nowhere")
    assert code == 2
    assert "nowhere is not a release directory" in err
    assert not out.exists()


@pytest.mark.slow
def test_a_release_larger_than_the_policy_allows_is_refused_and_kept_with_its_figures(call, tmp_path):
    config = tmp_path / "release.toml"
    config.write_text(QUICK)
    first, second = tmp_path / "first.release", tmp_path / "second.release"
    given = ("release", DIGITS, "--no-prefect", "--config", config)
    code, _, err = call(*given, "-o", first)
    assert code == 0, err
    config.write_text(f"{QUICK}approval = true\n[policy.baseline]\nsize_ratio = 0.5\nlatency_ratio = 1000\n")
    code, out, err = call(*given, "-o", second, "--baseline", first)
    assert code == 1, err
    assert "size regression  onnx/default: " in out
    assert "awaiting approval  release: " in out
    assert "baseline digits.keras " in out
    baseline = load(second).baseline
    assert baseline.digest == manifest_digest(first)
    figures = {(each.what, each.subject): each for each in baseline.comparisons}
    cell = "onnx/default onnxruntime cpu"
    assert figures["size", "onnx/default"].regressed
    assert figures["latency", cell].now > 0, figures["latency", cell].why_not
    assert not figures["distance", cell].regressed
    assert "## Against the baseline" in (second / "report.md").read_text()
    code, out, _ = call("approve", second, "--force", "--by", "Ann", "--why", "the new labels need it")
    assert code == 0
    assert out.startswith("FORCED")
    assert "forced   size regression: onnx/default: " in out
