"""Which checkpoints there are, what their metric is, which are written, and which is the one to release."""

import json
import os

import pytest

from exporters.errors import BadInput
from flows.batch import checkpoints
from flows.batch.checkpoints import Checkpoint, list_checkpoints, parse_checkpoint_pattern, settled_checkpoints
from flows.batch.watch_record import WatchFile

NAMED = "{epoch:02d}-{val_loss:.4f}.keras"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "net").mkdir()
    return tmp_path / "net"


def values(where, metric="val_loss"):
    found = list_checkpoints(parse_checkpoint_pattern(str(where)), metric)
    return {path.rpartition("/")[2]: each.value for path, each in found.items()}


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"model")


def test_the_metric_is_read_from_the_names_that_the_callback_makes(folder):
    touch(folder, "01-0.5000.keras", "112--0.25.keras", "02-nan.keras", "03-1e-05.keras", "x-1.0.keras", "notes.txt")
    assert values(folder / NAMED) == {
        "01-0.5000.keras": 0.5,
        "112--0.25.keras": -0.25,
        "02-nan.keras": None,
        "03-1e-05.keras": 1e-05,
    }
    assert values(folder / NAMED, "epoch")["112--0.25.keras"] == 112


@pytest.mark.parametrize(
    "shown", [NAMED, "{val_loss}.h5", "best-{val_loss:.1%}-{epoch}.keras", "{epoch}/{val_loss:e}.keras"]
)
def test_every_name_that_a_format_string_makes_is_read_backwards(folder, shown):
    touch(folder, shown.format(epoch=7, val_loss=0.125))
    (value,) = values(folder / shown).values()
    assert value == pytest.approx(12.5 if "%" in shown else 0.125)


def test_temporary_and_hidden_names_are_no_checkpoints(folder):
    good = ["temperature-1.0.keras", "net/party.keras", "a.keras"]
    touch(
        folder, *good, ".a.keras", "~a.keras", "_a.keras", "a.tmp.keras", "tmp12.keras", "a.part.keras", "a.keras.tmp"
    )
    touch(folder, ".ipynb_checkpoints/a.keras", "a.weights.h5")
    assert set(values(folder)) == {name.rpartition("/")[2] for name in good}


def test_a_json_beside_the_file_says_the_metric_where_the_name_does_not(folder):
    said = {
        "best": {"val_loss": 0.25},
        "text": {"val_loss": "0.25"},
        "bool": {"val_loss": True},
        "list": [1],
        "other": {},
    }
    touch(folder, "nothing.keras", "broken.keras", *(f"{name}.keras" for name in said))
    for name, tree in said.items():
        (folder / f"{name}.json").write_text(json.dumps(tree))
    (folder / "broken.json").write_text('{"val_loss": 0.2')
    none = dict.fromkeys(["nothing", "broken", "text", "bool", "list", "other"])
    assert values(folder) == {f"{name}.keras": value for name, value in {"best": 0.25, **none}.items()}
    assert values(folder / "best.keras") == {"best.keras": 0.25}


@pytest.mark.parametrize(
    "wrong", ["net/{epoch}{val_loss}.keras", "net/{epoch", "net/{0}.keras", "net/{epoch:02d}.weights.h5"]
)
def test_a_filepath_that_cannot_be_read_backwards_is_bad_input(wrong):
    with pytest.raises(BadInput, match="cannot be read as the `filepath` of a ModelCheckpoint"):
        parse_checkpoint_pattern(wrong)


def test_a_place_that_is_not_there_is_bad_input_and_an_empty_one_is_not(folder):
    assert values(folder) == {}
    with pytest.raises(BadInput, match="no folder of that name"):
        list_checkpoints(parse_checkpoint_pattern(str(folder / "nowhere")), "val_loss")


def wait(monkeypatch, meanwhile=lambda: None):
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        meanwhile()

    monkeypatch.setattr(checkpoints.time, "sleep", sleep)
    return waited


def names(found):
    return [each.path.rpartition("/")[2] for each in found]


def test_a_file_that_grows_is_replaced_or_comes_meanwhile_is_not_taken(folder, monkeypatch):
    touch(folder, "01-0.5000.keras", "02-0.4000.keras", "03-0.3000.keras", "04-0.2000.keras", "05-0.1000.keras")
    same = folder / "02-0.4000.keras"

    def meanwhile():
        (folder / "01-0.5000.keras").write_bytes(b"model, longer")
        os.utime(same, ns=(same.stat().st_atime_ns, same.stat().st_mtime_ns - 10**9))  # a clock that jumped back
        (folder / "05-0.1000.keras").unlink()
        touch(folder, "06-0.0500.keras")

    waited = wait(monkeypatch, meanwhile)
    quiet, moving = settled_checkpoints(
        parse_checkpoint_pattern(str(folder / NAMED)), "val_loss", seconds=7, wanted=lambda each: each.value != 0.3
    )
    assert waited == [7]
    assert names(quiet) == ["04-0.2000.keras"]
    assert names(moving) == ["01-0.5000.keras", "02-0.4000.keras", "06-0.0500.keras"]


