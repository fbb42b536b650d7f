"""The table of limits: a row's id or a converter's own words in, the row's error out, always under the row's id."""

import ast
import re
from pathlib import Path

import pytest

from exporters.contract import Finding, Signature
from exporters.errors import Limited
from exporters.formats import job, onnx
from exporters.formats.contract import ExportSource
from exporters.formats.registry import FORMATS
from exporters.source.model_source import ModelSource
from exporters.target_limits import LIMITS, known_limit, limited
from validators.runtimes.registry import RUNTIMES

ROOT = Path(__file__).parents[2]
IDS = {limit.id for limit in LIMITS}
# What the converters and runtimes of the recorded versions really say.
SAID = {
    "tflite-dynamic-loop": "error: 'tf.TensorListReserve' op requires element_shape to be static during TF Lite",
    "tflite-no-builtin": "error: 'tf.Erfc' op is neither a custom op nor a flex op\nerror: failed: 'tf.Erfc' op is "
    "neither a custom op nor a flex op\nerror: 'tf.Betainc' op is neither a custom op nor a flex op",
    "litert-reference-kernel": "Didn't find op for builtin opcode 'ELU' version '1'. An older version of this builtin",
    "tfjs-unknown-op": "Unsupported Ops in the model before optimization\nBitcast, BitwiseAnd",
    "tfjs-no-kernel": "Broken: Kernel 'Einsum' not registered for backend 'wasm'",
    "ortweb-no-kernel": "Could not find an implementation for Cast(13) node with name ''",
    "ortweb-type": "unsupported data type: 16",
    "ortweb-float16": "Program MatMulNaive requires f16 but the device does not support it.",
}
NAMES = {
    "tflite-no-builtin": ": tf.Betainc, tf.Erfc (",
    "litert-reference-kernel": ": ELU (",
    "tfjs-unknown-op": ": Bitcast, BitwiseAnd (",
    "tfjs-no-kernel": ": Einsum (",
    "ortweb-no-kernel": ": Cast (",
}
SAYING = [limit for limit in LIMITS if limit.pattern]

every_row = pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.id)


