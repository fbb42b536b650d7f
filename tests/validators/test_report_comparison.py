"""Two releases side by side."""

from dataclasses import replace
from io import StringIO

import factory
from rich.console import Console

from validators import contract
from validators.report import terminal
from validators.report.html import render_comparison
from validators.report.view.comparison import compare_view


def timed(*medians):
    """A cell with a timing for each (batch, median)."""
    timings = tuple(
        contract.Timing(batch=b, shapes={}, warm_up=1, calls=9, fastest=m, median=m, p95=m) for b, m in medians
    )
    fast = contract.Performance(load=0.1, first=0.1, clock="process", threads=1, cores=2, timings=timings)
    return factory.cell(performance=fast)


def two(first, second):
    return compare_view(("A", "B"), factory.manifest(cells=first), factory.manifest(cells=second))


def change(found, label="tflite/dynamic litert-xnnpack cpu"):
    return next(cell.change for cell in found.cells if cell.label == label)


def test_a_cell_is_better_worse_or_the_same_by_its_status_alone():
    good, other = factory.cell(), factory.cell(diffs=(factory.diff(max_abs=9e-6),))
    failed, limited = factory.failed_cell(), factory.cell_without_run("limited")
    assert change(two([good], [other])) == ""
    assert change(two([good], [failed])) == "worse"
    assert change(two([failed], [good])) == "better"
    assert change(two([limited], [failed])) == "other"


def test_what_only_one_release_has_is_new_or_gone():
    extra = factory.cell("onnx/default", "ort-web-wasm")
    assert change(two([], [extra]), extra.key) == "new"
    assert change(two([extra], []), extra.key) == "gone"


def test_times_are_of_the_smallest_batch_that_both_timed():
    found = two([timed((2, 1.0), (7, 3.0))], [timed((1, 0.5), (7, 6.0))])
    assert next(cell.times for cell in found.cells if cell.times) == (7, 3.0, 6.0)
    assert not [cell for cell in two([timed((2, 1.0))], [timed((1, 1.0))]).cells if cell.times]


def test_of_model_and_toolchain_only_what_differs_is_told():
    old = factory.manifest()
    new = replace(old, toolchain={**old.toolchain, "keras": "3.16.0", "onnx": "1.17"})
    assert compare_view(("A", "B"), old, new).facts == (("keras", "3.15.1", "3.16.0"), ("onnx", "-", "1.17"))
    assert compare_view(("A", "B"), old, old).facts == ()


def test_an_artifact_that_one_release_lacks_has_no_size_there():
    without = factory.manifest(artifacts=(factory.limited_artifact(),))
    sizes = {
        each.label: (each.first, each.second) for each in compare_view(("A", "B"), without, factory.manifest()).sizes
    }
    assert sizes["model"] == (123_456, 123_456)
    assert sizes["tflite/dynamic"] == (None, 102_400)


def test_the_console_shows_both_sides_the_ratio_and_how_many_got_worse():
    found = two([timed((1, 1.0))], [replace(timed((1, 3.0)), status="failed", reason="tolerance exceeded")])
    console = Console(file=StringIO(), width=200, color_system=None)
    terminal.render_comparison(found, console)
    said = console.file.getvalue()
    (line,) = [line for line in said.splitlines() if line.startswith("tflite/dynamic litert-xnnpack cpu")]
    assert line.split() == [
        "tflite/dynamic",
        "litert-xnnpack",
        "cpu",
        "✓",
        "passed",
        "1.2e-07",
        "✗",
        "failed",
        "1.2e-07",
        "3.00",
        "worse",
    ]
    assert "1 cell passed in A and did not in B." in said
    assert "tflite/batch1" in said


def test_the_page_has_both_verdicts_and_marks_what_got_worse():
    first, second = factory.manifest(), factory.with_cell(factory.failed_cell())
    page = render_comparison(compare_view(("old.release", "new.release"), first, second), first, second)
    assert page.index("RELEASED") < page.index("REFUSED")
    assert '<span class="status is-worse">worse</span>' in page
    assert page.count("as in A") == len(factory.passed_cells()) - 1
