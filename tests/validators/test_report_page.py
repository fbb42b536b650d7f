"""The page of a release in a real Chromium: what a person sees, reads by keyboard and by screen reader, and prints."""

import itertools
import re
from dataclasses import replace

import factory
import numpy as np
import pytest
from test_report_html import FAST, HOSTILE, everything, named

from validators.contract import Histogram
from validators.release.evidence import write_evidence
from validators.report.html import render, render_comparison, worst_samples
from validators.report.view.comparison import compare_view
from validators.web.browser import BrowserHost
from validators.web.devtools import open_page

pytestmark = pytest.mark.slow

FOCUSABLE = (
    "[...document.querySelectorAll('a[href], summary, [tabindex=\"0\"]')].filter((each) => each.checkVisibility())"
)
# Every text with the contrast that it has against what lies behind it (WCAG 2.2, 1.4.3); the lowest first.
CONTRAST = """
(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    throw new Error('the page itself has no background');
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest('script, title, noscript')) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(parts(element.closest('svg') ? style.fill : style.color)), light(behind(element))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
  }
  return found.sort((one, other) => one[0] - other[0]);
})()
"""


@pytest.fixture(scope="module")
def host():
    with BrowserHost() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A page of each kind: a release that passed, one with everything and a hostile name in it, two side by side."""
    folder = tmp_path_factory.mktemp("pages")
    spread = Histogram(equal=10, nonfinite=0, first=-14, counts=(4, 0, 2))
    cells = tuple(
        replace(cell, performance=FAST, diffs=(factory.diff(errors=spread),)) for cell in factory.passed_cells()
    )
    good = factory.manifest(cells=cells)
    images = np.random.default_rng(3).normal(size=(360, 8, 8, 1)).astype("float32")
    set_ = factory.SAMPLES[0]
    write_evidence(folder, signature=factory.SIGNATURE, sets=(set_,), samples={set_.name: {"image": images}})
    bad = named(f"{HOSTILE}{'long' * 40}")
    texts = {
        "released": render(good, worst=worst_samples(folder, good)),
        "broken": render(bad, worst=()),
        "compared": render_comparison(compare_view(("a.release", HOSTILE), good, everything()), good, everything()),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, "utf-8")
    return folder


@pytest.fixture(params=["released", "broken", "compared"])
def page(request, host, pages):
    with open_page(host.endpoint()) as tab:
        tab.navigate((pages / f"{request.param}.html").as_uri())
        yield tab


def test_the_page_runs_without_a_complaint_asks_nobody_for_anything_and_draws_its_charts(page, capfd):
    page.evaluate("new Promise(requestAnimationFrame)")
    assert not re.findall(r"^\[page .*", capfd.readouterr().out, re.MULTILINE)
    assert page.evaluate("performance.getEntriesByType('resource').map((each) => each.name)") == []
    assert page.evaluate("[...document.images].every((each) => each.naturalWidth > 0)")
    drawn = page.evaluate(
        "[...document.querySelectorAll('figure.chart:not([hidden])')].map((each) => !!each.querySelector('svg'))"
    )
    assert len(drawn) >= 2
    assert all(drawn)


def test_everything_has_a_name_for_who_cannot_see_it_and_headings_are_in_order(page):
    page._command("Accessibility.enable")
    nodes = page._command("Accessibility.getFullAXTree")["nodes"]
    named_roles = {"link", "image", "region", "table", "navigation", "heading", "columnheader", "rowheader"}
    seen = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes if not node["ignored"]]
    assert {role for role, _ in seen} >= {"link", "region", "table", "heading", "columnheader", "rowheader", "main"}
    assert [role for role, name in seen if role in named_roles and not name.strip()] == []
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map((each) => Number(each.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(deeper - before <= 1 for before, deeper in itertools.pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en"


def test_the_keyboard_reaches_everything_that_can_be_used_in_the_order_of_the_page(page):
    wanted = page.evaluate(f"{FOCUSABLE}.length")
    page.evaluate(f"{FOCUSABLE}.forEach((each, index) => {{ each.dataset.place = index; }})")
    reached = []
    for _ in range(wanted):
        for kind in ("rawKeyDown", "keyUp"):
            page._command("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        reached.append(page.evaluate("document.activeElement.dataset.place"))
    assert reached == [str(place) for place in range(wanted)]
    assert wanted > 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_what_is_behind_it(page, scheme):
    page._command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    found = page.evaluate(CONTRAST)
    assert len(found) > 50
    assert [each for each in found if each[0] < 4.5] == []
    assert (
        page.evaluate("getComputedStyle(document.body).backgroundColor")
        == {
            "light": "rgb(255, 255, 255)",
            "dark": "rgb(13, 17, 23)",
        }[scheme]
    )


def test_on_a_telephone_only_tables_scroll_sideways_and_in_print_nothing_is_dark(page):
    page._command("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    page._command("Emulation.setEmulatedMedia", media="print", features=dark)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
