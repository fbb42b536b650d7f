"""A folder of models: one state per model and format, resumed where it stopped, and no model's end is another's."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from io import StringIO
from pathlib import Path

import factory
import pytest
from hostile_forms import checkpoint, h5_model, saved_model
from rich.console import Console

from exporters.errors import BadInput, Broken, Limited
from exporters.jobs import ForkServers, Job, Workers
from exporters.source.admission import examine
from flows import batch, cli
from flows.batch import sweep_record, sweep_run
from flows.batch.outcomes import states_of_error
from flows.batch.sweep_report import grouped
from flows.config.model_folder import find
from flows.config.settings import load_settings
from flows.progress.events import Event
from tests.exporters import jobs
from validators.contract import (
    BaselineRecord,
    Comparison,
    ComparisonBasis,
    OutputVariation,
    Placement,
    RegressionLimits,
    Requirement,
)
from validators.runtimes.registry import default_requirements

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "flows.cli", "sweep"]
WEBGL = Requirement(format="tfjs", runtime="tfjs-webgl", device="gpu")
CARD = Placement(device="gpu", runtime="tfjs 4.22.0", adapter="WebGL (a card)")
KERNEL = {"reason": "tfjs-no-kernel", "message": "this backend has no kernel: Einsum"}


def webgl_cell(make=factory.cell, **changes):
    return make("tfjs/default", "tfjs-webgl", **{"device": "gpu", "placement": CARD, **changes})


def states(manifest):
    return {each.format: each for each in batch.states_of(manifest)}


def with_cells(*changed, without=(), **fields):
    """The good release with these cells in place of their namesakes, or beside them."""
    cells = {cell.key: cell for cell in (*factory.passed_cells(), *changed)}
    return factory.manifest(cells=tuple(cell for key, cell in cells.items() if key not in without), **fields)


def with_artifacts(*changed, cells):
    artifacts = {key: factory.artifact(key) for key in factory.ARTIFACTS} | {each.key: each for each in changed}
    return factory.manifest(artifacts=tuple(artifacts.values()), cells=cells)


def with_policy(manifest, **changes):
    return replace(manifest, policy=replace(manifest.policy, **changes))


def tfjs_without_wasm(*more):
    return with_cells(factory.cell_without_run("limited", "tfjs/default", "tfjs-wasm", **KERNEL), *more)


# -- states -----------------------------------------------------------------------------------------------------------


def test_the_factorys_requirements_are_the_default_ones():
    assert set(factory.REQUIRED) == set(default_requirements(tuple(factory.RUNTIMES)))


def test_a_good_release_is_proven_in_every_format():
    found = states(factory.manifest())
    assert list(found) == list(factory.RUNTIMES)
    assert {(each.state, each.code, each.reason, each.way_out) for each in found.values()} == {("proven", "", "", "")}


def test_what_the_policy_asks_beside_parity_fails_every_format_it_speaks_against():
    dead = OutputVariation(spread=0.0, scale=1.0, weak=True, why="output `digit` varies by 0")
    weak = replace(factory.manifest(), grounds=ComparisonBasis(coverage={"digit": dead}))
    assert {each.state for each in states(weak).values()} == {"proven"}
    found = states(with_policy(weak, weak_evidence="refuse"))
    assert {(each.state, each.code) for each in found.values()} == {("failed", "weak evidence")}
    assert list(found) == list(factory.RUNTIMES)

    margin = with_policy(factory.manifest(), task_margin=0.1)
    assert {each.code for each in states(margin).values()} == {"worse at the task"}

    larger = Comparison(what="size", subject="onnx/default", before=1, now=3, allowed=2)
    record = BaselineRecord(
        digest="ab", model="m", created="c", headline="RELEASED", limits=RegressionLimits(), comparisons=(larger,)
    )
    found = states(replace(factory.manifest(), baseline=record))
    assert [each.format for each in found.values() if each.code == "size regression"] == ["onnx"]


def test_a_failed_cell_fails_its_format_alone():
    found = states(with_cells(factory.failed_cell("tflite/batch1", "litert-reference")))
    assert (found["tflite"].state, found["tflite"].code) == ("failed", "tolerance exceeded")
    assert "tflite/batch1 litert-reference cpu: 12 of 3600" in found["tflite"].reason
    assert {found[name].state for name in ("saved_model", "tfjs", "onnx")} == {"proven"}


@pytest.mark.parametrize("status", ["errored", "limited", "unavailable"])
def test_tfjs_is_proven_by_wasm_where_another_backend_does_not_run_it(status):
    found = states(with_cells(factory.cell_without_run(status, "tfjs/default", "tfjs-cpu")))
    assert found["tfjs"].state == "proven"


def test_tfjs_is_proven_by_webgl_where_wasm_does_not_run_it():
    assert states(tfjs_without_wasm(webgl_cell()))["tfjs"].state == "proven"


def test_tfjs_is_not_proven_by_its_plain_backend():
    found = states(tfjs_without_wasm())["tfjs"]
    assert (found.state, found.code) == ("limited", "tfjs-no-kernel")
    assert found.reason == "tfjs/default tfjs-wasm cpu: this backend has no kernel: Einsum"
    assert found.way_out.startswith("Use another backend")


@pytest.mark.parametrize("runtime", ["tfjs-wasm", "tfjs-cpu", "tfjs-webgl"])
def test_tfjs_fails_where_any_backend_diverges(runtime):
    bad = webgl_cell(factory.failed_cell) if runtime == "tfjs-webgl" else factory.failed_cell("tfjs/default", runtime)
    found = states(with_cells(webgl_cell(), bad))["tfjs"]
    assert (found.state, found.code) == ("failed", "tolerance exceeded")


def test_a_policy_of_the_users_own_has_no_alternatives():
    required = (*factory.REQUIRED, WEBGL)
    manifest = with_policy(with_cells(factory.cell_without_run("unavailable", "tfjs/default", "tfjs-cpu")))
    assert states(manifest)["tfjs"].state == "proven"
    assert states(with_policy(manifest, required=required))["tfjs"].state == "unavailable"


def test_a_format_without_a_required_cell_is_held_to_the_default_ones():
    required = tuple(each for each in factory.REQUIRED if each.format == "onnx")
    bad = factory.cell_without_run("errored", "saved_model/default", "tensorflow")
    found = states(with_policy(with_cells(bad), required=required))
    assert (found["saved_model"].state, found["onnx"].state) == ("errored", "proven")


def limited_cells(key, limit):
    """What a release records for the cells of an artifact that its target cannot express."""
    changes = {"reason": "export limited", "message": limit}
    return [factory.cell_without_run("limited", key, runtime, **changes) for runtime in factory.RUNTIMES["tflite"]]


LIMITED = {
    key: factory.limited_artifact(
        key, limit="tflite-flex-op", reason="needs Flex. Replace the operator in the model, or ship another format."
    )
    for key in ("tflite/dynamic", "tflite/batch1")
}


def test_a_variant_that_its_target_cannot_express_leaves_the_format_proven_by_the_other():
    good = with_cells(*limited_cells("tflite/dynamic", "needs Flex"))
    assert states(with_artifacts(LIMITED["tflite/dynamic"], cells=good.cells))["tflite"].state == "proven"


def test_a_format_without_any_expressible_variant_is_limited_by_its_row_of_the_table():
    reason = LIMITED["tflite/dynamic"].reason
    cells = with_cells(*limited_cells("tflite/dynamic", reason), *limited_cells("tflite/batch1", reason)).cells
    found = states(with_artifacts(*LIMITED.values(), cells=cells))["tflite"]
    assert (found.state, found.code) == ("limited", "tflite-flex-op")
    assert found.reason == "tflite/batch1 litert-xnnpack cpu: needs Flex"
    assert found.way_out == "Replace the operator in the model, or ship another format."


def test_an_artifact_that_no_runtime_takes_is_limited_though_a_sibling_is_proven():
    row = {"reason": "tflite-custom-op", "message": "needs custom operators"}
    bad = [factory.cell_without_run("limited", "tflite/dynamic", name, **row) for name in factory.RUNTIMES["tflite"]]
    found = states(with_cells(*bad))["tflite"]
    assert (found.state, found.code) == ("limited", "tflite-custom-op")


def test_an_exporter_that_broke_is_errored_by_the_kind_of_its_error():
    broken = factory.artifact("onnx/default", status="errored", reason="python error: KeyError: 'Identity:0'")
    cell = factory.cell_without_run(
        "errored", "onnx/default", "onnxruntime", reason="export errored", message=broken.reason
    )
    found = states(with_artifacts(broken, cells=with_cells(cell).cells))["onnx"]
    assert (found.state, found.code) == ("errored", "python error: KeyError")
    assert found.reason == "onnx/default onnxruntime cpu: python error: KeyError: 'Identity:0'"


def test_a_divergence_outweighs_what_broke():
    bad = (
        factory.cell_without_run("errored", "tflite/dynamic", "litert-xnnpack"),
        factory.failed_cell("tflite/batch1", "litert-reference"),
    )
    assert states(with_cells(*bad))["tflite"].state == "failed"


def test_a_cell_that_says_it_passed_and_did_not_is_failed():
    found = states(with_cells(factory.cell("onnx/default", "onnxruntime", placement=CARD)))["onnx"]
    assert (found.state, found.code) == ("failed", "wrong device")


def test_what_another_machine_has_to_prove_is_unavailable_here():
    awaited = Requirement(format="onnx", runtime="onnxruntime", device="gpu")
    found = states(with_policy(factory.manifest(), elsewhere=(awaited,)))
    assert (found["onnx"].state, found["onnx"].code) == ("unavailable", "awaiting attestation")
    assert found["tflite"].state == "proven"


@pytest.mark.parametrize(
    ("error", "state", "code"),
    [
        (BadInput("no zip", next_step="save it"), "refused", "bad input"),
        (Limited("too large", limit="graphdef-2gib"), "limited", "graphdef-2gib"),
        (Broken("timeout: admission was killed"), "errored", "no verdict"),
        (OSError(28, "No space left on device"), "errored", "no verdict"),
        (TypeError("None"), "errored", "bug"),
    ],
)
def test_a_release_that_ends_with_an_error_gives_every_format_one_state(error, state, code):
    found = states_of_error(error, ("onnx", "tfjs"))
    assert [(each.format, each.state, each.code) for each in found] == [("onnx", state, code), ("tfjs", state, code)]


# -- models and sweep.json --------------------------------------------------------------------------------------------


@pytest.fixture
def model_folder(tmp_path):
    """Two models of one name, and a copy of one of them."""
    folder = tmp_path / "models"
    for path, content in {"a/net.keras": b"one", "b/net.keras": b"two", "c/net.keras": b"one"}.items():
        (folder / path).parent.mkdir(parents=True)
        (folder / path).write_bytes(content)
    return folder


def models(model_folder, **changes):
    return find(model_folder, **{"pattern": "*.keras", "exclude": model_folder.parent / "out", **changes})


def test_models_of_one_name_get_releases_of_their_own_and_copies_share_one(model_folder):
    found = models(model_folder)
    assert [model.path for model in found] == ["a/net.keras", "b/net.keras", "c/net.keras"]
    assert found[0].release == found[2].release != found[1].release
    assert found[0].release.startswith("net-")


def test_every_form_is_found_and_a_folder_stands_for_what_is_in_it(model_folder):
    h5_model(model_folder / "a" / "old.h5")
    saved_model(model_folder / "d" / "net")
    (model_folder / "d" / "net" / "assets.h5").write_bytes(b"part of it")
    released = model_folder / "net.release"
    saved_model(released / "artifacts" / "saved_model" / "default")
    (released / "release.json").write_text("{}", "utf-8")
    found = [model.path for model in models(model_folder, pattern=None)]
    assert found == ["a/net.keras", "a/old.h5", "b/net.keras", "c/net.keras", "d/net"]


def test_weights_alone_are_refused_for_want_of_an_architecture(tmp_path):
    with pytest.raises(BadInput) as error:
        examine(checkpoint(tmp_path / "m"))
    states = states_of_error(error.value, ("onnx",))
    assert [(each.state, each.code) for each in states] == [("refused", "needs architecture")]
    assert "--architecture" in states[0].way_out


def test_what_the_sweep_writes_below_the_models_is_no_model(model_folder):
    assert [model.path for model in models(model_folder, exclude=model_folder / "b")] == [
        "a/net.keras",
        "c/net.keras",
    ]


def test_a_link_to_nothing_is_a_model_that_cannot_be_read(model_folder):
    (model_folder / "gone.keras").symlink_to("nowhere")
    assert "cannot be read: No such file" in models(model_folder)[-1].fault


@pytest.mark.parametrize("pattern", ["*.h5", "", "/abs"])
def test_a_pattern_that_names_nothing_is_bad_input(model_folder, pattern):
    with pytest.raises(BadInput, match="called" if pattern == "*.h5" else "--pattern"):
        models(model_folder, pattern=pattern)


def record(model, out, **changes):
    """A settled record of a model, with a release that it names."""
    release = out / model.release
    release.mkdir(parents=True, exist_ok=True)
    (release / "release.json").write_text(model.path, "utf-8")
    proven = batch.FormatState(format="onnx", state="proven")
    fields = {
        "path": model.path,
        "digest": model.digest,
        "size": model.size,
        "release": model.release,
        "manifest": sweep_record.manifest_digest(release),
        "released": True,
        "states": (proven,),
        "seconds": 1.0,
    }
    return batch.SweptModel(**{**fields, **changes})


def settings(**changes):
    return load_settings(None, {"model": "models", "formats": ["onnx"], **changes})


@pytest.fixture
def swept(model_folder, tmp_path):
    """A sweep of the first two models; gives its directory."""
    out = tmp_path / "out"
    with sweep_record.SweepFile(out, sweep_record.begin(settings(), 3)) as book:
        book.add([record(model, out) for model in models(model_folder)[:2]])
    return out


def settled(out, model_folder, blank=None):
    with sweep_record.SweepFile(out, blank or sweep_record.begin(settings(), 3)) as book:
        return [model.path for model in models(model_folder) if book.settled(model)]


def test_what_was_settled_stays_settled_also_for_a_copy_under_the_same_name(swept, model_folder):
    assert settled(swept, model_folder) == ["a/net.keras", "b/net.keras", "c/net.keras"]


def test_a_changed_model_is_not_settled(swept, model_folder):
    (model_folder / "b" / "net.keras").write_bytes(b"three")
    assert settled(swept, model_folder) == ["a/net.keras", "c/net.keras"]


def test_a_model_that_shares_only_the_name_of_its_release_is_not_settled(swept, model_folder):
    model = models(model_folder)[0]
    with sweep_record.SweepFile(swept, sweep_record.begin(settings(), 3)) as book:
        assert book.settled(model)
        assert not book.settled(replace(model, digest=model.digest[:8] + "0" * 56))


def test_a_release_that_is_gone_or_another_is_not_settled(swept, model_folder):
    a, b, _ = models(model_folder)
    (swept / a.release / "release.json").unlink()
    (swept / b.release / "release.json").write_text("edited", "utf-8")
    assert settled(swept, model_folder) == []


def test_a_changed_setting_settles_nothing(swept, model_folder):
    assert settled(swept, model_folder, sweep_record.begin(settings(policy={"rtol": 0.5}), 3)) == []


def test_another_version_settles_nothing(swept, model_folder, monkeypatch):
    now = sweep_record.begin(settings(), 3)
    assert settled(swept, model_folder, replace(now, paritygate="9.9")) == []
    assert settled(swept, model_folder, replace(now, toolchain={**now.toolchain, "onnx": "0.1"})) == []


def test_a_changed_file_that_a_setting_names_settles_nothing(model_folder, tmp_path):
    code = tmp_path / "layers.py"
    code.write_text("A = 1", "utf-8")
    with_code = settings(custom_objects=[str(code)])
    first = sweep_record.begin(with_code, 1)
    assert first == sweep_record.begin(with_code, 1)
    code.write_text("A = 2", "utf-8")
    assert first != sweep_record.begin(with_code, 1)
    (tmp_path / "release.json").write_text("{}")
    for named in ({"samples": {"metric": f"{code}:score"}}, {"baseline": tmp_path}):
        assert len(sweep_record.begin(settings(**named), 1).settings["given"]) == 1


def test_what_was_refused_stays_refused_and_what_broke_is_tried_again(model_folder, tmp_path):
    out = tmp_path / "out"
    a, b, _ = models(model_folder)
    with sweep_record.SweepFile(out, sweep_record.begin(settings(), 3)) as book:
        for model, error in ((a, BadInput("no zip")), (b, Broken("timeout"))):
            states = states_of_error(error, ("onnx",))
            book.add([record(model, out, release="", manifest="", released=False, states=states)])
    assert settled(out, model_folder) == ["a/net.keras"]


def test_one_directory_takes_one_sweep_at_a_time(swept):
    blank = sweep_record.begin(settings(), 3)
    with sweep_record.SweepFile(swept, blank), pytest.raises(BadInput, match="another sweep is running"):
        sweep_record.SweepFile(swept, blank)
    with sweep_record.SweepFile(swept, blank):
        pass


def test_a_sweep_json_that_is_not_ours_is_not_overwritten(swept, model_folder):
    (swept / "sweep.json").write_text("{}", "utf-8")
    with pytest.raises(BadInput, match="schema_version"):
        settled(swept, model_folder)
    assert (swept / "sweep.json").read_text("utf-8") == "{}"


def test_the_record_is_whole_at_any_moment(swept, model_folder, monkeypatch):
    before = (swept / "sweep.json").read_bytes()
    with sweep_record.SweepFile(swept, sweep_record.begin(settings(), 3)) as book:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed here")))
            with pytest.raises(OSError, match="killed here"):
                book.add([record(models(model_folder)[2], swept)])
        assert (swept / "sweep.json").read_bytes() == before


# -- engine, with releases that end as told ---------------------------------------------------------------------------


class Told:
    """A release that ends as the model's content says; the real one is swept below."""

    def __init__(self, settings, listen, *, shared):
        Told.made.append(settings.model.parent.name)
        self.settings, self.listen = settings, listen
        self.manifest, self.digest = factory.manifest(), "ab" * 32

    def __enter__(self):
        match self.settings.model.read_bytes():
            case b"refused":
                raise BadInput(f"{self.settings.model}: is no model", next_step="save it again")
            case b"bug":
                raise TypeError("of ours")
            case b"disk":
                raise OSError(28, "No space left on device")
        return self

    def __exit__(self, *_):
        pass

    def warm_up(self):
        pass

    def carry_out(self, engine):
        pass

    def cancel(self):
        pass


