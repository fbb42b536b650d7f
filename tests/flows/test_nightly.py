"""What a night does with a model whose release is there already."""

from types import SimpleNamespace

import pytest

from flows.batch import loop_in_prefect, nightly
from flows.config.settings import Settings, Terms
from flows.prefect.release import release_dir
from validators.release.integrity import ATTESTATIONS


@pytest.mark.parametrize(
    ("evidence", "attested", "did"),
    [("full", True, "verified"), ("digests", False, "released"), ("digests", True, "judged")],
)
def test_an_unchanged_model_is_verified_again_and_released_where_its_samples_are_gone_and_no_person_had_a_say(
    tmp_path, monkeypatch, evidence, attested, did
):
    (tmp_path / "a.keras").write_bytes(b"model")
    if attested:
        name = release_dir(Settings(model=tmp_path / "a.keras"), tmp_path / "releases")
        (name / ATTESTATIONS).mkdir(parents=True)
    ends = {name: SimpleNamespace(name=name, message="") for name in ("verified", "released", "judged")}
    monkeypatch.setattr(nightly, "unchanged", lambda _settings: True)
    monkeypatch.setattr(nightly, "verify_again", lambda *_, **__: ends["verified"])
    monkeypatch.setattr(nightly, "release", lambda *_, **__: ends["released"])
    monkeypatch.setattr(nightly, "standing_there", lambda *_: ends["judged"])
    terms = Terms.model_validate({"policy": {"evidence": evidence}})
    settings = loop_in_prefect.settings_of(tmp_path / "a.keras", tmp_path / "releases", terms)
    assert nightly._release_or_verify(settings).name == did


@pytest.mark.parametrize(
    ("ends", "name"),
    [
        (["Released", "Verified"], "All proven"),
        (["Released", "Bad input"], "Bad input"),
        (["Bad input", "Refused"], "Refused"),
        (["Awaiting"], "Refused"),
        *((["Refused", end], "Broken") for end in ("Broken", "Crashed", "Cancelled", "Failed", "TimedOut")),
    ],
)
def test_a_folder_of_models_ends_as_broken_when_some_model_got_no_verdict(monkeypatch, ends, name):
    monkeypatch.setattr(loop_in_prefect, "create_markdown_artifact", lambda *_, **__: None)
    outcomes = [loop_in_prefect.ModelOutcome(model=f"{end}.keras", state=end, message="") for end in ends]
    assert loop_in_prefect.final_state("nightly", "models", outcomes).name == name
