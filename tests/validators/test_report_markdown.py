from dataclasses import replace
from html.parser import HTMLParser

import factory
import pytest
from markdown_it import MarkdownIt

from validators.contract import Decisions, Flip, Noise, OutputVariation, Placement
from validators.report.markdown import code, prose, render

HOSTILE = [
    "a|b",
    "a`b|c`d",
    "a\\|b",
    "`",
    "``",
    "<script>alert(1)</script>",
    "`x` <img src=x onerror=alert(1)>",
    "[click](http://example.invalid)",
    "![i](http://example.invalid/i.png)",
    "[a][b]",
    "*bold* _it_ __b__ ~~s~~",
    "&lt;b&gt; &amp;",
    "line\nbreak\r\n# heading\n\n| table |",
    "\x1b[31mred",
    "a\u202eb",
    "-->",
    "<!--",
    "snake_case_name _edge_",
    "$x$",
]


class Page(HTMLParser):
    """Collects tags, tables and text of a rendered page."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.tables, self.words, self.in_cell = set(), [], [], False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")
            self.in_cell = True

    def handle_endtag(self, tag):
        self.in_cell = self.in_cell and tag not in {"td", "th"}

    def handle_data(self, data):
        self.words.append(data)
        if self.in_cell:
            self.tables[-1][-1][-1] += data

    @property
    def text(self):
        return "".join(self.words)


def page(markdown):
    """The page that a GitHub-like renderer makes of it; HTML is let through, so that a leak would be seen."""
    return Page(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))


def hostile_manifest(text):
    """A release in which everything that a model or a runtime can name is this text."""
    signature = replace(factory.SIGNATURE, inputs=(replace(factory.SIGNATURE.inputs[0], native=text),))
    diff = factory.failed_diff(name=text, message=text, worst=replace(factory.failed_diff().worst, actual=text))
    placement = replace(factory.cell().placement, adapter=text, details={text: text})
    return factory.manifest(
        model=replace(factory.MODEL, name=text, trusted=(text,)),
        artifacts=(
            factory.artifact(signature=signature, findings=(factory.finding(message=text, way_out=text),)),
            factory.limited_artifact("onnx/default", reason=text),
        ),
        cells=(factory.failed_cell(message=text, diffs=(diff,), placement=placement, log=text),),
        verdict=factory.refused(factory.reason(message=text, subject=text)),
        toolchain={text: text},
        platform=text,
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_name_shows_as_it_is_and_changes_nothing_around_it(text):
    rendered = page(render(hostile_manifest(text)))
    harmless = page(render(hostile_manifest("name")))
    assert rendered.tags <= harmless.tags | {"code"}
    assert [[len(row) for row in table] for table in rendered.tables] == [
        [len(row) for row in table] for table in harmless.tables
    ]
    assert "\x1b" not in rendered.text
    assert "\u202e" not in rendered.text


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.isprintable()])
def test_an_escaped_text_reads_as_the_original(text):
    for escape in (code, prose):
        assert page(f"- x {escape(text)} y").text.strip().replace("`", "") == f"x {text} y".replace("`", "")
        (table,) = page(f"| a | b |\n| - | - |\n| {escape(text)} | y |").tables
        assert [cell.strip().replace("`", "") for cell in table[1]] == [text.replace("`", ""), "y"]


def test_ordinary_names_stay_readable_as_plain_text():
    assert code("saved_model/default") == "`saved_model/default`"
    assert prose("output `dense_1` of my_model has shape [1, 2]") == "output `dense_1` of my_model has shape [1, 2]"


def test_the_verdict_and_its_reasons_stand_on_top():
    reason = factory.reason(message="12 of 3600 elements are beyond the tolerance")
    lines = render(factory.manifest(verdict=factory.refused(reason))).splitlines()
    assert lines[0] == "# REFUSED: digits.keras"
    assert lines[2].startswith("5 of 6 required cells proven")
    assert lines[6] == (
        "- **tolerance exceeded** `tflite/dynamic litert-xnnpack cpu`: 12 of 3600 elements are beyond the tolerance"
    )


def test_the_matrix_has_a_row_for_each_cell_with_where_it_ran():
    table = page(render(factory.with_cell(factory.failed_cell()))).tables[0]
    assert table[0] == ["artifact", "runtime", "device", "result", "where"]
    assert table[2] == ["tflite/dynamic", "litert-xnnpack", "cpu", "✗ failed 3.1e-01", "XNNPACK"]
    assert len(table) == 1 + len(factory.passed_cells())


def test_gpu_cells_show_their_settings_and_what_fell_back_to_the_cpu():
    place = Placement(
        device="gpu",
        runtime="tfjs 4.22.0",
        adapter="WebGL (SwiftShader)",
        software=True,
        fallbacks={"Where": 2},
        details={"WEBGL_CPU_FORWARD": "false"},
    )
    lint = factory.finding(code="partial acceleration", blocking=False, message="the CPU ran 2 Where")
    cell = factory.cell("tfjs/default", "tfjs-webgl", device="gpu", placement=place, findings=(lint,))
    shown = page(render(factory.manifest(cells=(*factory.passed_cells(), cell))))
    assert [
        "tfjs/default tfjs-webgl gpu",
        "tfjs 4.22.0",
        "WEBGL_CPU_FORWARD = false",
        "Where = 2",
    ] in [row for table in shown.tables for row in table]
    assert "tfjs/default tfjs-webgl gpu partial acceleration (a note): the CPU ran 2 Where" in shown.text


def test_tables_line_up_as_plain_text():
    lines = [line for line in render(factory.manifest()).splitlines() if line.startswith("|")]
    matrix = lines[: len(factory.ARTIFACTS) + 2]
    assert len({len(line) for line in matrix}) == 1


def test_what_failed_is_shown_with_worst_element_both_values_tolerance_and_its_reason():
    text = page(render(factory.with_cell(factory.failed_cell()))).text
    for part in (
        "tflite/dynamic litert-xnnpack cpu: failed (tolerance exceeded)",
        "12 of 3600 elements",
        "1.0e-05 + 1.0e-04",
        "kernels add up in different orders",
        "Worst at [3, 7]: reference 0.25, got 0.56",
        "ai-edge-litert 2.3.0, XNNPACK, threads 2",
        "logs/tflite-dynamic-litert-xnnpack-cpu.log",
    ):
        assert part in text


@pytest.mark.parametrize("status", ["limited", "errored", "unavailable"])
def test_what_never_ran_is_shown_with_its_message(status):
    text = page(render(factory.with_cell(factory.cell_without_run(status, message="needs a card")))).text
    assert "What did not pass" in text
    assert f"tflite/dynamic litert-xnnpack cpu: {status}" in text
    assert "needs a card" in text


def test_a_message_of_its_own_is_not_lost_beside_the_differences():
    text = page(render(factory.with_cell(factory.failed_cell(message="asked for gpu, ran on cpu")))).text
    assert "asked for gpu, ran on cpu" in text
    assert "12 of 3600" in text


def test_an_artifact_that_was_not_exported_gives_its_reason():
    artifacts = (factory.limited_artifact("onnx/default", reason="no op for SparseFillEmptyRows"),)
    assert "There is no artifact: no op for SparseFillEmptyRows" in render(factory.manifest(artifacts=artifacts))


def test_a_clean_release_has_no_section_for_what_did_not_pass_and_none_for_findings():
    text = render(factory.manifest())
    assert text.startswith("# RELEASED: digits.keras\n")
    assert "did not pass" not in text
    assert "## Findings" not in text


def test_findings_come_with_their_way_out():
    text = render(factory.manifest(artifacts=(factory.artifact(findings=(factory.finding(),)),)))
    assert "needs the Flex ops FlexErf, FlexStringSplit; way out: export the batch1 variant" in text
    limited = factory.cell_without_run("limited", findings=(factory.finding(),))
    lines = render(factory.with_cell(limited)).splitlines()
    named = "- `tflite/dynamic litert-xnnpack cpu` **flex-op** (blocks): "
    assert any(line.startswith(named) and line.endswith("; way out: export the batch1 variant") for line in lines)


def test_every_comparison_is_listed_with_its_numbers():
    diffs = (factory.diff(), factory.diff(sample_set="seeded", max_abs=0.0, tolerance=None))
    cells = (factory.cell(diffs=diffs), factory.failed_cell(diffs=(factory.failed_diff(elements=0, failing=0),)))
    text = render(factory.manifest(cells=cells))
    table = next(table for table in page(text).tables if table[0][0] == "cell")
    key = "tflite/dynamic litert-xnnpack cpu"
    numbers = ["3.4e-06", "131.5", "0 / 3600", "6.0e-08", "1.1e-07"]
    assert table[1] == [key, "held_out", "digit", "1.2e-07", *numbers, "1.0e-05 + 1.0e-04"]
    assert table[2] == [key, "seeded", "digit", "0", *numbers, "exact"]
    assert table[3][-4:] == ["0 / 0", "6.0e-08", "1.1e-07", "-"]


def test_what_the_comparisons_rest_on_is_told():
    weak = OutputVariation(spread=0.0, scale=1.0, weak=True, why="output `digit` varies by 0 over all samples")
    lacking = Noise(floor=None, scale=0.0, rows=0, why="layer hash looks words up in a table")
    grounds = replace(factory.GROUNDS, batch="mixes", coverage={"digit": weak}, noise={"seeded": {"digit": lacking}})
    shown = page(render(factory.manifest(grounds=grounds)))
    for said in (
        "Without the set beyond: the original fails over it",
        "among others otherwise than alone",
        "Weak evidence: output digit varies by 0",
        "accuracy over 360 labelled rows; no policy.task_margin is set",
    ):
        assert said in shown.text
    assert ["image", "-1", "1", "any", "nothing in the model says more"] in [row for t in shown.tables for row in t]
    assert ["digit", "-", "0", "0", "seeded", lacking.why] in [row for table in shown.tables for row in table]


def test_decisions_that_came_out_otherwise_are_listed_with_their_margins():
    flips = (Flip(index=(3,), reference=7, actual=1, margin=2e-6),)
    decided = Decisions(compared=360, ties=2, top1=359, topk=358, k=5, flips=flips)
    text = page(render(factory.with_cell(factory.cell(diffs=(factory.diff(decisions=decided),))))).text
    assert "359 of 360 came out the same, 2 ties: [3] 7 became 1, margin 2.0e-06" in text


def test_samples_left_out_for_want_of_time_are_listed_each_with_its_reason():
    skipped = {"seeded": factory.slow(), "held_out": factory.slow("90 s were spent")}
    text = page(render(factory.with_cell(factory.cell(skipped=skipped)))).text
    for name, why in skipped.items():
        assert f"tflite/dynamic litert-xnnpack cpu left out {name}: {why.why}" in text
    assert "1 cell saw only part of the samples" in text
    assert "fixed batch" not in text


def test_samples_of_other_batches_are_one_sentence_for_all():
    skipped = dict.fromkeys(["seeded_batch2", "seeded_batch7"], factory.other_batch())
    cells = [factory.cell("tflite/batch1", runtime, skipped=skipped) for runtime in ("litert-xnnpack", "other")]
    text = page(render(factory.manifest(cells=tuple(cells)))).text
    assert "An artifact with fixed shapes is fed only the sample sets of these shapes; here: tflite/batch1." in text
    assert "left out" not in text
    assert "only part" not in text


def test_a_report_without_any_cell_says_that_nothing_was_compared():
    empty = factory.refused(factory.reason("empty report", "release"))
    assert "Nothing was compared." in render(factory.manifest(cells=(), artifacts=(), verdict=empty))


def test_samples_toolchain_and_the_way_to_verify_are_there():
    text = page(render(factory.manifest())).text
    assert "onnxruntime = 1.31.1" in text
    assert "image[1] = 8" in text
    assert "paritygate verify DIR --digest SHA256" in text


def test_what_was_interrupted_is_told_and_what_was_not_takes_no_place():
    told = render(factory.manifest(retried=(factory.attempt(),), resumed=("lowering", "export onnx/default")))
    assert "- Done again: `export-onnx-default`, timeout after 300.0 s: no answer within 300 s\n" in told
    assert "- Taken over from a run that was killed: `lowering`, `export onnx/default`\n" in told
    assert "What was interrupted" not in render(factory.manifest())


def test_artifacts_that_need_preprocessing_are_named_with_what_has_to_run_before_them():
    core = factory.artifact("onnx/default", preprocessing="preprocessing.json")
    told = render(factory.manifest(artifacts=(factory.artifact(), core)))
    assert "split at its last text or table operator: `onnx/default` hold its numeric core." in told
    assert "split at its last" not in render(factory.manifest())


def test_it_tells_what_each_artifact_stores_and_which_weight_is_another_one():
    changed = replace(factory.WEIGHTS, differences=(factory.weight_difference(),))
    report = render(factory.manifest(artifacts=(factory.artifact("onnx/default", weights=changed),)))
    assert "4 of 14 bit by bit, 10 folded, within 1.5 ULP, 1 DIFFERS" in report
    assert "layer `conv2d`: 1 element of `conv2d/kernel` changed in `conv2d_1/convolution` (1 ULP, by 1.5e-08" in report
