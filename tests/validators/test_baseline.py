"""A release beside its baseline: what is worse, what is not, and what says why it is not compared."""

import math
import xml.etree.ElementTree as ET
from dataclasses import replace

import factory
import pytest

from exporters.contract import FileRecord
from validators.contract import BaselineRecord, Comparison, Performance, RegressionLimits, Task, Timing
from validators.gate.regressions import compare_releases, regressions
from validators.report import junit, markdown

LIMITS = RegressionLimits()
KEY = "tflite/dynamic litert-xnnpack cpu"
TASK = Task(metric="accuracy", output="digit", original=0.96, rows=64)


def performance(median=0.002, **changes):
    timing = Timing(
        batch=1, shapes={"image": (1, 8, 8, 1)}, warm_up=1, calls=10, fastest=median, median=median, p95=median
    )
    timings = changes.pop("timings", (timing,))
    return replace(Performance(load=0.1, first=0.01, clock="process", threads=2, cores=2, timings=timings), **changes)


def release(*, task=0.95, files=("aa",), speed=None, **cell):
    """A release whose one cell is timed and measured."""
    one = factory.cell(task=task, performance=speed or performance(), **cell)
    manifest = factory.manifest(cells=(one,), artifacts=(factory.artifact(),))
    rows = tuple(FileRecord(path=f"evidence/samples/user/{name}.npy", size=1, sha256=name) for name in files)
    return replace(manifest, grounds=replace(manifest.grounds, task=TASK), files=rows)


def compared(now, before=None, limits=LIMITS):
    return {(each.what, each.subject): each for each in compare_releases(now, before or release(), limits)}


def codes(now, before=None, limits=LIMITS):
    return [reason.code for reason in regressions(record(now, before, limits))]


def record(now, before=None, limits=LIMITS):
    comparisons = compare_releases(now, before or release(), limits)
    return BaselineRecord(
        digest="ab" * 32, model="m.keras", created="c", headline="RELEASED", limits=limits, comparisons=comparisons
    )


def test_a_release_is_no_worse_than_itself_and_every_figure_is_compared():
    figures = compared(release())
    assert list(figures) == [
        ("size", "tflite/dynamic"),
        ("latency", KEY),
        ("distance", KEY),
        ("metric", "original"),
        ("metric", KEY),
    ]
    assert not any(each.why_not or each.regressed for each in figures.values())
    assert codes(release()) == []


def larger(factor):
    now = release()
    return replace(now, artifacts=(factory.artifact(size=int(102_400 * factor)),))


def further(distance):
    return release(diffs=(factory.diff(max_abs=distance),))


@pytest.mark.parametrize(
    ("within", "beyond", "code"),
    [
        (larger(1.0999), larger(1.101), "size regression"),
        (release(speed=performance(0.004)), release(speed=performance(0.00401)), "latency regression"),
        (further(3.9e-6), further(4.1e-6), "distance regression"),
        (release(task=0.931), release(task=0.929), "metric regression"),
    ],
)
def test_each_figure_has_its_limit_and_its_name(within, beyond, code):
    assert codes(within) == []
    assert codes(beyond) == [code]


def test_a_better_release_is_no_regression():
    assert codes(larger(0.1)) == codes(further(0.0)) == codes(release(task=1.0, speed=performance(0.0001))) == []


def test_the_limits_of_the_policy_decide():
    tight = RegressionLimits(size_ratio=0.5, latency_ratio=0.5, distance_ratio=0.01, metric_drop=0.0)
    assert codes(release(), limits=tight) == ["size regression", "latency regression", "distance regression"]
    assert codes(release(task=0.9), limits=replace(tight, metric_drop=0.1))[-1:] == ["distance regression"]


def test_rounding_far_below_the_tolerance_never_counts():
    assert codes(further(3.9e-6), further(1e-12)) == []
    assert codes(further(4.1e-6), further(1e-12)) == ["distance regression"]


@pytest.mark.parametrize("task", [math.nan, -math.inf])
def test_a_metric_that_is_no_number_is_worse(task):
    assert codes(release(task=task)) == ["metric regression"]


def test_the_reason_says_both_figures_and_the_limit():
    (reason,) = regressions(record(release(speed=performance(0.01))))
    assert reason.subject == KEY
    assert reason.message == "10 ms, the baseline abababababab has 2 ms and allows 4 ms (latency_ratio 2)"


