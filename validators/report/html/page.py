"""Templates to HTML: one self-contained page, whatever the names in a model are.

In: a manifest, and what the release's evidence showed. Out: the page as text. Every expression is made printable and
then escaped; the page's own policy forbids it any network and any script but our two, which it knows by their digests.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from validators.contract import PARTS, OutputVariation, TensorDiff, ToleranceOverride
from validators.release.manifest import Manifest
from validators.report import view
from validators.report.comparison import Pair
from validators.report.html.worst_samples import WorstSample
from validators.report.matrix import headline, summary
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
    "baseline": "Against the baseline",
    "findings": "Findings, rewrites, weights",
    "evidence": "Samples",
    "provenance": "Provenance",
}
_VERDICT_MARKS = {"RELEASED": "✓", "REFUSED": "✗", "BROKEN": "!", "AWAITING": "?"}


def render(manifest: Manifest, *, worst: Sequence[WorstSample] | None) -> str:
    """The report of a release.

    Args:
        manifest: the release; its files may still be unrecorded, the report is one of them.
        worst: of `worst_samples`; None where the samples are private.
    """
    shown = view.view(manifest)
    return _page(
        "report.html.j2",
        view=shown,
        manifest=manifest,
        sections=[each for each in _SECTIONS.items() if each[0] != "baseline" or manifest.baseline],
        facts=_facts(shown),
        anchors={row.line.label: row.anchor for row in shown.matrix},
        outputs=tuple(view.outputs(manifest)),
        coverage=manifest.grounds.coverage,
        skipped=_skipped(manifest),
        worst=worst,
        private=worst is None,
        sizes=[(manifest.model.name, manifest.model.size)]
        + [(each.key, each.size) for each in manifest.artifacts if each.status == "exported"],
        speeds=view.speeds(manifest),
        cores=_cores(manifest),
        lints=view.findings(manifest, rewrites=False),
        rewrites=view.findings(manifest, rewrites=True),
        baseline=manifest.baseline,
        grounds=_grounds(manifest),
        provenance=_provenance(manifest),
    )


def render_pair(pair: Pair, first: Manifest, second: Manifest) -> str:
    """Two releases side by side.

    Args:
        pair: of `validators.report.comparison.pair`.
        first: the release A that it was made of.
        second: the release B.
    """
    return _page("compare.html.j2", pair=pair, first=first, second=second)


def _page(template: str, **values: Any) -> str:
    from markupsafe import Markup

    own = {name: (_FOLDER / file).read_text("utf-8") for name, file in _OWN.items()}
    policy = (
        f"default-src 'none'; img-src data:; style-src {_digest(own['style'])}; "
        f"script-src {_digest(own['d3'])} {_digest(own['charts'])}; base-uri 'none'; form-action 'none'"
    )
    ours = {name: Markup(text) for name, text in own.items()}  # noqa: S704 - files of this package
    return templates().get_template(template).render(policy=policy, **ours, **values)


_OWN = {"style": "style.css", "d3": "d3.min.js", "charts": "charts.js"}


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def templates() -> "Environment":
    """The templates of this folder, in which every expression is made printable and escaped."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= view.FILTERS
    environment.filters |= {
        "headline": headline,
        "verdict_mark": _VERDICT_MARKS.__getitem__,
        "summary": summary,
        "prose": _prose,
        "limit": _limit,
        "absolute": _absolute,
        "decades": view.decades,
        "fixed": lambda value, digits: "-" if value is None else f"{value:.{digits}f}",
        "agreement": _agreement,
        "flips": _flips,
        "flipped": lambda rows: [
            (row.cell.key, diff) for row in rows for diff in row.diffs if diff.decisions and diff.decisions.flips
        ],
        "coverage": _coverage,
        "short": lambda text: text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…",
        "time": _time,
        "throughput": lambda timing: f"{timing.batch / timing.median:,.0f}" if timing.median else "-",
        "pairs": lambda values: ", ".join(f"{name} {value}" for name, value in sorted(values.items())),
    }
    return environment


def _shown(value: object) -> object:
    """Text without what could steer a reader's screen; what is marked as ours stays."""
    return printable(value) if type(value) is str else value


def _prose(text: str) -> Any:
    """A message in which names between backticks become code."""
    from markupsafe import Markup

    parts = _SPAN.split(printable(text))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if index % 2 else part for index, part in enumerate(parts)
    )


def _limit(diff: TensorDiff | None) -> str:
    if diff is None or not diff.elements:
        return "-"
    if diff.tolerance is None:
        return "exact"
    return f"{number(diff.tolerance.atol)} + {number(diff.tolerance.rtol)} x |reference|"


def _absolute(diff: TensorDiff | None) -> str:
    if diff is None or not diff.elements:
        return "-"
    return number(diff.tolerance.atol) if diff.tolerance else "exact"


