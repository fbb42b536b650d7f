"""The flow `watch` on a real Prefect server, over checkpoints in a real S3 server; nightly and submit over the same."""

import io
import json
import zipfile

import fsspec
import pytest
from prefect_server import QUICK, ROOT, carried_out, submit

from exporters.errors import BadInput, Broken
from flows.batch.checkpoints import list_checkpoints, parse_checkpoint_pattern
from flows.batch.loop_in_prefect import find_models
from flows.config.settings import Settings
from flows.prefect.bundle import pack
from flows.prefect.storage import fetched
from validators.release.manifest import load

DIGITS = ROOT / "examples" / "digits" / "digits.keras"

pytestmark = pytest.mark.slow


@pytest.fixture
def owner(bucket, monkeypatch):
    """This process as the bucket's owner; gives the bucket. What fsspec keeps for the process is of nobody else."""
    forget = fsspec.get_filesystem_class("s3").clear_instance_cache
    for name, value in bucket.environment().items():
        monkeypatch.setenv(name, value)
    forget()
    yield bucket.files()
    forget()


def another(number):
    """The digits model in other bytes: its archive says another second."""
    scratch = io.BytesIO()
    with zipfile.ZipFile(DIGITS) as digits, zipfile.ZipFile(scratch, "w") as copy:
        for info in digits.infolist():
            copy.writestr(zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, number)), digits.read(info))
    return scratch.getvalue()


@pytest.mark.timeout(600)
def test_each_new_best_checkpoint_in_a_bucket_is_released_once(server, deployed, worker, bucket, tmp_path):
    files, releases = bucket.files(), tmp_path / "releases"
    checkpoints = "s3://models/net/{epoch:02d}-{val_loss:.4f}.keras"

    terms = {"releases": str(releases), "terms": QUICK}

    def look():
        given = {"checkpoints": checkpoints, "settle_seconds": 0.5, **terms}
        return carried_out(server, deployed[0]["watch"], **given)

    def made():
        return {path.name: (path / "release.json").stat().st_mtime_ns for path in releases.glob("*.release")}

    files.pipe({"models/net/01-0.9000.keras": another(2), "models/net/02-0.5000.keras": another(4)})
    files.pipe({"models/net/03-0.1000.keras": another(6)[:-100], "models/net/04-0.0100.tmp.keras": another(8)})
    state, message = look()
    assert state == "Released", message
    assert "03-0.1000.keras" in message  # cut short: told, and the best that is whole is released
    (first,) = made()
    assert first.startswith("02-0.5000-")
    assert load(releases / first).model.name == "02-0.5000.keras"

    files.pipe("models/net/05-0.6000.keras", another(10))  # later, and no better
    assert look() == ("Nothing new", "")
    before = made()
    (record,) = releases.glob("watch-*.json")
    kept = json.loads(record.read_text())
    kept["judged"] = {key: each for key, each in kept["judged"].items() if each["state"] != "Released"}
    record.write_text(json.dumps(kept))  # as if killed between the release and its note
    state, message = look()
    assert (state, made()) == ("Released", before)
    assert message.endswith("by an earlier look")

    files.pipe("models/net/03-0.1000.keras", another(6))  # now whole
    state, message = look()
    assert state == "Released", message
    assert {name[:9] for name in made()} == {"02-0.5000", "03-0.1000"}
    before = made()
    both = "s3://models/net/0[23]-*.keras"
    night = carried_out(server, deployed[0]["nightly"], models=both, **terms)
    assert night == ("All proven", f"2 models of {both}")  # which it verifies
    assert made() == before


def test_a_folder_of_models_in_a_bucket_is_listed_and_fetched(bucket, owner):
    owner.pipe({"models/inner/a.keras": b"1", "models/inner/deep/b.keras": b"2", "models/inner/readme.md": b""})
    files, paths = find_models("s3://models/inner")
    assert paths == ["models/inner/a.keras", "models/inner/deep/b.keras"]
    with fetched(files, paths[1]) as file:
        assert (file.name, file.read_bytes()) == ("b.keras", b"2")
    assert find_models("s3://models/inner/*.keras")[1] == paths[:1]


def test_a_model_is_submitted_through_a_bucket_once_and_released_from_there(server, worker, home, bucket, quick):
    out = quick.with_name("far.release")
    given = (DIGITS, "-o", out, "--config", quick, "--samples", DIGITS.with_name("samples.npz"))
    given += ("--storage", "s3://models/inbox", "--wait", "--json")
    code, said, err = submit(server, home, *given, **bucket.environment())
    assert code == 0, err
    assert load(out).samples[0].origin == "user"
    names = sorted(path.rpartition("/")[2] for path in bucket.files().find("models/inbox"))
    assert names == [".complete", "digits.keras", "samples.npz"]
    bucket.files().put_file(str(DIGITS), "models/trained/digits.keras")
    for model in (DIGITS, "s3://models/trained/digits.keras"):
        code, again, _ = submit(server, home, model, *given[1:], **bucket.environment())
        assert (code, json.loads(again)["run"]) == (0, json.loads(said)["run"])

    code, _, err = submit(server, home, *given, **bucket.environment("guest"))
    assert code == 2
    assert "s3://models/inbox: cannot be used: PermissionError" in err


@pytest.mark.parametrize(
    ("said", "kind", "message"),
    [
        ({"AWS_ACCESS_KEY_ID": "test:guest", "AWS_SECRET_ACCESS_KEY": "guest-secret"}, BadInput, "Access Denied"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, BadInput, "PermissionError"),
        ({"AWS_ACCESS_KEY_ID": ""}, BadInput, "credentials"),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"},
            Broken,
            "does not answer: EndpointConnectionError",
        ),
    ],
)
def test_a_bucket_that_may_not_be_read_or_does_not_answer_is_told(owner, monkeypatch, said, kind, message):
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(kind, match="s3://models/inner: .*" + message):
        find_models("s3://models/inner")
    with pytest.raises(kind, match="s3://models/inner: .*" + message):
        list_checkpoints(parse_checkpoint_pattern("s3://models/inner/{val_loss:.4f}.keras"), "val_loss")


def test_a_mistyped_bucket_is_not_made(owner):
    with pytest.raises(BadInput, match="s3://modles/inbox: cannot be used: FileNotFoundError"):
        pack(Settings(model=DIGITS), "s3://modles/inbox")
    assert owner.ls("") == ["models"]