OTHER = (Timing(batch=2, shapes={"image": (2, 8, 8, 1)}, warm_up=1, calls=10, fastest=1, median=1, p95=1),)
FEW = (replace(OTHER[0], batch=1, shapes={"image": (1, 8, 8, 1)}, calls=2),)
PLACE = factory.cell().placement


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda now: replace(now, processor="Another"), "another processor: Another, the baseline had A processor"),
        (lambda now: replace(now, platform="Darwin arm64, Python 3.11.7"), "another system: Darwin arm64"),
        (lambda _: release(placement=replace(PLACE, adapter="none")), "another adapter: none"),
        (lambda _: release(speed=performance(threads=8)), "another number of threads: 8"),
        (lambda _: release(speed=performance(cores=64)), "another number of cores: 64"),
        (lambda _: release(speed=performance(clock="page")), "another clock: page"),
        (lambda _: release(speed=performance(timings=OTHER)), "no inputs of the same shapes"),
        (lambda _: release(speed=performance(timings=FEW)), "fewer than 3 calls"),
        (
            lambda now: replace(now, cells=tuple(replace(cell, performance=None) for cell in now.cells)),
            "one of the two was not timed",
        ),
    ],
)
def test_latencies_of_other_conditions_are_not_compared_and_say_why(change, why):
    latency = compared(change(release()))["latency", KEY]
    assert why in latency.why_not
    assert (latency.before, latency.now, latency.regressed) == (None, None, False)


def test_another_version_of_python_or_of_the_runtime_is_compared():
    now = replace(release(), platform="Linux x86_64, Python 3.12.1")
    assert not compared(now)["latency", KEY].why_not
    assert not compared(release(placement=replace(PLACE, runtime="ai-edge-litert 3.0")))["latency", KEY].why_not


def test_what_only_one_of_the_two_has_is_told_of_both_ways():
    other = factory.cell("onnx/default", "onnxruntime", performance=performance())
    more = replace(release(), cells=(*release().cells, other), artifacts=(factory.artifact("onnx/default"),))
    ours, theirs = compared(more), compared(release(), more)
    assert ours["latency", other.key].why_not == "in this release it is passed; in the baseline it was not run"
    assert theirs["latency", other.key].why_not == "in this release it was not run; in the baseline it is passed"
    assert (
        ours["size", "tflite/dynamic"].why_not == "in this release it is not asked for; in the baseline it is exported"
    )
    failed = replace(release(), cells=(factory.failed_cell(),))
    assert compared(failed)["distance", KEY].why_not == "in this release it is failed; in the baseline it is passed"


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (replace(release(), grounds=replace(release().grounds, task=None)), "this release has no labelled samples"),
        (release(files=("bb",)), "the labelled samples are not the baseline's"),
    ],
)
def test_a_metric_over_other_rows_is_not_compared(now, why):
    figures = compared(now)
    assert figures["metric", "original"].why_not == why
    assert ("metric", KEY) not in figures


def test_a_metric_that_one_of_the_two_did_not_measure_is_told_of():
    assert compared(release(task=None))["metric", KEY].why_not == "this release did not measure it"
    assert compared(release(), release(task=None))["metric", KEY].why_not == "the baseline did not measure it"
    assert ("metric", KEY) not in compared(release(task=None), release(task=None))


def test_the_report_shows_every_figure_and_what_was_not_compared():
    now = replace(release(speed=performance(0.01)), processor="Another")
    now = replace(now, baseline=record(replace(now, artifacts=larger(2).artifacts)))
    text = markdown.render(now)
    assert "## Against the baseline" in text
    assert "| size " in text
    assert "| ✗ worse " in text
    assert f"- Not compared: latency: another processor: Another, the baseline had A processor: `{KEY}`" in text


def test_junit_has_a_case_for_every_figure_and_skips_what_was_not_compared():
    worse = record(larger(2))
    now = replace(replace(larger(2), processor="Another"), baseline=worse)
    now = replace(now, verdict=factory.refused(*regressions(worse)))
    now = replace(
        now,
        baseline=replace(worse, comparisons=(*worse.comparisons, Comparison(what="metric", subject="x", why_not="y"))),
    )
    root = ET.fromstring(junit.render(now))  # noqa: S314 - our own output, a moment old
    (suite,) = [suite for suite in root if suite.get("name") == "baseline"]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("6", "1", "1")
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "size regression"


def test_a_variants_own_size_limit_takes_the_place_of_that_of_all():
    now, before = release(), release()
    larger = replace(now, artifacts=(replace(now.artifacts[0], size=int(before.artifacts[0].size * 1.4)),))
    size = ("size", "tflite/dynamic")
    assert compared(larger, before)[size].regressed
    assert not compared(larger, before, RegressionLimits(size_ratios={"tflite/dynamic": 1.5}))[size].regressed
    assert compared(larger, before, RegressionLimits(size_ratios={"tflite/batch1": 1.5}))[size].regressed
    own = RegressionLimits(size_ratios={"tflite/dynamic": 1.2})
    record = BaselineRecord(
        digest="aa",
        model="m",
        created="",
        headline="RELEASED",
        limits=own,
        comparisons=compare_releases(larger, before, own),
    )
    assert "(size_ratio 1.2)" in next(each for each in regressions(record) if each.code == "size regression").message
