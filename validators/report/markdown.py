"""`report.md`: everything a release shows, for a person, also as plain text.

In: a manifest (its files may still be unrecorded: the report is one of them). Out: GitHub-flavoured Markdown. Names and
messages can come from a model that nobody trusts, so the template escapes every expression that is not marked as ours.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from exporters.contract import Artifact
from validators.contract import Cell, Noise, TensorDiff, Tolerance
from validators.release.manifest import Manifest
from validators.report.matrix import not_run
from validators.report.view import FILTERS, view
from validators.text import number, one_line

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;"})
# An underscore inside a word emphasises nothing, and a bracket alone makes no link: both stay readable as plain text.
_MARKS = re.compile(r"[`*~$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")
_SPAN = re.compile(r"(`[^`]+`)")
_BLANK_LINES = re.compile(r"\n{3,}")
_SEVERITY = ("errored", "failed")


def render(manifest: Manifest) -> str:
    """Renders the report of a release."""
    cells, grounds = manifest.cells, manifest.grounds
    stopped = [cell for cell in cells if cell.status in _SEVERITY]
    subjects: list[Artifact | Cell] = [*manifest.artifacts, *cells]
    text = (
        _templates()
        .get_template("report.md.j2")
        .render(
            view=view(manifest),
            manifest=manifest,
            model=manifest.model,
            grounds=grounds,
            baseline=manifest.baseline,
            missing=[artifact for artifact in manifest.artifacts if artifact.status != "exported"],
            stopped=sorted(stopped, key=lambda cell: _SEVERITY.index(cell.status)),
            not_run=not_run(cells),
            findings=[(where.key, found) for where in subjects for found in where.findings],
            unseen=[(cell.key, name, why) for cell in cells for name, why in cell.unseen.items()],
            fixed=tuple(
                dict.fromkeys(f"{cell.format}/{cell.variant}" for cell in cells if len(cell.skipped) > len(cell.unseen))
            ),
            rounding=_rounding(manifest),
            margin=manifest.policy.task_margin,
        )
    )
    # No expression holds a line break, so that blank lines are the template's: those between its tags are left out.
    return _BLANK_LINES.sub("\n\n", text).strip("\n") + "\n"


def code(name: str) -> str:
    """Puts a name in a code span; escapes it as prose where it holds what a code span or a table cannot."""
    name = one_line(name)
    return f"`{name}`" if name and not {"`", "|", "\\"} & set(name) else _escaped(name)


def prose(text: str) -> str:
    """Puts a text on one line that Markdown and HTML show as it is; names between backticks stay code."""
    parts = _SPAN.split(one_line(text))
    return "".join(code(part[1:-1]) if index % 2 else _escaped(part) for index, part in enumerate(parts))


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", text.translate(_ENTITIES))


@cache
def _templates() -> "Environment":
    """Returns the templates of this folder, in which every text that is not marked as ours is escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(  # noqa: S701 - `finalize` escapes, for Markdown
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        finalize=lambda value: prose(value) if type(value) is str else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.filters |= {
        "code": _code,
        "codes": lambda names: _ours(", ".join(map(code, names))),
        "limit": _limit,
        "pairs": _pairs,
        "table": _table,
        "told_by": _told_by,
    }
    return environment


def _ours(text: str) -> "Markup":
    """Marks Markdown that is not to be escaped."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - what comes from a model was escaped before


def _code(name: str) -> "Markup":
    return _ours(code(name))


def _table(text: str) -> "Markup":
    """Aligns rows of cells between bars; a bar within a cell was escaped. The columns line up as plain text too."""
    header, *rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines() if line]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return _ours(
        "\n".join(
            f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
        )
        + "\n"
    )


def _told_by(cell: Cell, failed: Sequence[TensorDiff]) -> bool:
    """Returns whether the message of a cell repeats that of a comparison."""
    return any(cell.message.startswith(diff.message) for diff in failed)


def _limit(tolerance: Tolerance | None) -> str:
    return f"{number(tolerance.atol)} + {number(tolerance.rtol)}" if tolerance else "exact"


def _pairs(values: Mapping[str, object] | None) -> "Markup":
    return _ours(", ".join(f"{prose(name)} = {prose(str(value))}" for name, value in sorted((values or {}).items())))


def _rounding(manifest: Manifest) -> Mapping[tuple[str, Noise], Iterable[str]]:
    """Groups the sets over which an output of the original loses the same, the measure of every tolerance."""
    told: dict[tuple[str, Noise], list[str]] = {}
    for name, by_output in manifest.grounds.noise.items():
        for output, noise in by_output.items():
            told.setdefault((output, noise), []).append(name)
    return told