@pytest.fixture
def told(monkeypatch):
    Told.made = []
    monkeypatch.setattr(sweep_run, "ReleaseRun", Told)
    monkeypatch.setattr(sweep_run, "refuse_unrunnable", lambda settings: None)
    return Told


def run_sweep(model_folder, out, **changes):
    err = StringIO()
    with batch.shown(Console(file=err, width=200)) as progress:
        directory, swept = batch.sweep(model_folder, output=out, progress=progress, **changes)
    assert directory == out
    return swept, err.getvalue()


@pytest.mark.parametrize("jobs", [1, 3])
def test_no_models_end_stops_another(told, model_folder, tmp_path, jobs):
    for path, content in {"a": b"bug", "b": b"disk", "c": b"refused", "d": b"good"}.items():
        (model_folder / path).mkdir(exist_ok=True)
        (model_folder / path / "net.keras").write_bytes(content)
    swept, err = run_sweep(model_folder, tmp_path / "out", jobs=jobs)
    assert [each.states[0].state for each in swept.records] == ["errored", "errored", "refused", "proven"]
    assert [each.states[0].code for each in swept.records] == ["bug", "no verdict", "bad input", ""]
    assert swept.records[2].states[0].reason == "is no model"
    assert swept.exit_code == 3
    assert "4 of 4" in err
    assert sorted(told.made) == ["a", "b", "c", "d"]


