"""Fills the templates: one self-contained page, whatever the names in a model are.

In: a manifest, and the worst samples of the evidence. Out: the page as text. Every expression is made printable and
then escaped. The page's own policy allows it no network and only our two scripts, which it knows by their digests.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from validators.contract import PARTS, ToleranceOverride
from validators.release.manifest import Manifest
from validators.report.html.worst_samples import WorstSample
from validators.report.view import View, view
from validators.report.view.comparison import ComparisonView
from validators.report.view.outputs import errors_by_size
from validators.report.view.tables import comparisons
from validators.report.view.text import FILTERS, Name, Outcome, duration, limit, quoted
from validators.text import counted, number, printable, size

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = Path(__file__).parent
_SPAN = re.compile(r"`([^`]+)`")
_LONGEST = 60  # characters of a value
_SECTIONS = {
    "verdict": "Verdict",
    "matrix": "Matrix",
    "outputs": "Outputs",
    "worst": "Worst samples",
    "speed": "Size and speed",
}
_VERDICT_MARKS = {"RELEASED": "✓", "REFUSED": "✗", "BROKEN": "!", "AWAITING": "?"}


def render(manifest: Manifest, *, worst: Sequence[WorstSample] | None) -> str:
    """Renders the report of a release.

    Args:
        manifest: the release; its files may still be unrecorded, the report is one of them.
        worst: of `worst_samples`; None where the samples are private.
    """
    shown = view(manifest)
    return _page(
        "report.html.j2",
        view=shown,
        manifest=manifest,
        sections=[
            *_SECTIONS.items(),
            *((each.id, each.title) for each in shown.sections),
            ("provenance", "Provenance"),
        ],
        facts=_facts(shown),
        anchors={row.line.label: row.anchor for row in shown.matrix},
        worst=worst,
        sizes=[(manifest.model.name, manifest.model.size)]
        + [(each.key, each.size) for each in manifest.artifacts if each.status == "exported"],
        cores=_cores(manifest),
        provenance=_provenance(shown),
    )


def render_comparison(comparison: ComparisonView, first: Manifest, second: Manifest) -> str:
    """Renders the comparison of two releases, A and B."""
    return _page("compare.html.j2", comparison=comparison, sides=[("A", view(first)), ("B", view(second))])


def _page(template: str, **values: Any) -> str:
    from markupsafe import Markup

    files = {name: (_FOLDER / file).read_text("utf-8") for name, file in _FILES.items()}
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(files['style'])}; "
        f"script-src {_digest(files['d3'])} {_digest(files['charts'])}; base-uri 'none'; form-action 'none'"
    )
    inlined = {name: Markup(text) for name, text in files.items()}  # noqa: S704 - files of this package
    return templates().get_template(template).render(policy=policy, **inlined, **values)


_FILES = {"style": "style.css", "d3": "d3.min.js", "charts": "charts.js"}


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def templates() -> "Environment":
    """Returns the templates of this folder, in which every expression is made printable and escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    environment.filters |= {
        "verdict_mark": _VERDICT_MARKS.__getitem__,
        "prose": _prose,
        "limit": lambda diff: limit(diff.tolerance) if diff.elements else "-",
        "absolute": lambda diff: number(diff.tolerance.atol) if diff.tolerance else "exact",
        "comparisons": lambda rows: comparisons((row.cell, diff) for row in rows for diff in row.diffs),
        "errors_by_size": errors_by_size,
        "fixed": lambda value, digits: "-" if value is None else f"{value:.{digits}f}",
        "short": lambda text: text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…",
        "time": duration,
        "throughput": lambda timing: f"{timing.batch / timing.median:,.0f}" if timing.median else "-",
    }
    return environment


def _shown(value: object) -> object:
    """Makes a text printable, in the form of its kind; what is marked as ours stays."""
    from markupsafe import Markup

    if isinstance(value, Outcome):
        return Markup('<span class="status is-{}">{}</span>').format(value.status.replace(" ", "-"), value.text)
    if isinstance(value, tuple):
        return Markup(", ").join(Markup("{}").format(_shown(part)) for part in value)
    if isinstance(value, Name):
        return Markup("<code>{}</code>").format(printable(value))
    if value is None:
        return ""
    return printable(value) if type(value) is str else value


def _prose(text: object) -> object:
    """Turns names between backticks into code where the text is plain."""
    if type(text) is not str:
        return _shown(text)
    from markupsafe import Markup

    parts = _SPAN.split(printable(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )


def _facts(shown: View) -> list[tuple[str, str]]:
    manifest, model = shown.manifest, shown.manifest.model
    facts = [
        ("Model", size(model.size)),
        ("Layers", f"{model.layers:,}"),
        ("Parameters", f"{model.parameters:,}"),
        ("Written by", f"Keras {model.keras_version}"),
        ("Samples", f"{sum(each.rows for each in manifest.samples):,} rows in {counted(len(manifest.samples), 'set')}"),
        ("GPUs that count", manifest.policy.gpu),
    ]
    if task := manifest.grounds.task:
        facts.append((f"Original's {task.metric}", f"{task.original:.4f} of {counted(task.rows, 'row')}"))
    return facts


def _cores(manifest: Manifest) -> str:
    counts = {cell.performance.cores for cell in manifest.cells if cell.performance}
    return " or ".join(counted(count, "processor") for count in sorted(counts))


def _provenance(shown: View) -> list[tuple[str, str]]:
    manifest, model, policy = shown.manifest, shown.manifest.model, shown.manifest.policy
    by_hand = "; ".join(
        f"`{override.cells}`, output `{override.output}`: {parts}"
        for override in (*policy.tolerances, ToleranceOverride(atol=policy.atol, rtol=policy.rtol))
        if (parts := ", ".join(f"{part} {value:g}" for part in PARTS if (value := getattr(override, part)) is not None))
    )
    return [
        ("model", f"`{model.name}`, SHA-256 `{model.digest}`"),
        ("asked", f"SHA-256 `{manifest.asked}` over settings, model and samples" if manifest.asked else "not known"),
        ("paritygate", manifest.paritygate),
        ("required", quoted(map(str, policy.required))),
        ("elsewhere", quoted(map(str, policy.elsewhere)) or "none"),
        ("tolerance", f"by hand: {by_hand}" if by_hand else "by default, as derived for each output"),
        *shown.user_code,
    ]
