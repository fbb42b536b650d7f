"""`paritygate compare` on releases that lie on disk."""

import json

import factory
import pytest
import small_release


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("releases")
    return small_release.make(folder / "a"), small_release.make(folder / "b", own=small_release.failed_cell("cpu"))


def test_two_releases_are_shown_side_by_side(call, releases):
    code, out, err = call("compare", *releases)
    assert (code, err) == (0, "")
    assert "worse" in out
    assert "1 cell passed in A and did not in B." in out


def test_as_json_the_comparison_is_one_object(call, releases):
    code, out, _ = call("compare", *releases, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["verdicts"] == ["RELEASED", "REFUSED"]
    assert found["cells"][0]["second"]["status"] == "failed"


def test_as_a_page_it_goes_into_the_file_that_was_named(call, releases, tmp_path):
    code, out, _ = call("compare", *releases, "-o", tmp_path / "two.html")
    assert code == 0
    assert out.strip() == str(tmp_path / "two.html")
    assert (tmp_path / "two.html").read_text("utf-8").startswith("<!DOCTYPE html>")


def test_what_is_no_release_is_bad_input(call, releases, tmp_path):
    code, _, err = call("compare", releases[0], tmp_path)
    assert code == 2
    assert "is not a release directory" in err


def test_the_samples_of_a_release_with_digests_are_gone_and_verify_says_what_it_cannot_do(call, tmp_path):
    folder = small_release.make(tmp_path / "private", evidence="digests")
    kept = json.loads((folder / "evidence" / "digests.json").read_text("utf-8"))
    assert set(kept) == {"samples/seeded_batch2/x.npy", "reference/seeded_batch2/y.npy"}
    assert all(len(digest) == 64 for digest in kept.values())
    assert not [*folder.rglob("*.npy")]
    code, out, _ = call("verify", folder)
    assert code == 1
    assert "samples withheld: evidence: policy.evidence kept only the digests" in out
    assert call("gate", folder)[0] == 0
    (folder / "artifacts" / "onnx" / "default" / "model.onnx").write_bytes(b"other")
    assert "digest mismatch" in call("verify", folder)[1]


def test_private_samples_cannot_be_proven_elsewhere(call, tmp_path):
    config = tmp_path / "release.toml"
    config.write_text('[policy]\nevidence = "digests"\nelsewhere = ["onnx onnxruntime gpu"]\n', "utf-8")
    model = tmp_path / "model.keras"
    model.write_bytes(factory.DIGEST.encode())
    code, _, err = call("release", model, "--config", config)
    assert code == 2
    assert "policy.elsewhere needs the samples there, but policy.evidence keeps only their digests" in err
