import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import date

import factory
import pytest

from validators.contract import ComparisonBasis
from validators.gate.verdict import judge
from validators.report.junit import render

# The shape that Jenkins' junit-10.xsd, GitLab and the GitHub reporters agree on: allowed children in their order, and
# attributes (a trailing * marks one that must be there).
SHAPE = {
    "testsuites": (["testsuite"], {"name", "time", "tests", "failures", "errors", "skipped"}),
    "testsuite": (
        ["properties", "testcase", "system-out", "system-err"],
        {"name*", "tests*", "failures*", "errors*", "skipped", "time", "timestamp"},
    ),
    "properties": (["property"], set()),
    "property": ([], {"name*", "value*"}),
    "testcase": (["skipped", "error", "failure", "system-out", "system-err"], {"name*", "classname*", "time"}),
    "skipped": ([], {"message"}),
    "error": ([], {"message", "type*"}),
    "failure": ([], {"message", "type*"}),
    "system-out": ([], set()),
}


def parsed(manifest):
    return ET.fromstring(render(manifest))  # noqa: S314 - our own output, a moment old


def cell_case(manifest, key="tflite/dynamic", name="litert-xnnpack cpu"):
    (case,) = [c for c in parsed(manifest).iter("testcase") if (c.get("classname"), c.get("name")) == (key, name)]
    return case


def gate_case(manifest, name):
    (case,) = [c for c in parsed(manifest).find("testsuite[@name='gate']") if c.get("name") == name]
    return case


def outcome(case):
    """The tag of a test case's outcome, `passed` when it has none."""
    return next((child.tag for child in case if child.tag in {"failure", "error", "skipped"}), "passed")


def check_shape(element):
    children, attributes = SHAPE[element.tag]
    order = [children.index(child.tag) for child in element]
    assert order == sorted(order), (element.tag, [child.tag for child in element])
    names = {name.rstrip("*") for name in attributes}
    assert set(element.keys()) <= names, element.attrib
    assert {name.rstrip("*") for name in attributes if name.endswith("*")} <= set(element.keys()), element.attrib
    for child in element:
        check_shape(child)


def judged(manifest, required):
    """The gate's own verdict over a manifest."""
    policy = replace(manifest.policy, required=tuple(required))
    return judge(replace(manifest, policy=policy, grounds=ComparisonBasis(), baseline=None), today=date.max)


def blocked(cell):
    return factory.with_cell(cell)


def tolerated(cell):
    return factory.with_cell(cell, verdict=factory.manifest().verdict)


