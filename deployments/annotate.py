"""What a GitHub job shows of a release: the step summary and one annotation for every cell that failed.

In: what `paritygate release --json` printed, a manifest or an error. Out: the report appended to the file that
GITHUB_STEP_SUMMARY names, and workflow commands on stdout.

    python -m deployments.annotate paritygate.json
"""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from validators.manifest import Manifest, adapter
from validators.report import markdown
from validators.report.text import one_line

_MOST = 1 << 20
"""Bytes of a step summary; GitHub drops a longer one whole (its documentation of job summaries)."""
_SHOWN = 10
"""Annotations of one kind that GitHub shows of a step; it drops the others without a word (actions/toolkit#734)."""
_CUT = "\n\n*The rest of the report is in the release's report.md.*\n"


def annotations(manifest: Manifest) -> Iterator[str]:
    """A workflow command for every cell that failed or broke, and for every other reason of a refusal.

    What does not stand against the release is a warning: a cell that broke and is not required, or one that is waived.
    """
    verdict = manifest.verdict
    waived = {reason.subject for reason in verdict.waived}
    bad = [cell for cell in manifest.cells if cell.status in {"failed", "errored"}]
    for cell in bad:
        yield command(
            cell.key, f"{cell.status}: {cell.reason}: {cell.message}", warning=verdict.passed or cell.key in waived
        )
    said = {name for cell in bad for name in (cell.key, f"{cell.format} {cell.runtime} {cell.device}")}
    for reason in verdict.reasons:
        if reason.subject not in said:
            yield command(reason.subject, f"{reason.code}: {reason.message}")


def shown(commands: Sequence[str]) -> list[str]:
    """The commands that a step's log holds: where there are too many of a kind, the last one says how many more."""
    found: list[str] = []
    for kind in ("error", "warning"):
        own = [each for each in commands if each.startswith(f"::{kind} ")]
        if len(own) > _SHOWN:
            more = f"{len(own) - _SHOWN + 1} more: the step summary has all of them"
            own = [*own[: _SHOWN - 1], command("more", more, warning=kind == "warning")]
        found += own
    return found


def command(title: str, message: str, *, warning: bool = False) -> str:
    """The workflow command that shows an error; texts of a model nobody trusts cannot end it or begin another."""
    kind = "warning" if warning else "error"
    return f"::{kind} title={_escaped(f'paritygate: {title}', ',:')}::{_escaped(message)}"


def _escaped(text: str, more: str = "") -> str:
    """Percent-encodes what workflow commands give a meaning (actions/toolkit, packages/core, command.ts)."""
    text = one_line(text)
    return "".join(f"%{ord(letter):02X}" if letter in f"%\r\n{more}" else letter for letter in text)


def summary(said: bytes) -> tuple[str, list[str]]:
    """The step summary and the annotations of what `paritygate release --json` printed."""
    answer = json.loads(said)
    if problem := answer.get("error"):
        message = f"{problem['message']} {problem['next_step']}".strip()
        return f"## paritygate: {markdown.prose(problem['kind'])}\n\n{markdown.prose(message)}\n", [
            command(problem["kind"], message)
        ]
    manifest = adapter().validate_json(said)
    return markdown.render(manifest), list(annotations(manifest))


def main() -> int:
    """Writes the summary and prints the annotations; the verdict is another step's."""
    try:
        text, commands = summary(Path(sys.argv[1]).read_bytes())
    except (OSError, ValueError):  # a step before failed, or the release was killed
        text, commands = "", [command("broken", "the release ended without a word: its step's log says why")]
    raw = text.encode()
    if len(raw) > _MOST:
        raw = raw[: _MOST - len(_CUT)].decode(errors="ignore").encode() + _CUT.encode()
    if target := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(target).open("ab") as stream:
            stream.write(raw)
    print("\n".join(shown(commands)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
