"""Writes `junit.xml`: one test case for each cell and each requirement, so that a CI server shows what failed and why.

In: a manifest. Out: XML in the shape that Jenkins, GitLab and GitHub's reporters share: `testsuites` > `testsuite` >
`properties`, `testcase` > `failure | error | skipped`, `system-out`.

`skipped` is only for what does not count against the release. A required cell that could not run is a failure here as
it is for the gate, and a verdict that is not `passed` always gives at least one failure or error.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from validators.contract import Reason
from validators.release.manifest import Manifest
from validators.report.view import View, view
from validators.report.view.cells import CellReport
from validators.report.view.notes import BaselineView
from validators.text import number, printable

_COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def render(manifest: Manifest) -> bytes:
    """Renders the report as UTF-8 XML with a declaration."""
    shown = view(manifest)
    gate = [_verdict_case(shown)]
    for requirement, reasons in shown.requirements:
        gate.append(case := _case("gate", f"requires {requirement}"))
        if reasons:
            tag = "error" if any(reason.broken for reason in reasons) else "failure"
            _outcome(case, tag, kind=reasons[0].code, message=reasons[0].message, details=_listed(reasons))
    root = ET.Element("testsuites", name="paritygate")
    seconds = sum(cell.seconds for cell in manifest.cells)
    root.append(_suite("cells", [_cell_case(report) for report in shown.cells], shown, seconds=seconds))
    root.append(_suite("gate", gate, shown, seconds=0.0))
    if shown.baseline:
        root.append(_suite("baseline", _baseline_cases(shown.baseline), shown, seconds=0.0))
    _count(root)
    root.set("time", root[0].get("time", ""))
    ET.indent(root, " ")
    xml: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _suite(name: str, cases: Sequence[ET.Element], shown: View, *, seconds: float) -> ET.Element:
    manifest = shown.manifest
    # The common schema wants a time without a zone; the manifest's is UTC.
    suite = ET.Element("testsuite", name=name, time=f"{seconds:.3f}", timestamp=manifest.created[:19])
    properties = ET.SubElement(suite, "properties")
    facts = {
        "verdict": shown.headline,
        "model": manifest.model.name,
        "model.sha256": manifest.model.digest,
        "paritygate": manifest.paritygate,
        "platform": manifest.platform,
        **{f"toolchain.{package}": version for package, version in sorted(manifest.toolchain.items())},
    }
    for key, value in facts.items():
        ET.SubElement(properties, "property", name=printable(key), value=printable(value))
    suite.extend(cases)
    _count(suite)
    return suite


def _count(element: ET.Element) -> None:
    element.set("tests", str(len(list(element.iter("testcase")))))
    for attribute, tag in _COUNTED.items():
        element.set(attribute, str(len(list(element.iter(tag)))))


def _cell_case(report: CellReport) -> ET.Element:
    cell, against, waived = report.cell, report.against, report.waived
    case = _case(f"{cell.format}/{cell.variant}", f"{cell.runtime} {cell.device}", seconds=cell.seconds)
    direct = [reason for reason in against if reason.subject == cell.key]
    if waived and not against:
        outcome = "skipped"
    elif cell.status == "errored":
        outcome = "error"
    elif cell.status == "failed" or direct or (against and cell.status != "passed"):
        outcome = "failure"
    elif cell.status == "passed":
        outcome = ""
    else:
        outcome = "skipped"
    if outcome:
        first = (
            f"waived {waived[0].message}"
            if outcome == "skipped" and waived
            else cell.message or (against[0].message if against else cell.reason)
        )
        _outcome(case, outcome, kind=cell.reason or cell.status, message=first, details=_details(report))
    _facts(case, report)
    return case


def _details(report: CellReport) -> str:
    cell = report.cell
    lines = [f"{cell.key}: {cell.status}", cell.message]
    lines += ["\n  ".join(problem) for problem in report.problems]
    lines += [f"gate: {reason.code}: {reason.message}" for reason in report.against if reason.message != cell.message]
    return "\n".join(line for line in lines if line)


def _facts(case: ET.Element, report: CellReport) -> None:
    cell = report.cell
    lines = [f"max abs {number(cell.max_abs)}"] if cell.diffs else []
    if report.place:
        lines.append(f"ran on {report.place}")
    lines += report.unseen
    if cell.log:
        lines.append(f"log: {cell.log}")
    if lines:
        ET.SubElement(case, "system-out").text = printable("\n".join(lines))


def _verdict_case(shown: View) -> ET.Element:
    """Makes the case of the verdict as a whole, which also carries the reasons that belong to no requirement."""
    case = _case("gate", "verdict")
    verdict, word = shown.manifest.verdict, shown.headline
    if not verdict.passed:
        tag = "error" if any(reason.broken for reason in verdict.reasons) else "failure"
        _outcome(case, tag, kind=word, message=f"{word}: {shown.summary}", details=_listed(verdict.reasons))
    return case


def _baseline_cases(baseline: BaselineView) -> list[ET.Element]:
    """Makes a case for each figure: failed where it is worse than allowed, skipped where it was not compared."""
    cases = []
    for figure, reason in baseline.figures:
        case = _case("baseline", f"{figure.what} {figure.subject}")
        if reason:
            _outcome(case, "failure", kind=f"{figure.what} regression", message=reason, details=reason)
        elif figure.why_not:
            _outcome(case, "skipped", kind="not compared", message=f"not compared: {figure.why_not}", details="")
        cases.append(case)
    return cases


def _listed(reasons: Sequence[Reason]) -> str:
    return "\n".join(f"{reason.code}: {reason.subject}: {reason.message}" for reason in reasons)


def _case(classname: str, name: str, *, seconds: float = 0.0) -> ET.Element:
    return ET.Element("testcase", classname=printable(classname), name=printable(name), time=f"{seconds:.3f}")


def _outcome(case: ET.Element, tag: str, *, kind: str, message: str, details: str) -> None:
    """Adds the outcome. A skipped case carries only its message: the common schema allows it no type."""
    outcome = ET.SubElement(case, tag, message=printable(message))
    outcome.text = printable(details)
    if tag != "skipped":
        outcome.set("type", printable(kind))