EXAMPLES = {
    "released": factory.manifest(),
    "failed": blocked(factory.failed_cell()),
    "errored": blocked(factory.cell_without_run("errored")),
    "skipped": tolerated(factory.cell_without_run("unavailable")),
    "empty": factory.manifest(cells=(), verdict=factory.refused(factory.reason("empty report", "release"))),
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_file_has_the_common_shape(example):
    root = parsed(EXAMPLES[example])
    check_shape(root)
    for suite in root:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp"))


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_counts_are_those_of_the_cases(example):
    root = parsed(EXAMPLES[example])
    for element in (root, *root):
        cases = list(element.iter("testcase"))
        assert int(element.get("tests")) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(element.get(attribute)) == sum(outcome(case) == tag for case in cases)


def test_a_release_is_all_green_with_a_case_for_each_cell_and_each_requirement():
    root = parsed(factory.manifest())
    assert [outcome(case) for case in root.iter("testcase")] == ["passed"] * (8 + 1 + 6)
    assert {(c.get("classname"), c.get("name")) for c in root[0].iter("testcase")} == {
        (f"{cell.format}/{cell.variant}", f"{cell.runtime} cpu") for cell in factory.passed_cells()
    }
    assert cell_case(factory.manifest()).get("time") == "0.400"
    assert root.get("time") == "3.200"


def test_a_failed_cell_says_what_failed_and_by_how_much():
    failure = cell_case(blocked(factory.failed_cell())).find("failure")
    assert failure.get("type") == "tolerance exceeded"
    assert failure.get("message") == "12 of 3600 elements of `digit` are beyond the tolerance"
    for part in ("worst at [3, 7]: reference 0.25, got 0.56", "1.0e-05 + 1.0e-04", "kernels add up"):
        assert part in failure.text


def test_a_cell_that_fails_without_being_required_is_a_failure():
    assert outcome(cell_case(tolerated(factory.failed_cell()))) == "failure"


def test_an_errored_cell_is_an_error():
    assert cell_case(blocked(factory.cell_without_run("errored"))).find("error").get("type") == "timeout"


@pytest.mark.parametrize("status", ["limited", "unavailable"])
def test_what_could_not_run_is_skipped_only_when_the_gate_does_not_mind(status):
    cell = factory.cell_without_run(status)
    by_requirement = factory.refused(factory.reason("missing required cell", "tflite litert-xnnpack cpu"))
    assert outcome(cell_case(tolerated(cell))) == "skipped"
    assert outcome(cell_case(blocked(cell))) == "failure"
    assert outcome(cell_case(factory.with_cell(cell, verdict=by_requirement))) == "failure"


def test_a_cell_that_says_it_passed_and_that_the_gate_refuses_is_a_failure():
    verdict = factory.refused(factory.reason("wrong device"))
    failure = cell_case(factory.manifest(verdict=verdict)).find("failure")
    assert failure.get("message") == "tflite/dynamic litert-xnnpack cpu: wrong device"


def test_a_passed_cell_stays_green_when_its_sibling_variant_fails():
    manifest = blocked(factory.failed_cell("tflite/batch1"))
    assert outcome(cell_case(manifest, "tflite/dynamic")) == "passed"


@pytest.mark.parametrize(
    ("reason", "tag"),
    [
        (factory.reason("missing required cell", "onnx onnxruntime cpu"), "failure"),
        (factory.reason("limited", "onnx/default"), "failure"),
        (factory.reason("errored", "onnx/default onnxruntime cpu", broken=True), "error"),
    ],
)
def test_a_requirement_that_is_not_met_is_never_green(reason, tag):
    manifest = factory.manifest(verdict=factory.refused(reason))
    assert outcome(gate_case(manifest, "requires onnx onnxruntime cpu")) == tag
    assert outcome(gate_case(manifest, "requires tfjs tfjs-cpu cpu")) == "passed"
    assert outcome(gate_case(manifest, "verdict")) == tag


@pytest.mark.parametrize("subject", ["release", "policy", "report.md"])
def test_a_refusal_that_concerns_no_cell_still_turns_the_report_red(subject):
    manifest = factory.manifest(verdict=factory.refused(factory.reason("digest mismatch", subject)))
    assert f"digest mismatch: {subject}" in gate_case(manifest, "verdict").find("failure").text


def test_a_verdict_without_reasons_that_is_not_passed_is_red():
    assert outcome(gate_case(factory.manifest(verdict=factory.refused()), "verdict")) == "failure"


def test_a_cell_that_left_samples_out_for_want_of_time_says_which_and_why():
    skipped = {"seeded": factory.slow(), "other": factory.other_batch()}
    text = cell_case(tolerated(factory.cell(skipped=skipped))).find("system-out").text
    assert "no time for seeded: 70 s were spent" in text
    assert "batches of 7" not in text


def test_characters_that_xml_forbids_are_spelled_out():
    text = "\x00\x1b[31m\ud800\uffff\x0b]]> <&\"' ünï"
    cell = factory.failed_cell(message=text, reason=text, log=text, runtime=text)
    manifest = factory.manifest(
        cells=(cell,),
        model=replace(factory.MODEL, name=text),
        verdict=factory.refused(factory.reason(text, text)),
        toolchain={text: text},
    )
    assert "\\x00\\x1b[31m\\ud800\\uffff\\x0b]]> <&\"' ünï" in parsed(manifest).find(".//failure").get("message")


@pytest.mark.parametrize("status", ["passed", "failed", "limited", "unavailable", "errored"])
@pytest.mark.parametrize("required", [factory.REQUIRED, factory.REQUIRED[:1]])
def test_the_gate_suite_is_green_exactly_when_the_gate_releases(status, required):
    changed = {"passed": factory.cell(), "failed": factory.failed_cell()}.get(status)
    base = factory.with_cell(changed or factory.cell_without_run(status))
    manifest = replace(base, verdict=judged(base, required))
    gate = parsed(manifest).find("testsuite[@name='gate']")
    assert all(outcome(case) == "passed" for case in gate.iter("testcase")) == manifest.verdict.passed
    if not manifest.verdict.passed:  # a limited variant is none of the gate's business while its sibling passed
        assert outcome(cell_case(manifest)) in {"failure", "error"}