def test_copies_are_released_once_and_recorded_each(told, model_folder, tmp_path):
    swept, _ = run_sweep(model_folder, tmp_path / "out")
    assert [each.path for each in swept.records] == ["a/net.keras", "b/net.keras", "c/net.keras"]
    assert told.made == ["a", "b"]
    assert swept.exit_code == 0


@pytest.mark.timeout(30, method="thread")  # a thread that hangs would hold the end of the test as well
def test_a_terminal_shows_what_runs_now_below_the_models_that_ended(told, model_folder, tmp_path, monkeypatch):
    def carry_out(run, engine):
        event = Event(stage="admission", state="passed", total=9)
        run.listen(event)
        time.sleep(0.6)  # a few pictures

    monkeypatch.setattr(Told, "carry_out", carry_out)
    err = StringIO()
    console = Console(file=err, width=100, force_terminal=True, force_interactive=True, legacy_windows=False)
    with batch.shown(console) as progress:
        batch.sweep(model_folder, output=tmp_path / "out", progress=progress)
    assert "a/net.keras  proven: all formats" in err.getvalue()
    assert re.search(r"  b/net.keras  \d+s  1 of 9 stages", err.getvalue())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"jobs": 0}, "--jobs"),
        ({"formats": ["tflit"]}, "did you mean 'tflite'"),
        ({"pattern": "*.h5"}, "no file below it"),
        ({"config": Path("no.toml")}, "no.toml"),
    ],
)
def test_bad_settings_are_said_before_anything_is_written(told, model_folder, tmp_path, changes, said):
    with pytest.raises(BadInput, match=said):
        run_sweep(model_folder, tmp_path / "out", **changes)
    assert not (tmp_path / "out").exists()


