"""The page of a release, as text: what it says, what it escapes, and what it could load."""

import base64
import hashlib
import re
import struct
import xml.etree.ElementTree as ET
import zlib
from dataclasses import replace
from html.parser import HTMLParser

import factory
import numpy as np
import pytest
import small_release

from exporters.contract import Signature, TensorSpec, WeightDifference
from validators.contract import BaselineRecord, Comparison, Decisions, Flip, Histogram, RegressionLimits, performance
from validators.release.evidence import write_evidence
from validators.release.manifest import load
from validators.report import markdown
from validators.report.html import distance_chart, render, worst_samples
from validators.report.html.sample_image import is_image, png_address
from validators.report.view import view
from validators.report.view.outputs import closest_call

TIMING = performance.Timing(
    batch=1, shapes={"image": (1, 8, 8, 1)}, warm_up=1, calls=12, fastest=2e-5, median=3.1e-5, p95=4.2e-3
)
FAST = performance.Performance(load=0.2, first=0.01, clock="process", threads=1, cores=2, timings=(TIMING,))
HOSTILE = '<script>alert(1)</script>" onload="x\u202e\x1b[2J\''


class Outline(HTMLParser):
    """Tags with their attributes, in order."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def of(self, *names):
        return [attributes for tag, attributes in self.tags if tag in names]


def everything():
    """A release in which something of each kind happened."""
    spread = Histogram(equal=10, nonfinite=1, first=-14, counts=(4, 0, 2))
    failed = factory.failed_cell(diffs=(factory.failed_diff(errors=spread), factory.diff(sample_set="seeded")))
    cells = [
        failed,
        factory.cell("tflite/batch1", performance=FAST, skipped={"seeded": factory.other_batch()}),
        factory.cell("tfjs/default", "tfjs-wasm", performance=replace(FAST, clock="page", timings=())),
        factory.cell_without_run("limited", "tfjs/default", "tfjs-cpu", findings=(factory.finding(),)),
        factory.cell_without_run("errored", "onnx/default", "onnxruntime"),
        factory.cell_without_run("unavailable", "saved_model/default", "tensorflow"),
    ]
    reasons = [factory.reason(cell.reason, cell.key, broken=cell.status == "errored") for cell in cells if cell.reason]
    return factory.manifest(
        cells=tuple(cells), verdict=factory.refused(*reasons), retried=(factory.attempt(),), resumed=("lowering",)
    )


def named(name):
    """The same with a name that is not trusted, wherever a model or its maker chooses one."""
    signature = Signature(
        inputs=(TensorSpec(name=name, dtype="float32", shape=(None, 3), native=name),),
        outputs=(TensorSpec(name=name, dtype="float32", shape=(None, 3), native=name),),
    )
    manifest = everything()
    broken = factory.failed_cell(
        reason=name, message=f"output `{name}`", diffs=(factory.failed_diff(name=name, message=f"`{name}`"),)
    )
    return replace(
        manifest,
        model=replace(manifest.model, name=name, signature=signature, trusted=(name,)),
        cells=(broken, *manifest.cells[1:]),
        verdict=factory.refused(factory.reason(name, name, message=f"{name} `{name}`")),
        toolchain={name: name},
        retried=(factory.attempt(job=name, message=name),),
        resumed=(name,),
    )


def test_the_page_opens_with_the_verdict_and_every_reason():
    manifest = everything()
    page = render(manifest, worst=())
    head = page[: page.index('<section id="matrix"')]
    assert re.search(r"<h1><span class=\"word\">! BROKEN</span> digits.keras</h1>", head)
    for reason in manifest.verdict.reasons:
        assert reason.code in head
        assert f"<code>{reason.subject}</code>" in head


def test_a_release_says_that_nothing_speaks_against_it():
    assert "No reason against this release" in render(factory.manifest(), worst=())


def test_what_is_waived_and_what_the_release_was_held_against_stand_with_the_verdict():
    waived = replace(factory.manifest().verdict, waived=(factory.reason(message=HOSTILE),))
    held = BaselineRecord(
        digest="ab" * 32, model=HOSTILE, created="c", headline="FORCED", limits=RegressionLimits(), comparisons=()
    )
    page = render(replace(factory.manifest(), verdict=waived, baseline=held), worst=())
    assert "waived: tolerance exceeded" in page
    assert "FORCED: " in page
    assert f"<code>{held.digest}</code>" in page
    assert "<script>alert" not in page


def test_what_was_interrupted_is_told_and_what_was_not_takes_no_place():
    page = render(everything(), worst=())
    assert "timeout after 300.0 s: no answer within 300 s</li>" in page
    assert "Kept from a run that was killed: <code>lowering</code>" in page
    assert not re.search("Done again|Kept from", render(factory.manifest(), worst=()))


def test_a_reason_leads_to_its_cell():
    page = Outline(render(everything(), worst=()))
    targets = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    links = [attributes["href"].removeprefix("#") for attributes in page.of("a")]
    assert sum(link.startswith("cell-") for link in links) == 4
    assert set(links) <= targets


def test_no_name_of_a_model_becomes_markup_or_steers_the_screen():
    page = render(named(HOSTILE), worst=())
    assert page.count("<script>") == 2
    assert "&lt;script&gt;" in page
    assert not set("\u202e\x1b") & set(page)
    assert not [attributes for _, attributes in Outline(page).tags if any(key.startswith("on") for key in attributes)]
    plain, odd = (Outline(render(named(name), worst=())).tags for name in ("plain", HOSTILE))
    assert [tag for tag, _ in plain] == [tag for tag, _ in odd]


def test_the_page_may_load_nothing_and_run_only_its_own_two_scripts():
    page = render(everything(), worst=())
    (policy,) = [each["content"] for each in Outline(page).of("meta") if "http-equiv" in each]
    assert policy.startswith("default-src 'none'; img-src data:; ")
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    wanted = " ".join(f"'sha256-{digest}'" for digest in digests)
    assert f"script-src {wanted};" in policy
    assert "unsafe" not in policy
    addresses = [value for _, each in Outline(page).tags for key, value in each.items() if key in {"src", "href"}]
    assert addresses
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in addresses)
    assert "style" not in {key for _, each in Outline(page).tags for key in each}


def test_every_table_has_a_caption_and_every_header_a_scope():
    page = Outline(render(everything(), worst=()))
    assert len(page.of("table")) == len(page.of("caption")) > 8
    assert {each.get("scope") for each in page.of("th")} == {"col", "row"}


def test_the_matrix_gives_the_chart_distance_noise_and_tolerance():
    rows = [each for each in Outline(render(everything(), worst=())).of("tr") if each.get("id", "").startswith("cell-")]
    failed = next(row for row in rows if row["data-status"] == "failed")
    assert (float(failed["data-dot"]), float(failed["data-high"])) == (0.31, 1e-5)
    assert len(rows) == len(view(everything()).matrix)
    assert [row for row in rows if row["data-status"] == "limited"]


def test_an_output_shows_how_its_errors_are_spread_over_all_sets():
    ((name, rows),) = view(everything()).outputs
    assert name == "digit"
    failed = next(row for row in rows if not row.closest.passed)
    assert [round(np.log10(edge), 1) for edge, _ in failed.bins] == [-7, -6]
    assert [count for _, count in failed.bins] == [4, 2]
    assert failed.elements == sum(diff.elements for diff in failed.diffs)


def test_the_comparison_that_failed_stands_for_its_cell_and_else_the_one_nearest_to_its_tolerance():
    near, far, wrong = factory.diff(max_abs=9e-6), factory.diff(max_abs=1e-6), factory.failed_diff(max_abs=None)
    assert closest_call([far, near]) is near
    assert closest_call([near, wrong]) is wrong
    assert closest_call([]) is None


def test_speed_says_how_many_calls_it_stands_on_and_who_held_the_clock():
    page = render(everything(), worst=())
    assert '<td class="number">31 µs</td>' in page
    assert '<td class="number">4.2 ms</td>' in page
    assert "<td>page</td>" in page
    assert "could use 2 processors" in page


def test_private_samples_are_not_shown():
    assert "samples of this release are private" in render(factory.manifest(), worst=None)


def test_the_worst_samples_come_from_the_evidence_with_the_failed_ones_first(tmp_path):
    failed = small_release.failed_cell(
        "cpu", diffs=(replace(factory.failed_diff(name="y"), sample_set="seeded_batch2"),)
    )
    folder = small_release.make(tmp_path / "small", own=failed)
    (sample,) = worst_samples(folder, load(folder))
    assert (sample.sample_set, sample.row, sample.output, sample.passed) == ("seeded_batch2", 3, "y", False)
    assert sample.cells == (failed.key,)
    assert [(each.name, each.image) for each in sample.inputs] == [("x", "")]
    assert sample.inputs[0].text.startswith("float32[4], from ")


def test_a_sample_that_is_an_image_is_shown_as_one(tmp_path):
    manifest = factory.with_cell(factory.failed_cell(rows=8))
    set_ = replace(factory.SAMPLES[0], rows=8)
    manifest = replace(manifest, samples=(set_,))
    images = np.random.default_rng(3).normal(size=(8, 8, 8, 1)).astype("float32")
    write_evidence(tmp_path, signature=factory.SIGNATURE, sets=(set_,), samples={"held_out": {"image": images}})
    found = worst_samples(tmp_path, replace(manifest, cells=(factory.failed_cell(),)))
    page = Outline(render(manifest, worst=found))
    (picture,) = page.of("img")
    assert picture["src"].startswith("data:image/png;base64,")
    assert picture["alt"] == "Input image of row 3 of held_out, as an image"


@pytest.mark.parametrize("shape", [(8,), (8, 2)], ids=["one a row", "two a row"])
def test_texts_of_a_sample_are_quoted(tmp_path, shape):
    set_ = replace(factory.SAMPLES[0], rows=8)
    texts = np.full(shape, "<b>", object)
    signature = replace(factory.SIGNATURE, inputs=(TensorSpec(name="text", dtype="string", shape=(None, *shape[1:])),))
    write_evidence(tmp_path, signature=signature, sets=(set_,), samples={"held_out": {"text": texts}})
    manifest = factory.manifest(cells=(factory.failed_cell(rows=8),), samples=(set_,))
    (sample, *_) = worst_samples(tmp_path, manifest)
    assert sample.inputs[0].text == ", ".join(["'<b>'"] * (texts.size // 8))
    assert "&#39;&lt;b&gt;&#39;" in render(manifest, worst=(sample,))


def test_where_nothing_differs_no_sample_is_read(tmp_path):
    equal = tuple(factory.cell(diffs=(factory.diff(max_abs=0.0),)) for _ in range(2))
    assert worst_samples(tmp_path / "nowhere", factory.manifest(cells=equal)) == ()


@pytest.mark.parametrize(("channels", "kind"), [(1, 0), (3, 2), (4, 6)])
def test_a_picture_holds_the_pixels_from_black_to_white(channels, kind):
    image = np.linspace(-2, 5, 8 * 9 * channels).reshape(8, 9, channels)
    png = base64.b64decode(png_address(image).partition(",")[2])
    assert struct.unpack(">IIBB", png[16:26]) == (9, 8, 8, kind)
    start = png.index(b"IDAT") + 4
    pixels = zlib.decompress(png[start : start + struct.unpack(">I", png[start - 8 : start - 4])[0]])
    rows = [pixels[row : row + 1 + 9 * channels] for row in range(0, len(pixels), 1 + 9 * channels)]
    assert {row[0] for row in rows} == {0}
    assert (rows[0][1], rows[-1][-1]) == (0, 255)


@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e308])
def test_no_value_keeps_a_picture_from_being_drawn(odd):
    image = np.zeros((8, 8, 1))
    image[0, 0, 0], image[1, 1, 0] = odd, -1e308
    assert png_address(image).startswith("data:image/png;base64,")


def test_a_large_picture_is_thinned_out_and_bytes_stay_as_they_are():
    image = np.full((1000, 500, 3), 7, np.uint8)
    png = base64.b64decode(png_address(image).partition(",")[2])
    assert struct.unpack(">II", png[16:24]) == (72, 143)


def test_only_what_has_the_shape_of_an_image_is_one():
    assert is_image((28, 28, 1))
    assert is_image((None, None, 3))
    assert not is_image((28, 28))
    assert not is_image((28, 28, 2))
    assert not is_image((4, 28, 3))


def test_the_distances_are_one_picture_with_a_row_for_every_cell_that_was_compared():
    picture = ET.fromstring(distance_chart.svg(everything()))  # noqa: S314 - our own
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert texts[0] == "BROKEN digits.keras"
    assert sum(text.startswith(("✓", "✗")) for text in texts) == 3
    assert [*picture.iter("{http://www.w3.org/2000/svg}path")]
    crosses = [each.get("d") for each in picture.iter("{http://www.w3.org/2000/svg}path")]
    assert len(crosses) == 1
    (failed,) = [float(cross.partition(",")[0].removeprefix("M")) + 5 for cross in crosses]
    dots = [float(dot.get("cx")) for dot in picture.iter("{http://www.w3.org/2000/svg}circle")]
    assert all(dot < failed for dot in dots)


def test_a_picture_of_nothing_and_of_hostile_names_is_still_one():
    for manifest in (factory.manifest(cells=()), named(HOSTILE)):
        ET.fromstring(distance_chart.svg(manifest))  # noqa: S314 - our own
        assert "<script" not in distance_chart.svg(manifest)


def test_weights_that_differ_and_figures_worse_than_the_baselines_are_marked_beyond_their_colour():
    stale = WeightDifference(
        kind="changed", weight="conv/kernel", layer="conv", tensor=HOSTILE, elements=3, ulps=7, max_abs=0.1
    )
    artifact = factory.artifact(weights=replace(factory.WEIGHTS, differences=(stale,)))
    figures = (
        Comparison(what="size", subject=artifact.key, before=100.0, now=400.0, allowed=110.0),
        Comparison(what="latency", subject="x", why_not="another machine"),
    )
    held = BaselineRecord(
        digest="ab" * 32, model="m", created="c", headline="RELEASED", limits=RegressionLimits(), comparisons=figures
    )
    page = render(replace(factory.manifest(), artifacts=(artifact,), baseline=held), worst=())
    assert "</code> layer <code>conv</code>: 3 elements of <code>conv/kernel</code> changed in" in page
    assert "✗ worse" in page
    assert "latency: another machine: <code>x</code>" in page
    assert "<script>alert" not in page


def test_decisions_that_came_out_otherwise_stand_below_their_output_with_their_margins():
    assert "came out otherwise" not in render(factory.manifest(), worst=())
    flips = (Flip(index=(3,), reference=7, actual=1, margin=2e-6),)
    decided = Decisions(compared=360, ties=2, top1=359, topk=342, k=5, flips=flips)
    page = render(factory.with_cell(factory.cell(diffs=(factory.diff(decisions=decided),))), worst=())
    assert "359 of 360 came out the same, 2 ties: [3] 7 became 1, margin 2.0e-06" in page
    assert ">99.72% / 95.00%<" in page


def test_how_the_original_treats_a_batch_is_one_of_the_facts():
    assert "The original gives a row the same result in a batch of any size" in render(factory.manifest(), worst=())


def test_markdown_and_the_page_have_the_same_sections_in_the_same_order():
    manifest = everything()
    sections = view(manifest).sections
    assert len(sections) > 8
    headings = [line.removeprefix("## ") for line in markdown.render(manifest).splitlines() if line.startswith("## ")]
    titles = [section.title for section in sections]
    assert [heading for heading in headings if heading in titles] == titles
    ids = re.findall(r'<h2 id="([a-z]+)-title">', render(manifest, worst=()))
    assert [name for name in ids if name in {section.id for section in sections}] == [each.id for each in sections]
