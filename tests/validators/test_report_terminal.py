import io
from dataclasses import replace
from pathlib import Path

import factory
import pytest
from rich.console import Console

from validators.report.terminal import render


def said(manifest, *, width=100, encoding="utf-8", terminal=False, **places):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding, write_through=True, newline="")
    console = Console(width=width, file=stream, force_terminal=terminal, color_system="standard" if terminal else None)
    render(manifest, console, **places)
    return raw.getvalue().decode(encoding)


def gpu_manifest():
    gpus = [("onnx/default", "onnxruntime"), ("tfjs/default", "tfjs-webgl"), ("tfjs/default", "tfjs-webgpu")]
    cells = tuple(factory.cell_without_run("unavailable", *gpu, device="gpu") for gpu in gpus)
    return factory.manifest(cells=(*factory.passed_cells(), *cells))


@pytest.mark.parametrize(
    ("verdict", "word"),
    [
        (factory.manifest().verdict, "RELEASED"),
        (factory.refused(factory.reason()), "REFUSED"),
        (factory.refused(factory.reason(broken=True)), "BROKEN"),
    ],
)
def test_the_first_line_says_the_verdict(verdict, word):
    first = said(factory.manifest(verdict=verdict)).strip().splitlines()[0]
    assert first.startswith(f"{word}   digits.keras: ")


def test_the_first_line_says_that_some_samples_were_not_seen():
    slow = factory.cell(skipped={"seeded": factory.slow()})
    assert "1 cell saw only part of the samples" in " ".join(said(factory.with_cell(slow)).split())


@pytest.mark.parametrize("width", [100, 80])
def test_every_cell_has_a_line_of_its_own_with_where_it_ran(width):
    lines = [line.split() for line in said(factory.with_cell(factory.failed_cell()), width=width).splitlines()]
    assert ["✗", "failed", "3.1e-01", "tflite/dynamic", "litert-xnnpack", "cpu", "XNNPACK"] in lines
    assert sum(line[:2] == ["✓", "passed"] for line in lines) == 7


def test_a_console_without_room_for_it_leaves_out_where_a_cell_ran():
    text = said(factory.with_cell(factory.failed_cell()), width=66)
    assert ["✗", "failed", "3.1e-01", "tflite/dynamic", "litert-xnnpack", "cpu"] in map(str.split, text.splitlines())
    assert "XNNPACK" not in text


def test_a_long_place_is_cut_at_the_edge():
    place = replace(factory.cell().placement, adapter="ANGLE (Google, Vulkan 1.3.0 (SwiftShader Device), driver)")
    lines = said(factory.with_cell(factory.cell(placement=place)), width=90).splitlines()
    (line,) = [line for line in lines if "ANGLE" in line]
    assert line.rstrip().endswith("…")


def test_what_is_missing_here_is_told_of_once_for_all_its_cells():
    gpus = [("onnx/default", "onnxruntime"), ("saved_model/default", "tensorflow")]
    cells = tuple(factory.cell_without_run("unavailable", *g, device="gpu", message="no card here") for g in gpus)
    text = said(factory.manifest(cells=(*factory.passed_cells(), *cells)))
    assert text.count("no card here") == 1
    assert "? unavailable: onnxruntime gpu, tensorflow gpu: no card here" in text


def test_the_way_out_of_a_limit_stands_beside_it():
    limit = factory.finding(message="no loops", limit="loop", way_out="Unroll it.")
    cell = factory.cell_without_run("limited", message="no loops", findings=(limit,))
    assert "~ limited: litert-xnnpack cpu: no loops; way out: Unroll it." in said(factory.with_cell(cell), width=200)


def test_what_broke_and_does_not_stand_among_the_reasons_is_told_all_the_same():
    broken = factory.cell_without_run("errored", message="after 60 s")
    told = "! errored: litert-xnnpack cpu: timeout: after 60 s"
    released = factory.manifest().verdict
    assert told in said(factory.with_cell(broken, verdict=released), width=200)
    assert told not in said(factory.with_cell(broken), width=200)


@pytest.mark.parametrize("width", [100, 80, 60, 40])
@pytest.mark.parametrize("manifest", [factory.manifest(), factory.with_cell(factory.failed_cell()), gpu_manifest()])
def test_no_line_is_wider_than_the_console_and_no_cell_is_lost(manifest, width):
    text = said(manifest, width=width)
    assert max(map(len, text.splitlines())) <= width
    marks = sum(line.count("1.2e-07") + line.count("3.1e-01") for line in text.splitlines())
    assert marks == 8


def test_nothing_is_lost_without_colour_and_no_escape_is_written_to_a_file():
    text = said(factory.with_cell(factory.failed_cell()))
    assert "\x1b" not in text
    assert "✗ failed" in text


def test_a_terminal_gets_colours():
    assert "\x1b[" in said(factory.manifest(), terminal=True)


@pytest.mark.parametrize("width", [100, 60])
def test_a_console_that_knows_ascii_only_gets_ascii(width):
    manifest = replace(factory.with_cell(factory.failed_cell()), model=replace(factory.MODEL, name="цифры.keras"))
    text = said(manifest, width=width, encoding="ascii", release_dir=Path("/releases/выпуск"))
    assert "x failed" in text
    assert "\\u0446" in text


def test_reasons_are_given_with_code_subject_and_message():
    reason = factory.reason("timeout", "onnx/default onnxruntime cpu", message="killed after 120 s", broken=True)
    text = said(factory.manifest(verdict=factory.refused(reason)))
    assert "! timeout  onnx/default onnxruntime cpu: killed after 120 s" in text


def test_many_reasons_are_cut_with_their_number_and_the_place_of_the_rest():
    reasons = [factory.reason(subject=f"file{index}") for index in range(30)]
    text = said(factory.manifest(verdict=factory.refused(*reasons)))
    assert "file11" in text
    assert "file12" not in text
    assert "and 18 more reasons in report.md" in text


def test_the_release_directory_and_the_digest_stand_whole_on_their_lines_even_where_they_are_wider():
    folder = Path("/releases") / ("deep" * 20)
    lines = said(factory.manifest(), width=40, release_dir=folder, digest=factory.DIGEST).splitlines()
    assert f"release  {folder}" in lines
    assert f"digest   {factory.DIGEST}" in lines


@pytest.mark.parametrize("width", [120, 60])
def test_a_runtime_named_like_markup_is_shown_as_it_is(width):
    shown = said(factory.manifest(cells=(factory.cell(runtime="[red]a[/]"),)), width=width)
    assert "[red]a[/]" in shown


def test_a_hostile_name_neither_steers_the_terminal_nor_speaks_markup():
    text = "\x1b[2J[bold red]x[/]\u202e\r\n:smile:"
    manifest = factory.manifest(
        model=replace(factory.MODEL, name=text),
        verdict=factory.refused(factory.reason(text, text)),
        cells=(factory.cell(runtime=text),),
    )
    shown = said(manifest, width=200)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\\x1b[2J[bold red]x[/]\\u202e :smile:" in shown


def test_artifacts_that_need_preprocessing_are_named_with_what_has_to_run_before_them():
    core = factory.artifact("onnx/default", preprocessing="preprocessing.json")
    told = " ".join(said(factory.manifest(artifacts=(factory.artifact(), core))).split())
    assert "onnx/default hold its numeric core. preprocessing.json next to each core says how" in told
    assert "preprocessing" not in said(factory.manifest())
