"""Records that an earlier version of paritygate wrote are read: those of a sweep and those of a watched place."""

import json

import pytest

from exporters.errors import BadInput
from flows.batch.outcomes import FormatState
from flows.batch.sweep_record import Sweep, SweepFile, SweptModel
from flows.batch.watch_record import WatchFile

SWEEP = """{
 "models": 2,
 "paritygate": "0.1",
 "records": [
  {
   "digest": "abababababababababababababababababababababababababababababababab",
   "manifest": "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
   "path": "a/net.keras",
   "release": "net-abababab.release",
   "released": true,
   "seconds": 1.5,
   "size": 3,
   "states": [
    {
     "code": "",
     "format": "onnx",
     "reason": "",
     "state": "proven",
     "way_out": ""
    }
   ]
  }
 ],
 "schema_version": "1",
 "settings": {
  "formats": [
   "onnx"
  ],
  "given": {}
 },
 "toolchain": {
  "onnx": "1.0"
 }
}
"""

WATCHED = """{
 "checkpoints": "net",
 "higher_is_better": false,
 "judged": {
  "efefefefefefefefefefefefefefefefefefefefefefefefefefefefefefefef": {
   "mark": "size=5",
   "message": "released",
   "path": "net/01-0.5000.keras",
   "state": "Released",
   "value": 0.5
  }
 },
 "metric": "m",
 "schema_version": "1"
}
"""


def blank():
    return Sweep(
        schema_version="1",
        paritygate="0.1",
        toolchain={"onnx": "1.0"},
        settings={"formats": ["onnx"], "given": {}},
        models=2,
        records=(),
    )


def test_a_sweep_json_of_an_earlier_version_is_read_and_written_alike(tmp_path):
    (tmp_path / "sweep.json").write_text(SWEEP, "utf-8")
    swept = SweptModel(
        path="a/net.keras",
        digest="ab" * 32,
        size=3,
        release="net-abababab.release",
        manifest="cd" * 32,
        released=True,
        states=(FormatState(format="onnx", state="proven"),),
        seconds=1.5,
    )
    with SweepFile(tmp_path, blank()) as file:
        assert file.before.records == (swept,)
        file.add(file.before.records)
    assert (tmp_path / "sweep.json").read_text("utf-8") == SWEEP
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.json"]


def watch(folder):
    return WatchFile(folder, checkpoints="net", metric="m", higher_is_better=False)


def test_a_watch_record_of_an_earlier_version_is_read(tmp_path):
    (tmp_path / "watch-net-d9e86b6b.json").write_text(WATCHED, "utf-8")
    with watch(tmp_path) as file:
        assert file.has("ef" * 32)
        file.write(file.before)
    assert (tmp_path / "watch-net-d9e86b6b.json").read_text("utf-8") == WATCHED


@pytest.mark.parametrize("changes", [{"schema_version": "0"}, {"new": 1}, {"metric": 1}])
def test_a_record_with_a_field_at_fault_is_not_read_and_its_lock_is_free_afterwards(tmp_path, changes):
    path = tmp_path / "watch-net-d9e86b6b.json"
    path.write_text(json.dumps({**json.loads(WATCHED), **changes}), "utf-8")
    with pytest.raises(BadInput, match=f"{path}: {next(iter(changes))}"):
        watch(tmp_path)
    path.unlink()
    with watch(tmp_path), pytest.raises(BadInput, match="net: another run watches it now"):
        watch(tmp_path)