def test_an_architecture_is_refused(told, model_folder, tmp_path):
    config = tmp_path / "release.toml"
    config.write_text('architecture = "model.json"\n', "utf-8")
    with pytest.raises(BadInput, match="belongs to one model's weights"):
        run_sweep(model_folder, tmp_path / "out", config=config)


def test_a_work_pool_is_refused(told, model_folder, tmp_path):
    config = tmp_path / "release.toml"
    config.write_text('[policy]\nelsewhere = ["onnx onnxruntime gpu"]\ngpu_pool = "cards"\n', "utf-8")
    with pytest.raises(BadInput, match="does not run under Prefect"):
        run_sweep(model_folder, tmp_path / "out", config=config)


@pytest.mark.parametrize("what", ["missing", "file"])
def test_what_is_no_folder_is_exit_code_2(tmp_path, capfd, what):
    (tmp_path / "file").write_bytes(b"")
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM)}
    code = cli.main(["sweep", str(tmp_path / what), "-o", str(tmp_path / "out"), "--json"])
    for signum, handler in handlers.items():
        signal.signal(signum, handler)
    out, err = capfd.readouterr()
    assert code == 2
    assert json.loads(out)["error"]["kind"] == "bad input"
    assert what in err


# -- report -----------------------------------------------------------------------------------------------------------