def _agreement(row: view.OutputRow) -> str:
    known = [diff.decisions for diff in row.diffs if diff.decisions]
    compared = sum(each.compared for each in known)
    first, several = (sum(each) for each in zip(*((d.top1, d.topk) for d in known), strict=True)) if known else (0, 0)
    return f"{first / compared:.2%} / {several / compared:.2%}" if compared else "-"


def _flips(row: view.OutputRow) -> str:
    known = [diff.decisions for diff in row.diffs if diff.decisions]
    return str(sum(each.compared - each.top1 for each in known)) if known else "-"


def _coverage(coverage: OutputVariation) -> str:
    if coverage.weak:
        return f"WeakEvidenceAction evidence: {coverage.why}."
    return (
        f"Over all samples it runs through {number(coverage.spread)}; its largest magnitude: {number(coverage.scale)}."
    )


def _time(seconds: float) -> str:
    """A duration in the unit that suits it: `31 µs`, `4.2 ms`, `1.3 s`."""
    for factor, unit in ((1e6, "µs"), (1e3, "ms")):
        if seconds * factor < 1000:  # noqa: PLR2004 - the next unit
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds:.3g} s"


def _facts(shown: view.View) -> list[tuple[str, str]]:
    manifest, model = shown.manifest, shown.manifest.model
    facts = [
        ("Model", size(model.size)),
        ("Layers", f"{model.layers:,}"),
        ("Parameters", f"{model.parameters:,}"),
        ("Written by", f"Keras {model.keras_version}"),
        ("Samples", f"{sum(each.rows for each in manifest.samples):,} rows in {counted(len(manifest.samples), 'set')}"),
        ("GPUs that count", manifest.policy.gpu),
        ("Rows of a batch", shown.batches),
    ]
    if task := manifest.grounds.task:
        facts.append((f"Original's {task.metric}", f"{task.original:.4f} of {counted(task.rows, 'row')}"))
    return facts


def _skipped(manifest: Manifest) -> list[tuple[str, list[str]]]:
    found: dict[str, list[str]] = {}
    for cell in manifest.cells:
        for name, skip in cell.skipped.items():
            found.setdefault(f"{skip.kind}: `{name}`, {skip.why}", []).append(cell.key)
    return list(found.items())


def _cores(manifest: Manifest) -> str:
    counts = {cell.performance.cores for cell in manifest.cells if cell.performance}
    return " or ".join(counted(count, "processor") for count in sorted(counts))


def _grounds(manifest: Manifest) -> list[str]:
    grounds = manifest.grounds
    said = [
        f"Input `{name}`: {domain.low:g} to {domain.high:g}{', whole numbers' * domain.whole}: {domain.why}."
        for name, domain in grounds.domains.items()
    ]
    said += [f"Left out: `{name}`: {why}." for name, why in grounds.dropped.items()]
    tasks = [(cell, cell.task) for cell in manifest.cells if cell.task is not None]
    if grounds.task and tasks:
        values = ", ".join(f"`{cell.key}` {task:.4f}" for cell, task in tasks)
        said.append(f"{grounds.task.metric} on the labelled samples, original {grounds.task.original:.4f}: {values}.")
    return said


def _provenance(manifest: Manifest) -> list[tuple[str, str]]:
    model, policy = manifest.model, manifest.policy
    by_hand = "; ".join(
        f"`{own.cells}`, output `{own.output}`: {parts}"
        for own in (*policy.tolerances, ToleranceOverride(atol=policy.atol, rtol=policy.rtol))
        if (parts := ", ".join(f"{part} {value:g}" for part in PARTS if (value := getattr(own, part)) is not None))
    )
    facts = [
        ("model", f"`{model.name}`, SHA-256 `{model.digest}`"),
        ("asked", f"SHA-256 `{manifest.asked}` over settings, model and samples" if manifest.asked else "not known"),
        ("machine", manifest.platform),
        ("paritygate", manifest.paritygate),
        ("required", ", ".join(f"`{each}`" for each in policy.required)),
        ("elsewhere", ", ".join(f"`{each}`" for each in policy.elsewhere) or "none"),
        ("tolerance", f"by hand: {by_hand}" if by_hand else "by default, as derived for each output"),
        ("trusted by the user", ", ".join(model.trusted) or "nothing"),
    ]
    for used in model.custom_objects:
        origin = f"`{used.given}`" if used.given else f"module `{used.module}`"
        digest = f", SHA-256 `{used.digest}`" if used.digest else ""
        facts.append((f"the user's own {used.kind}", f"`{used.name}` from {origin}{digest}"))
    facts += [("bytecode that ran", f"layer `{each.layer}` ({each.position})") for each in model.lambdas]
    return facts
