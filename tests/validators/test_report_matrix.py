from dataclasses import replace

import factory
import pytest

from validators.contract import OutputVariation, Placement
from validators.report import matrix
from validators.text import counted, number, one_line, printable, size


def shown(manifest):
    """(artifact, `runtime device`) -> what stands there."""
    return {(line.artifact, f"{line.runtime} {line.device}"): line.result() for line in matrix.build(manifest)}


def test_every_cell_has_its_place_and_nothing_else_is_shown():
    table = shown(factory.manifest())
    assert len(table) == len(factory.passed_cells()) == 8
    assert set(table.values()) == {"✓ passed 1.2e-07"}
    assert ("tflite/batch1", "litert-reference cpu") in table


def test_lines_are_by_artifact_then_cpus_then_gpus_in_the_order_of_the_registry():
    cells = (
        factory.cell("onnx/default", "ort-web-webgpu", device="gpu"),
        factory.cell("onnx/default", "ort-web-wasm"),
        factory.cell("made/up"),
        *factory.passed_cells()[::-1],
    )
    lines = matrix.build(factory.manifest(cells=cells))
    assert list(dict.fromkeys(line.artifact for line in lines)) == [*factory.ARTIFACTS, "made/up"]
    names = [f"{line.runtime} {line.device}" for line in lines if line.artifact == "onnx/default"]
    assert names == ["onnxruntime cpu", "ort-web-wasm cpu", "ort-web-webgpu gpu"]


def test_a_line_says_where_its_cell_ran_and_how_much_it_saw():
    place = Placement(device="gpu", runtime="tfjs 4.22", adapter="WebGPU (SwiftShader)", software=True)
    slow = {"seeded": factory.slow()}
    cell = factory.cell("tfjs/default", "tfjs-webgpu", device="gpu", placement=place, skipped=slow, rows=5)
    lines = {line.runtime: line for line in matrix.build(factory.manifest(cells=(cell, *factory.passed_cells())))}
    assert lines["tfjs-webgpu"].remarks == "software WebGPU (SwiftShader); 5 of 376 rows"
    assert lines["litert-xnnpack"].remarks == "XNNPACK"


def test_a_line_of_another_machine_names_it_and_says_the_version_and_why_it_did_not_pass():
    line = matrix.line(factory.failed_cell(message="far off"), factory.SAMPLES, "box7")
    assert line.remarks == "on box7; XNNPACK (ai-edge-litert 2.3.0); tolerance exceeded: far off"
    assert matrix.line(factory.cell(), factory.SAMPLES, "box7").why == ""


def test_what_did_not_run_for_the_same_reason_is_told_of_once():
    gpus = [("onnx/default", "onnxruntime"), ("saved_model/default", "tensorflow")]
    cells = [factory.cell_without_run("unavailable", *gpu, device="gpu", message="no card") for gpu in gpus]
    cells += [factory.cell_without_run("limited", message="no strings"), factory.failed_cell(), factory.cell()]
    told = matrix.not_run(cells)
    assert {message: [cell.runtime for cell in same] for message, same in told.items()} == {
        "no card": ["onnxruntime", "tensorflow"],
        "no strings": ["litert-xnnpack"],
    }


def test_a_required_cell_that_is_missing_is_shown_as_not_run():
    cells = tuple(cell for cell in factory.passed_cells() if cell.runtime != "tfjs-wasm")
    assert shown(factory.manifest(cells=cells))[("tfjs/default", "tfjs-wasm cpu")] == "? not run"


def test_a_required_format_without_any_artifact_has_a_row():
    artifacts = tuple(factory.artifact(key) for key in factory.ARTIFACTS if key != "onnx/default")
    cells = tuple(cell for cell in factory.passed_cells() if cell.format != "onnx")
    table = shown(factory.manifest(artifacts=artifacts, cells=cells))
    assert table[("onnx", "onnxruntime cpu")] == "? not run"


@pytest.mark.parametrize(("status", "text"), [("limited", "~ limited"), ("errored", "! errored")])
def test_an_artifact_that_was_never_exported_says_why_in_its_row(status, text):
    artifacts = (factory.limited_artifact("onnx/default", status=status),)
    table = shown(factory.manifest(artifacts=artifacts, cells=()))
    assert table[("onnx/default", "onnxruntime cpu")] == text


def test_a_cell_of_an_artifact_nobody_recorded_is_shown_all_the_same():
    stray = factory.cell("tflite/int8")
    table = shown(factory.manifest(cells=(*factory.passed_cells(), stray)))
    assert table[("tflite/int8", "litert-xnnpack cpu")] == "✓ passed 1.2e-07"