def three_models():
    """One proven, two of Keras 2 by different words, one of them of a name that steers a terminal."""

    def refused(version):
        return tuple(
            batch.FormatState(
                format=name,
                state="refused",
                code="bad input",
                reason=f"written by Keras {version}",
                way_out=f"Load it with tf_keras (the file says {version}).",
            )
            for name in ("onnx", "tfjs")
        )

    proven = tuple(batch.FormatState(format=name, state="proven") for name in ("onnx", "tfjs"))
    made = {"a.keras": proven, "b.keras": refused("2.13"), "\x1b[31mc.keras": refused("2.15")}
    records = [
        batch.SweptModel(
            path=path, digest="", size=0, release="", manifest="", released=False, states=each, seconds=1.0
        )
        for path, each in made.items()
    ]
    return replace(sweep_record.begin(settings(), 3), records=tuple(records))


def test_reasons_are_grouped_by_their_way_out_with_the_models_under_each():
    (group,) = grouped(three_models())
    assert (group.state, list(group.members)) == ("refused", ["b.keras", "\x1b[31mc.keras"])
    assert group.members["b.keras"] == {"written by Keras 2.13": ["onnx", "tfjs"]}


def test_the_page_has_a_line_for_every_model_and_no_escape_sequence():
    out = StringIO()
    batch.render(three_models(), Console(file=out, width=100), folder=Path("out"))
    page = out.getvalue()
    assert "\x1b" not in page
    assert [line.split() for line in page.splitlines()[1:3]] == [
        ["a.keras", "proven", "proven"],
        ["b.keras", "refused", "1", "refused", "1"],
    ]
    assert "1 refused (bad input): 2 models" in page
    assert "1 of 3 models proven in all of onnx, tfjs" in page
    assert "out/sweep.json" in page


