"""Renders `report.md`: everything a release shows, for a person, also as plain text.

In: a manifest (its files may still be unrecorded: the report is one of them). Out: GitHub-flavoured Markdown. Names and
messages can come from a model that is not trusted, so every expression that is not marked as ours is escaped.
"""

import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from validators.release.manifest import Manifest
from validators.report.view import view
from validators.report.view.text import FILTERS, Digest, Name, Outcome, Table, pairs
from validators.text import one_line

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;"})
# An underscore inside a word emphasises nothing, and a single bracket makes no link: both stay readable as plain text.
_MARKS = re.compile(r"[`*~$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")
_SPAN = re.compile(r"(`[^`]+`)")
_BLANK_LINES = re.compile(r"\n{3,}")
_SHORT_DIGEST = 12
_SEVERITY = ("errored", "failed")


def render(manifest: Manifest) -> str:
    """Renders the report of a release."""
    shown = view(manifest)
    stopped = [report for report in shown.cells if report.cell.status in _SEVERITY]
    stopped.sort(key=lambda report: _SEVERITY.index(report.cell.status))
    text = _templates().get_template("report.md.j2").render(view=shown, manifest=manifest, stopped=stopped)
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
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.filters |= {"code": Name, "codes": lambda names: tuple(map(Name, names)), "pairs": pairs}
    environment.filters["table"] = _table
    return environment


def _shown(value: object) -> object:
    """Escapes a text by its kind; what is marked as ours stays."""
    if isinstance(value, Outcome):
        return value.text
    if isinstance(value, tuple):
        return ", ".join(str(_shown(part)) for part in value)
    if isinstance(value, Name):
        return code(value[:_SHORT_DIGEST] if isinstance(value, Digest) else value)
    if value is None:
        return ""
    return prose(value) if type(value) is str else value


def _table(table: Table) -> "Markup":
    """Writes a table whose columns line up as plain text too, nothing without rows; a bar within a cell is escaped."""
    from markupsafe import Markup

    rows = [[str(_shown(entry)) for entry in row] for row in table.rows]
    header = [name for name, _ in table.columns]
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    padded = (" | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return Markup("".join(f"| {line} |\n" for line in padded) if rows else "")  # noqa: S704 - what comes from a model was escaped