def test_times_in_the_future_or_the_past_change_nothing(folder, monkeypatch):
    touch(folder, "01-0.5000.keras", "02-0.4000.keras")
    os.utime(folder / "01-0.5000.keras", (4e9, 4e9))
    os.utime(folder / "02-0.4000.keras", (0, 0))
    wait(monkeypatch)
    quiet, moving = settled_checkpoints(
        parse_checkpoint_pattern(str(folder / NAMED)), "val_loss", seconds=7, wanted=lambda _: True
    )
    assert (len(quiet), moving) == (2, [])


def test_a_new_metric_beside_an_old_file_makes_it_another_checkpoint(folder, monkeypatch):
    touch(folder, "best.keras")
    (folder / "best.json").write_text('{"val_loss": 0.5}')
    wait(monkeypatch, lambda: (folder / "best.json").write_text('{"val_loss": 0.4}'))
    quiet, moving = settled_checkpoints(
        parse_checkpoint_pattern(str(folder)), "val_loss", seconds=7, wanted=lambda each: each.value is not None
    )
    assert (quiet, [each.value for each in moving]) == ([], [0.4])


def test_where_nothing_is_wanted_nobody_waits(folder, monkeypatch):
    touch(folder, "01-0.5000.keras")
    waited = wait(monkeypatch)
    assert settled_checkpoints(
        parse_checkpoint_pattern(str(folder / NAMED)), "val_loss", seconds=7, wanted=lambda _: False
    ) == ([], [])
    assert waited == []


def test_a_metric_that_no_checkpoint_says_is_bad_input_once_they_are_written(folder, monkeypatch):
    touch(folder, "01-0.5000.keras")
    at = parse_checkpoint_pattern(str(folder / NAMED))
    wait(monkeypatch)
    with pytest.raises(BadInput, match="none of 1 checkpoints has a finite 'val_los'"):
        settled_checkpoints(at, "val_los", seconds=7, wanted=lambda each: each.value is not None)
    wait(monkeypatch, lambda: touch(folder, "02-0.4000.keras"))
    assert settled_checkpoints(at, "val_los", seconds=7, wanted=lambda each: each.value is not None) == ([], [])


def ledger(folder, *, higher=False):
    return WatchFile(folder, checkpoints="net", metric="m", higher_is_better=higher)


def at(value, name="a.keras", mark=None):
    return Checkpoint(path=name, mark=mark or str(value), value=value)


def test_only_what_beats_everything_that_got_a_verdict_is_wanted(tmp_path):
    with ledger(tmp_path) as first:
        assert first.wants(at(0.5))
        first.add("d1", at(0.5), state="Released", message="")
        first.add("d2", at(0.3), state="Refused", message="")
        first.add("d3", at(0.1, "bad.keras"), state="Bad input", message="")
        first.add("d4", at(0.01), state="Broken", message="")
    with ledger(tmp_path) as again:
        assert [again.wants(at(value)) for value in (0.4, 0.3, 0.2, 0.01, None)] == [False, False, True, True, False]
        assert not again.wants(at(0.1, "bad.keras"))
        assert again.wants(at(0.1, "bad.keras", mark="2"))
        assert [again.has(digest) for digest in ("d1", "d2", "d3", "d4")] == [True, True, True, False]


def test_an_accuracy_has_to_rise_and_its_record_is_another_one(tmp_path):
    with ledger(tmp_path) as losses, ledger(tmp_path, higher=True) as accuracies:
        losses.add("d1", at(0.5), state="Released", message="")
        accuracies.add("d2", at(0.5), state="Released", message="")
        assert [accuracies.wants(at(value)) for value in (0.4, 0.5, 0.6)] == [False, False, True]
        both = [at(0.1), at(0.3, "b"), at(0.3, "c")]
        assert names(accuracies.best_first(both)) == ["c", "b", "a.keras"]
        assert names(losses.best_first(both)) == ["a.keras", "c", "b"]


def test_one_look_at_a_time_holds_the_record(tmp_path):
    with ledger(tmp_path), pytest.raises(BadInput, match="another run watches it now"):
        ledger(tmp_path)
    ledger(tmp_path).__exit__(None, None, None)


def test_a_record_that_is_not_ours_is_bad_input(tmp_path):
    with ledger(tmp_path) as first:
        first.file.write_text('{"schema_version": "1"')
    with pytest.raises(BadInput, match=r"watch-net-\w+\.json: "):
        ledger(tmp_path)