@pytest.mark.parametrize("order", [1, -1])
def test_of_two_records_of_one_cell_the_one_that_did_not_pass_is_shown(order):
    pair = (factory.cell(), factory.failed_cell())[::order]
    assert shown(factory.manifest(cells=pair))[("tflite/dynamic", "litert-xnnpack cpu")] == "✗ failed 3.1e-01"


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (factory.manifest().verdict, "RELEASED"),
        (factory.refused(factory.reason()), "REFUSED"),
        (factory.refused(factory.reason(), factory.reason(broken=True)), "BROKEN"),
        (factory.refused(), "REFUSED"),
        (factory.refused(factory.reason("awaiting attestation")), "AWAITING"),
        (factory.refused(factory.reason("awaiting attestation"), factory.reason()), "REFUSED"),
    ],
)
def test_the_headline_is_the_verdict_in_one_word(verdict, word):
    assert matrix.headline(verdict) == word


def test_the_summary_counts_requirements_that_no_reason_stands_against():
    assert matrix.summary(factory.manifest()) == "6 of 6 required cells proven, 8 cells in all"
    refused = factory.with_cell(factory.failed_cell())
    assert matrix.summary(refused) == "5 of 6 required cells proven, 8 cells in all"


def test_the_summary_says_how_many_cells_had_no_time_for_all_samples():
    slow, other = {"seeded": factory.slow()}, {"seeded": factory.other_batch()}
    cells = (factory.cell(skipped=slow), factory.cell("onnx/default", "onnxruntime", skipped=slow))
    cells += (factory.cell("tflite/batch1", skipped=other),)
    assert matrix.summary(factory.manifest(cells=cells)).endswith("; 2 cells saw only part of the samples")


def test_the_summary_says_that_an_output_hardly_varies():
    weak = OutputVariation(spread=0.0, scale=1.0, weak=True, why="output `digit` varies by 0 over all samples")
    manifest = factory.manifest(grounds=replace(factory.GROUNDS, coverage={"digit": weak}))
    assert matrix.summary(manifest).endswith("; weak evidence for 1 output: too little variation over the samples")


@pytest.mark.parametrize(
    ("subject", "hit"),
    [
        ("tflite litert-xnnpack cpu", ["litert-xnnpack"]),
        ("tflite/batch1 litert-xnnpack cpu", ["litert-xnnpack"]),
        ("tflite/batch1", ["litert-xnnpack", "litert-reference"]),
        ("saved_model/default tensorflow cpu", ["tensorflow"]),
        ("tflite litert-xnnpack gpu", []),
        ("release", []),
    ],
)
def test_a_reason_counts_against_the_requirements_it_names_by_any_of_their_names(subject, hit):
    manifest = factory.manifest(verdict=factory.refused(factory.reason(subject=subject)))
    against = [r.runtime for r in factory.REQUIRED if matrix.against_requirement(manifest, r)]
    assert against == hit


def test_a_reason_counts_against_a_cell_by_its_name_or_its_requirement_only():
    reasons = [factory.reason(subject=s) for s in ("tflite litert-xnnpack cpu", "tflite/batch1 litert-xnnpack cpu")]
    manifest = factory.manifest(verdict=factory.refused(*reasons))
    assert matrix.against_cell(manifest, factory.cell("tflite/batch1")) == tuple(reasons)
    assert matrix.against_cell(manifest, factory.cell("tflite/dynamic")) == tuple(reasons[:1])
    assert matrix.against_cell(manifest, replace(factory.cell("tflite/dynamic"), device="gpu")) == ()


def test_text_that_could_steer_a_terminal_is_spelled_out():
    assert printable("a\x1b[31mb\u202ec\x00\ud800\nd") == "a\\x1b[31mb\\u202ec\\x00\\ud800\nd"
    assert one_line(" a\r\n\tb\x1b\n") == "a b\\x1b"
    assert printable("Größe 数字 'x'") == "Größe 数字 'x'"


def test_numbers_are_short_and_exact_zero_is_told_apart():
    assert [number(value) for value in (None, 0.0, 1.25e-7, 3, 1e-320)] == ["-", "0", "1.2e-07", "3.0e+00", "1.0e-320"]
    assert [size(n) for n in (0, 1023, 1024, 1536, 5 << 20, 3 << 40)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "5.0 MiB",
        "3072.0 GiB",
    ]
    assert [counted(n, "cell") for n in (0, 1, 2)] == ["0 cells", "1 cell", "2 cells"]
