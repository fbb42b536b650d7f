"""Shows a release in a CI job: its report, and an annotation for every cell that failed.

In: the manifest of a release, or the error that `paritygate release --json` printed instead. Out, on GitHub: the
report, appended to the file that GITHUB_STEP_SUMMARY names, and workflow commands on stdout. On GitLab: a Code Quality
report, whose lines a merge request shows.

    python -m deployments.annotate paritygate.json
    python -m deployments.annotate paritygate.release/release.json --code-quality quality.json models/net.keras
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from validators.release.manifest import Manifest, adapter
from validators.report import markdown
from validators.text import one_line

_MOST = 1 << 20
"""Bytes of a step summary; GitHub drops a longer one completely (its documentation of job summaries)."""
_SHOWN = 10
"""Annotations of one kind that GitHub shows of a step; it drops the others without a word (actions/toolkit#734)."""
_CUT = "\n\n*The rest of the report is in the release's report.md.*\n"


@dataclass(frozen=True, slots=True)
class Annotation:
    """Describes a line that CI shows next to the job.

    Attributes:
        title: a cell, or another subject of a reason of the verdict.
        message: the problem.
        warning: whether the release passes in spite of it.
    """

    title: str
    message: str
    warning: bool = False


def annotations(manifest: Manifest) -> Iterator[Annotation]:
    """Yields one for every cell that failed or broke, and for every other reason of a refusal.

    What does not refuse the release is a warning: a cell that broke and is not required, or one that is waived.
    """
    verdict = manifest.verdict
    waived = {reason.subject for reason in verdict.waived}
    bad = [cell for cell in manifest.cells if cell.status in {"failed", "errored"}]
    for cell in bad:
        message = f"{cell.status}: {cell.reason}: {cell.message}"
        yield Annotation(cell.key, message, warning=verdict.passed or cell.key in waived)
    reported = {name for cell in bad for name in (cell.key, f"{cell.format} {cell.runtime} {cell.device}")}
    for reason in verdict.reasons:
        if reason.subject not in reported:
            yield Annotation(reason.subject, f"{reason.code}: {reason.message}")


def commands(found: Sequence[Annotation]) -> list[str]:
    """Builds GitHub's workflow commands; where there are too many of a kind, the last one counts the rest."""
    chosen: list[Annotation] = []
    for warning in (False, True):
        of_kind = [each for each in found if each.warning == warning]
        if len(of_kind) > _SHOWN:
            more = f"{len(of_kind) - _SHOWN + 1} more: the step summary has all of them"
            of_kind = [*of_kind[: _SHOWN - 1], Annotation("more", more, warning=warning)]
        chosen += of_kind
    return [command(each) for each in chosen]


def command(annotation: Annotation) -> str:
    """Builds the workflow command; text from an untrusted model cannot end it or start another."""
    kind = "warning" if annotation.warning else "error"
    return f"::{kind} title={_escaped(f'paritygate: {annotation.title}', ',:')}::{_escaped(annotation.message)}"


def code_quality(found: Sequence[Annotation], model: str) -> str:
    """Builds GitLab's Code Quality report (see its documentation, *Code Quality report format*) about the model's file.

    Args:
        found: the annotations.
        model: path of the model in the repository.
    """
    report = [
        {
            "description": one_line(f"{each.title}: {each.message}"),
            "check_name": "paritygate",
            # GitLab compares commits by it, so a problem that stays needs the same one, whatever its figures are.
            "fingerprint": hashlib.sha256(f"{model}\n{each.title}\n{each.warning}".encode()).hexdigest(),
            "severity": "minor" if each.warning else "blocker",
            "location": {"path": model, "lines": {"begin": 1}},
        }
        for each in found
    ]
    return json.dumps(report, indent=1) + "\n"


def _escaped(text: str, more: str = "") -> str:
    """Percent-encodes what workflow commands give a meaning (actions/toolkit, packages/core, command.ts)."""
    text = one_line(text)
    return "".join(f"%{ord(letter):02X}" if letter in f"%\r\n{more}" else letter for letter in text)


def summary(record: bytes) -> tuple[str, list[Annotation]]:
    """Returns the report and the annotations of a manifest, or of the error that was printed instead."""
    answer = json.loads(record)
    if problem := answer.get("error"):
        message = f"{problem['message']} {problem['next_step']}".strip()
        shown = f"## paritygate: {markdown.prose(problem['kind'])}\n\n{markdown.prose(message)}\n"
        return shown, [Annotation(problem["kind"], message)]
    manifest = adapter().validate_json(record)
    return markdown.render(manifest), list(annotations(manifest))


def main() -> int:
    """Writes the summary or the Code Quality report; another step judges."""
    parser = argparse.ArgumentParser(prog="python -m deployments.annotate", description=__doc__)
    parser.add_argument("record", type=Path, help="the manifest, or the error that was printed instead")
    parser.add_argument(
        "--code-quality",
        nargs=2,
        metavar=("FILE", "MODEL"),
        help="write GitLab's Code Quality report; MODEL is the model's path in the repository",
    )
    arguments = parser.parse_args()
    try:
        text, found = summary(arguments.record.read_bytes())
    except (OSError, ValueError):  # a step before failed, or the release was killed
        text, found = "", [Annotation("broken", "the release ended without a result: the log of its step says why")]
    if arguments.code_quality:
        file, model = arguments.code_quality
        Path(file).write_text(code_quality(found, model), "utf-8")
        return 0
    raw = text.encode()
    if len(raw) > _MOST:
        raw = raw[: _MOST - len(_CUT)].decode(errors="ignore").encode() + _CUT.encode()
    if target := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(target).open("ab") as stream:
            stream.write(raw)
    print("\n".join(commands(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