def named_in(source):
    """The ids of limits that a program text names, in `limited("ID")` or `limit="ID"`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            named = [word.value for word in node.keywords if word.arg == "limit"]
            if isinstance(node.func, ast.Name) and node.func.id == "limited":
                named += node.args[:1]
            yield from (word.value for word in named if isinstance(word, ast.Constant) and isinstance(word.value, str))


def test_no_two_rows_have_one_id():
    assert len(IDS) == len(LIMITS)


@every_row
def test_every_row_cites_a_source_and_the_versions_it_was_seen_with(limit):
    assert re.fullmatch(r"[\w.-]+#\d+|[\w-]+ [\w/]+\.(md|ts)|keras \w+\(\w+=(\.\.\.|None)\)", limit.source)
    assert re.search(r"\d+\.\d+", limit.versions)
    assert limit.way_out.endswith(".")
    assert limit.format in {"", *FORMATS}
    assert limit.format or not limit.pattern  # a message is looked up for one format


def test_every_id_that_the_code_names_is_a_row_and_every_row_is_used():
    files = [path for layer in ("exporters", "validators", "flows") for path in (ROOT / layer).rglob("*.py")]
    named = {found for path in files for found in named_in(path.read_text("utf-8"))}
    assert named - IDS - {""} == set()
    told_apart = {"tfjs-int64", "tfjs-float64"}  # validators.runtimes.tfjs picks one of the two by a variable
    assert IDS - named - {limit.id for limit in SAYING} <= told_apart


def test_the_search_for_ids_sees_both_ways_to_name_one():
    text = """limited("a", x); Limited("words", limit="b"); Finding(code="c", limit="d"); other("e")"""
    assert set(named_in(text)) == {"a", "b", "d"}


@every_row
def test_a_limit_raised_by_its_id_says_what_its_row_says(limit):
    found = limited(limit.id, "layer seven")
    assert isinstance(found, Limited)
    assert found.message == f"{limit.says}: layer seven ({limit.source})"
    assert (found.limit, found.next_step) == (limit.id, limit.way_out)
    assert limited(limit.id).message == f"{limit.says} ({limit.source})"


def test_an_id_that_is_no_row_is_a_bug_of_ours():
    with pytest.raises(KeyError):
        limited("no-such-limit")


def test_every_row_with_a_pattern_has_an_example_here():
    assert set(SAID) == {limit.id for limit in SAYING}


@pytest.mark.parametrize("limit", SAYING, ids=lambda limit: limit.id)
def test_words_find_their_row_where_they_are_said_and_nowhere_else(limit):
    text = f"Traceback ...\n{SAID[limit.id]}\nmore words"
    speakers = limit.runtimes or ("",)
    found = known_limit(limit.format, text, speakers[0])
    assert {known_limit(limit.format, text, speaker).limit for speaker in speakers} == {limit.id}
    others = {"", *(row.name for row in RUNTIMES)} - set(speakers)
    assert all(known_limit(limit.format, text, other) is None for other in others)
    assert limit.says in found.message
    assert found.next_step == limit.way_out
    others = [other for other in FORMATS if other != limit.format]
    assert all(known_limit(other, text, speaker) is None for other in others for speaker in speakers)


@pytest.mark.parametrize("limit", [limit for limit in LIMITS if limit.id in NAMES], ids=lambda limit: limit.id)
def test_the_operators_are_named_once_each(limit):
    speaker = (limit.runtimes or ("",))[0]
    assert NAMES[limit.id] in known_limit(limit.format, SAID[limit.id], speaker).message


@every_row
def test_the_runtimes_of_a_row_are_rows_of_the_registry_for_its_format(limit):
    assert set(limit.runtimes) <= {row.name for row in RUNTIMES if row.format == limit.format}
    assert limit.pattern or not limit.runtimes


@pytest.mark.parametrize("format_", FORMATS)
def test_an_unknown_failure_is_no_limit(format_):
    assert known_limit(format_, "ValueError: something nobody has seen") is None


# What a check of an artifact finds, and what becomes of it.


@pytest.fixture
def exported(monkeypatch, tmp_path):
    """Exports with a converter that writes nothing, whose check finds what a test gives."""

    def export(*findings):
        monkeypatch.setattr(onnx, "export", lambda source, destination, options: Signature(inputs=(), outputs=()))
        monkeypatch.setattr(onnx, "check", lambda artifact, signature: findings)
        model = ModelSource(path=tmp_path)
        return job.export(
            job.ExportRequest(artifact="onnx/default", model=model, graph=tmp_path, destination=tmp_path, options={})
        )

    return export


def test_a_blocking_finding_is_raised_under_its_own_limit_whatever_its_message_says(exported):
    words = "Unsupported Ops in the model before optimization"  # another row's pattern
    with pytest.raises(Limited) as caught:
        exported(Finding(code="custom-domain", blocking=True, message=words, limit="onnx-custom-domain"))
    assert caught.value.limit == "onnx-custom-domain"
    assert words in caught.value.message


def test_a_blocking_finding_without_a_limit_is_an_error_of_ours(exported):
    with pytest.raises(RuntimeError, match=r"missing-shard: group1-shard1of1\.bin"):
        exported(Finding(code="missing-shard", blocking=True, message="group1-shard1of1.bin"))


def test_a_finding_that_does_not_block_is_kept(exported):
    kept = exported(Finding(code="fixed-batch", blocking=False, message="LiteRT.js wants this")).findings
    assert [finding.code for finding in kept] == ["fixed-batch"]


def test_a_source_without_a_lowered_graph_is_refused_by_name(tmp_path):
    source = ExportSource(model=ModelSource(path=tmp_path / "digits.keras"), graph=None, shapes=None)
    with pytest.raises(ValueError, match=r"digits\.keras: there is no lowered graph"):
        _ = source.lowered


def test_an_exporter_gets_the_request_s_source_and_only_the_row_s_options(monkeypatch, tmp_path):
    received = []

    def write(source, destination, options):
        received.append((source, destination, options))
        return Signature(inputs=(), outputs=())

    monkeypatch.setattr(onnx, "export", write)
    monkeypatch.setattr(onnx, "check", lambda artifact, signature: ())
    model, shapes = ModelSource(path=tmp_path), {"x": (1, 4)}
    request = job.ExportRequest(
        artifact="onnx/default",
        model=model,
        graph=tmp_path,
        destination=tmp_path / "artifact",
        options={"opset": 17},
        shapes=shapes,
    )
    job.export(request)
    source = ExportSource(model=model, graph=tmp_path, shapes=shapes)
    assert received == [(source, tmp_path / "artifact", {"opset": 17})]