# -- shared processes -------------------------------------------------------------------------------------------------


def test_workers_that_share_a_preloaded_process_end_without_it(tmp_path):
    folders = [tmp_path / name for name in ("host", "one", "two")]
    for folder in folders:
        folder.mkdir()
    fork_servers = ForkServers({"light": ("json",)}, folders[0])

    def run(folder):
        with Workers(folder, folder, fork_servers=fork_servers) as workers:
            job = Job(name="job", function=jobs.echo, request={"from": folder.name}, fork_server="light")
            return workers.run(job).unwrap(), fork_servers.get("light")

    (first, server), (second, same) = run(folders[1]), run(folders[2])
    assert (first, second) == ({"from": "one"}, {"from": "two"})
    assert server is same
    assert server.alive
    fork_servers.close()
    assert not server.alive


# -- the real thing ---------------------------------------------------------------------------------------------------


def command(model_folder, out, *more):
    config = out.parent / "release.toml"
    config.write_text('formats = ["saved_model", "tfjs"]\n[policy]\ngpu = "off"\n', "utf-8")
    return [*COMMAND, str(model_folder), "-o", str(out), "--config", str(config), *more]


def start(*arguments):
    return subprocess.Popen(
        command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def until(condition, process, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def began(err):
    """The models that a sweep worked on, in order, by its lines on stderr."""
    return [line.split("  ")[-2] for line in err.splitlines() if " of " in line and "settled before" not in line]


@pytest.fixture(scope="module")
def real(bench, tmp_path_factory):
    """A folder with two models of one name, one that TF.js cannot express, and a file that is none."""
    folder = tmp_path_factory.mktemp("sweep")
    model_folder = folder / "models"
    for place, seed in (("a", 7), ("b", 8)):
        (model_folder / place).mkdir(parents=True)
        shutil.copy(bench.build("single_input", seed=seed), model_folder / place / "net.keras")
    shutil.copy(bench.build("tests.sweep_models:cholesky"), model_folder / "limited.keras")
    (model_folder / "bad.keras").write_bytes((model_folder / "a" / "net.keras").read_bytes()[:3000])
    return model_folder, folder / "out", bench


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_that_was_killed_goes_on_where_it_stopped(real):
    model_folder, out, bench = real
    killed = start(model_folder, out)
    until(lambda: (out / "sweep.json").exists() and sweep_json(out)["records"], killed)
    until(lambda: any(name.startswith(".net-") for name in names(out)), killed)  # the second is under way
    killed.kill()
    _, err = killed.communicate()
    assert began(err) == ["a/net.keras"]
    first = sweep_json(out)["records"]
    assert [each["path"] for each in first] == ["a/net.keras"]

    done = start(model_folder, out)
    page, err = done.communicate()
    assert done.returncode == 1, err
    assert began(err) == ["b/net.keras", "bad.keras", "limited.keras"]
    records = {each["path"]: each for each in sweep_json(out)["records"]}
    assert records["a/net.keras"] == first[0]
    told = {path: [(s["state"], s["code"]) for s in each["states"]] for path, each in records.items()}
    assert told == {
        "a/net.keras": [("proven", "")] * 2,
        "b/net.keras": [("proven", "")] * 2,
        "bad.keras": [("refused", "bad input")] * 2,
        "limited.keras": [("proven", ""), ("limited", "tfjs-unknown-op")],
    }
    assert "Cholesky" in records["limited.keras"]["states"][1]["reason"]
    assert "tfjs#8304" in page
    releases = sorted({each["release"] for each in records.values()} - {""})
    assert names(out) == [*sorted(releases), "sweep.json"]  # nothing is left of the killed one
    assert len(releases) == 3

    shutil.copy(bench.build("single_input", seed=9), model_folder / "b" / "net.keras")
    again = start(model_folder, out, "--json")
    page, err = again.communicate()
    assert began(err) == ["b/net.keras"]
    now = {each["path"]: each for each in json.loads(page)["records"]}
    assert now["b/net.keras"]["release"] != records["b/net.keras"]["release"]
    assert {path: each for path, each in now.items() if path != "b/net.keras"} == {
        path: each for path, each in records.items() if path != "b/net.keras"
    }

    changed = start(model_folder, out, "--formats", "saved_model")
    _, err = changed.communicate()
    assert began(err) == ["a/net.keras", "b/net.keras", "bad.keras", "limited.keras"]
    assert changed.returncode == 1


def sweep_json(out):
    return json.loads((out / "sweep.json").read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_that_is_interrupted_leaves_no_process_and_no_unfinished_release(real, tmp_path, signum):
    import psutil

    model_folder, _, _ = real
    out = tmp_path / "out"
    process = start(model_folder / "a", out)
    until(lambda: out.exists() and any(name.startswith(".net-") for name in names(out)), process)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signum)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, err
    assert names(out) == ["sweep.json"]
    assert sweep_json(out)["records"] == []
    _, alive = psutil.wait_procs(children, timeout=10)
    assert not alive
