"""`junit.xml`: one test case for each cell and each requirement, so that a CI server shows what failed and why.

In: a manifest. Out: XML in the shape that Jenkins, GitLab and GitHub's reporters share: `testsuites` > `testsuite` >
`properties`, `testcase` > `failure | error | skipped`, `system-out`.

`skipped` is only for what does not stand against the release. A required cell that could not run is a failure here as
it is for the gate, and a verdict that is not `passed` always gives at least one failure or error.
"""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from validators.contract import Cell, Reason, Requirement
from validators.release.manifest import Manifest
from validators.report.matrix import against_cell, against_requirement, headline, summary
from validators.text import number, printable

_COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def render(manifest: Manifest) -> bytes:
    """The report as UTF-8 XML with a declaration."""
    cells = [_cell_case(manifest, cell) for cell in manifest.cells]
    gate = [_verdict_case(manifest)]
    gate += [_requirement_case(manifest, requirement) for requirement in manifest.verdict.required]
    root = ET.Element("testsuites", name="paritygate")
    root.append(_suite("cells", cells, manifest, seconds=sum(cell.seconds for cell in manifest.cells)))
    root.append(_suite("gate", gate, manifest, seconds=0.0))
    if manifest.baseline:
        root.append(_suite("baseline", _baseline_cases(manifest), manifest, seconds=0.0))
    _count(root)
    root.set("time", root[0].get("time", ""))
    ET.indent(root, " ")
    xml: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return xml + b"\n"


def _suite(name: str, cases: Sequence[ET.Element], manifest: Manifest, *, seconds: float) -> ET.Element:
    # The common schema wants a time without a zone; the manifest's is UTC.
    suite = ET.Element("testsuite", name=name, time=f"{seconds:.3f}", timestamp=manifest.created[:19])
    properties = ET.SubElement(suite, "properties")
    facts = {
        "verdict": headline(manifest.verdict),
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


def _cell_case(manifest: Manifest, cell: Cell) -> ET.Element:
    case = _case(f"{cell.format}/{cell.variant}", f"{cell.runtime} {cell.device}", seconds=cell.seconds)
    against = against_cell(manifest, cell)
    own = [reason for reason in against if reason.subject == cell.key]
    waived = [reason for reason in manifest.verdict.waived if reason.subject == cell.key]
    if waived and not against:
        outcome = "skipped"
    elif cell.status == "errored":
        outcome = "error"
    elif cell.status == "failed" or own or (against and cell.status != "passed"):
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
        _outcome(case, outcome, kind=cell.reason or cell.status, message=first, details=_details(cell, against))
    _facts(case, cell)
    return case


def _details(cell: Cell, against: Sequence[Reason]) -> str:
    lines = [f"{cell.key}: {cell.status}", cell.message]
    for diff in cell.diffs:
        if diff.passed:
            continue
        lines.append(f"{diff.name} over {diff.sample_set}: {diff.problem}: {diff.message}")
        lines.append(f"  {diff.failing} of {diff.elements} elements, max abs {number(diff.max_abs)}")
        if diff.worst:
            index = ", ".join(map(str, diff.worst.index))
            lines.append(f"  worst at [{index}]: reference {diff.worst.reference}, got {diff.worst.actual}")
        if diff.tolerance:
            limit = f"{number(diff.tolerance.atol)} + {number(diff.tolerance.rtol)} x |reference|"
            lines.append(f"  tolerance {limit}: {diff.tolerance.reason}")
    lines += [f"gate: {reason.code}: {reason.message}" for reason in against if reason.message != cell.message]
    return "\n".join(line for line in lines if line)


def _facts(case: ET.Element, cell: Cell) -> None:
    lines = [f"max abs {number(cell.max_abs)}"] if cell.diffs else []
    if place := cell.placement:
        lines.append(f"ran on {place.device}: {place.runtime}, {place.adapter}")
    lines += [f"no time for {name}: {why}" for name, why in cell.unseen.items()]
    if cell.log:
        lines.append(f"log: {cell.log}")
    if lines:
        ET.SubElement(case, "system-out").text = printable("\n".join(lines))


def _requirement_case(manifest: Manifest, requirement: Requirement) -> ET.Element:
    case = _case("gate", f"requires {requirement}")
    _blocked(case, against_requirement(manifest, requirement))
    return case


def _verdict_case(manifest: Manifest) -> ET.Element:
    """The verdict as a whole: it also carries the reasons that belong to no requirement."""
    case = _case("gate", "verdict")
    if not manifest.verdict.passed:
        reasons = manifest.verdict.reasons
        message = f"{headline(manifest.verdict)}: {summary(manifest)}"
        tag = "error" if any(reason.broken for reason in reasons) else "failure"
        _outcome(case, tag, kind=headline(manifest.verdict), message=message, details=_listed(reasons))
    return case


def _baseline_cases(manifest: Manifest) -> list[ET.Element]:
    """One case for each figure: failed where it is worse and stands against the release, skipped where not compared."""
    told = {(reason.code, reason.subject): reason.message for reason in manifest.verdict.reasons}
    cases = []
    for each in manifest.baseline.comparisons if manifest.baseline else ():
        case = _case("baseline", f"{each.what} {each.subject}")
        message = told.get((f"{each.what} regression", each.subject))
        if message:
            _outcome(case, "failure", kind=f"{each.what} regression", message=message, details=message)
        elif each.why_not:
            _outcome(case, "skipped", kind="not compared", message=f"not compared: {each.why_not}", details="")
        cases.append(case)
    return cases


def _blocked(case: ET.Element, reasons: Sequence[Reason]) -> None:
    if reasons:
        tag = "error" if any(reason.broken for reason in reasons) else "failure"
        _outcome(case, tag, kind=reasons[0].code, message=reasons[0].message, details=_listed(reasons))


def _listed(reasons: Sequence[Reason]) -> str:
    return "\n".join(f"{reason.code}: {reason.subject}: {reason.message}" for reason in reasons)


def _case(classname: str, name: str, *, seconds: float = 0.0) -> ET.Element:
    return ET.Element("testcase", classname=printable(classname), name=printable(name), time=f"{seconds:.3f}")


def _outcome(case: ET.Element, tag: str, *, kind: str, message: str, details: str) -> None:
    """Adds the outcome. A skipped case carries its message alone: the common schema allows it no type."""
    outcome = ET.SubElement(case, tag, message=printable(message))
    outcome.text = printable(details)
    if tag != "skipped":
        outcome.set("type", printable(kind))
