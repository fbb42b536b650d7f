"""`report.md`: everything a release shows, for a person, also as plain text.

In: a manifest (its files may still be unrecorded: the report is one of them). Out: GitHub-flavoured Markdown. Names and
messages can come from a model that nobody trusts, so every text that is not ours passes `code` or `prose`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

from exporters.contract import Artifact
from validators.contract import Cell, Noise, TensorDiff, Tolerance
from validators.gate.regressions import said
from validators.gate.weight_reasons import sentence
from validators.gate.weight_reasons import summary as summary_of
from validators.release.manifest import Manifest
from validators.report.matrix import BATCHES, build, decided, headline, mark, not_run, split_note, summary
from validators.text import counted, number, one_line, size

_ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;", "\\": "&#92;"})
# An underscore inside a word emphasises nothing, and a bracket alone makes no link: both stay readable as plain text.
_MARKS = re.compile(r"[`*~$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])")
_SPAN = re.compile(r"(`[^`]+`)")
_SEVERITY = ("errored", "failed")


def render(manifest: Manifest) -> str:
    """The report of a release."""
    sections = (
        _verdict,
        _matrix,
        _not_passed,
        _findings,
        _weights,
        _places,
        _baseline,
        _artifacts,
        _comparisons,
        _rounding,
        _task,
        _samples,
        _toolchain,
        _interrupted,
        _limits,
        _verify,
    )
    blocks = [block for section in sections for block in section(manifest)]
    return "\n\n".join(blocks) + "\n"


def code(name: str) -> str:
    """A name in a code span; escaped as prose where it holds what a code span or a table cannot."""
    name = one_line(name)
    return f"`{name}`" if name and not {"`", "|", "\\"} & set(name) else _escaped(name)


def prose(text: str) -> str:
    """A text on one line that Markdown and HTML show as it is; names that stand between backticks stay code."""
    parts = _SPAN.split(one_line(text))
    return "".join(code(part[1:-1]) if index % 2 else _escaped(part) for index, part in enumerate(parts))


def _escaped(text: str) -> str:
    return _MARKS.sub(r"\\\g<0>", text.translate(_ENTITIES))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns line up as plain text too."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "\n".join(
        f"| {' | '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))} |" for line in lines
    )


def _verdict(manifest: Manifest) -> Iterator[str]:
    yield f"# {headline(manifest.verdict)}: {prose(manifest.model.name)}"
    model = manifest.model
    yield (
        f"{summary(manifest)}. Made {prose(manifest.created)} by paritygate {prose(manifest.paritygate)}.\n\n"
        f"Model {code(model.name)}: {size(model.size)}, {counted(model.layers, 'layer')}, "
        f"{counted(model.parameters, 'parameter')}, Keras {prose(model.keras_version)}, SHA-256 {code(model.digest)}."
    )
    if model.trusted:
        yield f"Trusted by the user: {', '.join(map(code, model.trusted))}."
    if lines := [*_own_code(manifest), *_bytecode(manifest)]:
        yield "\n".join(lines)
    if manifest.verdict.reasons:
        yield "\n".join(
            f"- **{prose(reason.code)}** {code(reason.subject)}: {prose(reason.message)}"
            for reason in manifest.verdict.reasons
        )
    if manifest.verdict.waived:
        yield "\n".join(
            f"- waived **{prose(reason.code)}** {code(reason.subject)}: {prose(reason.message)}"
            for reason in manifest.verdict.waived
        )


def _own_code(manifest: Manifest) -> Iterator[str]:
    """What of the user's own code the model was built with."""
    for used in manifest.model.custom_objects:
        origin = code(used.given) if used.given else f"module {code(used.module)}"
        layers = f" in {', '.join(map(code, used.layers))}" if used.layers else ""
        digest = f", SHA-256 {code(used.digest)}" if used.digest else ""
        yield f"- Code of the user's own: {prose(used.kind)} {code(used.name)} from {origin}{digest}{layers}"


def _bytecode(manifest: Manifest) -> Iterator[str]:
    """The Lambda layers that ran."""
    for each in manifest.model.lambdas:
        names = f", which names {prose(each.names)}" if each.names else ""
        yield f"- Bytecode that ran unchecked: layer {code(each.layer)} ({prose(each.position)}){names}"


def _matrix(manifest: Manifest) -> Iterator[str]:
    yield "## Matrix"
    yield "Status and largest distance from the Keras reference, and where each copy ran."
    header = ("artifact", "runtime", "device", "result", "where")
    yield _table(
        header,
        [
            (code(line.artifact), prose(line.runtime), line.device, line.result(), prose(line.remarks))
            for line in build(manifest)
        ],
    )


def _not_passed(manifest: Manifest) -> Iterator[str]:
    blocks = []
    for artifact in manifest.artifacts:
        if artifact.status != "exported":
            blocks.append(f"### {mark(artifact.status)} {code(artifact.key)}: {artifact.status}")
            blocks.append(f"There is no artifact: {prose(artifact.reason)}")
    told = not_run(manifest.cells)
    stopped = [cell for cell in manifest.cells if cell.status in {"failed", "errored"}]
    for cell in sorted(stopped, key=lambda cell: _SEVERITY.index(cell.status)):
        blocks += _cell(cell)
    for message, cells in told.items():
        names = ", ".join(code(cell.key) for cell in cells)
        status = cells[0].status
        blocks.append(f"### {mark(status)} {names}: {status} ({prose(cells[0].reason)})")
        blocks.append(f"- What: {prose(message)}")
    if blocks:
        yield "## What did not pass"
        yield from blocks


def _cell(cell: Cell) -> Iterator[str]:
    why = f" ({prose(cell.reason)})" if cell.reason else ""
    yield f"### {mark(cell.status)} {code(cell.key)}: {cell.status}{why}"
    failed = [diff for diff in cell.diffs if not diff.passed]
    said = any(cell.message.startswith(diff.message) for diff in failed)
    lines = [f"- What: {prose(cell.message)}"] if cell.message and not said else []
    lines += [_difference(diff) for diff in failed]
    if place := cell.placement:
        details = "".join(f", {prose(key)} {prose(value)}" for key, value in sorted(place.details.items()))
        lines.append(f"- Where it ran: {place.device}, {prose(place.runtime)}, {prose(place.where)}{details}")
    if cell.log:
        lines.append(f"- Log: {code(cell.log)}")
    yield "\n".join(lines)


def _difference(diff: TensorDiff) -> str:
    parts = [f"- {prose(diff.problem)}, output {code(diff.name)} over {code(diff.sample_set)}: {prose(diff.message)}."]
    if diff.elements:
        parts.append(f"{diff.failing} of {counted(diff.elements, 'element')} beyond {_allowed(diff.tolerance)}.")
    if diff.nonfinite_mismatches:
        parts.append(f"{counted(diff.nonfinite_mismatches, 'element')} with another NaN or infinity.")
    if worst := diff.worst:
        index = ", ".join(map(str, worst.index))
        parts.append(f"Worst at [{index}]: reference {prose(worst.reference)}, got {prose(worst.actual)}.")
    return "\n  ".join(parts)


def _allowed(tolerance: Tolerance | None) -> str:
    if tolerance is None:
        return "what is allowed (an exact comparison)"
    limit = f"{number(tolerance.atol)} + {number(tolerance.rtol)} x the reference's magnitude"
    return f"the tolerance {limit} ({prose(tolerance.reason)})"


def _findings(manifest: Manifest) -> Iterator[str]:
    lines = []
    subjects: list[Artifact | Cell] = [*manifest.artifacts, *manifest.cells]
    for where in subjects:
        for found in where.findings:
            weight = "blocks" if found.blocking else "a note"
            way_out = f"; way out: {prose(found.way_out)}" if found.way_out else ""
            lines.append(f"- {code(where.key)} **{prose(found.code)}** ({weight}): {prose(found.message)}{way_out}")
    if lines:
        yield "## Findings"
        yield "\n".join(lines)


def _weights(manifest: Manifest) -> Iterator[str]:
    """What each artifact stores of the original's weights, and every weight that is another one there."""
    checked = [(artifact, artifact.weights) for artifact in manifest.artifacts if artifact.weights]
    if checked:
        yield "## Weights"
        yield "Every constant of an artifact, held against the weights of the original without running it."
        yield _table(
            ("artifact", "weights"), [(code(artifact.key), summary_of(record)) for artifact, record in checked]
        )
    lines = [
        f"- {code(artifact.key)} {prose(sentence(found))}"
        for artifact, record in checked
        for found in record.differences
    ]
    if lines:
        yield "\n".join(lines)


def _places(manifest: Manifest) -> Iterator[str]:
    """Where every GPU cell ran and what was switched off there, so that a reader can judge what it proves."""
    rows = [
        (code(cell.key), prose(place.runtime), _pairs(place.details), _pairs(place.fallbacks))
        for cell in manifest.cells
        if cell.device == "gpu" and (place := cell.placement)
    ]
    if rows:
        yield "## GPU cells"
        yield _table(("cell", "runtime", "settings", "ran on the CPU"), rows)


def _baseline(manifest: Manifest) -> Iterator[str]:
    """Every figure beside the baseline's, and why the others are not compared."""
    baseline = manifest.baseline
    if baseline is None:
        return
    yield "## Against the baseline"
    yield (
        f"{baseline.headline}: {prose(baseline.model)}, made {prose(baseline.created)}, SHA-256 of its release.json "
        f"{code(baseline.digest)}."
    )
    rows = [
        (
            each.what,
            code(each.subject),
            *(said(each.what, value) for value in (each.before, each.now, each.allowed)),
            "worse" if each.regressed else "good",
        )
        for each in baseline.comparisons
        if not each.why_not
    ]
    if rows:
        yield _table(("figure", "of", "baseline", "this release", "allowed", "result"), rows)
    if apart := baseline.not_compared:
        lines = [f"- {what}: {prose(why)}: {', '.join(map(code, subjects))}" for (what, why), subjects in apart.items()]
        yield "\n".join(["Not compared:", "", *lines])


def _artifacts(manifest: Manifest) -> Iterator[str]:
    yield "## Artifacts"
    header = ("artifact", "status", "size", "digest", "options", "path", "seconds")
    yield _table(header, [_artifact(artifact) for artifact in manifest.artifacts])
    if note := split_note(manifest):
        yield f"{prose(note)}."


def _artifact(artifact: Artifact) -> tuple[str, ...]:
    options = ", ".join(f"{prose(key)} {prose(str(value))}" for key, value in sorted(artifact.options.items()))
    there = artifact.status == "exported"
    return (
        code(artifact.key),
        artifact.status,
        size(artifact.size) if there else "",
        code(artifact.digest[:12]),
        options,
        code(artifact.path),
        f"{artifact.seconds:.1f}",
    )


def _comparisons(manifest: Manifest) -> Iterator[str]:
    compared = [(cell, diff) for cell in manifest.cells for diff in cell.diffs]
    yield "## How each output compared"
    if not compared:
        yield "Nothing was compared."
        return
    header = (
        "cell",
        "samples",
        "output",
        "max abs",
        "max rel",
        "SQNR, dB",
        "failing / elements",
        "noise floor",
        "needed abs",
        "allowed: abs + rel",
    )
    yield _table(header, [_comparison(cell, diff) for cell, diff in compared])
    yield from _left_out(manifest.cells)
    yield from _flips(compared)
    reasons = dict.fromkeys(
        f"- {_limit(diff.tolerance)}: {prose(diff.tolerance.reason)}" for _, diff in compared if diff.tolerance
    )
    told = (
        "An element passes when |actual - reference| <= abs + rel x |reference|. The noise floor is the original's\n"
        "own rounding; needed is the smallest absolute part that would have passed."
    )
    yield "\n".join([told, "", *reasons])


def _flips(compared: Sequence[tuple[Cell, TensorDiff]]) -> Iterator[str]:
    """Decisions that came out otherwise than in the reference."""
    lines = []
    for cell, diff in compared:
        if (found := diff.decisions) is None or not found.flips:
            continue
        lines.append(f"- {code(cell.key)}, {code(diff.name)} over {code(diff.sample_set)}: {decided(found)}")
    if lines:
        yield "\n".join(["Decisions that came out otherwise (entry of the last axis that is largest):", "", *lines])


def _left_out(cells: Sequence[Cell]) -> Iterator[str]:
    """Which cells did not see all samples: those without time one by one, those with a batch of their own together."""
    slow = [
        f"- {code(cell.key)} left out {code(name)}: {prose(why)}" for cell in cells for name, why in cell.unseen.items()
    ]
    if slow:
        yield "\n".join(["Not compared for want of time:", "", *slow])
    other = dict.fromkeys(f"{cell.format}/{cell.variant}" for cell in cells if len(cell.skipped) > len(cell.unseen))
    if other:
        names = ", ".join(map(code, other))
        yield f"An artifact with fixed shapes is fed only the sample sets of these shapes; here: {names}."


def _comparison(cell: Cell, diff: TensorDiff) -> tuple[str, ...]:
    return (
        code(cell.key),
        code(diff.sample_set),
        code(diff.name),
        number(diff.max_abs),
        number(diff.max_rel),
        "" if diff.sqnr_db is None else f"{diff.sqnr_db:.1f}",
        f"{diff.failing} / {diff.elements}",
        number(diff.noise),
        number(diff.needed),
        _limit(diff.tolerance) if diff.elements else "-",
    )


def _limit(tolerance: Tolerance | None) -> str:
    return f"{number(tolerance.atol)} + {number(tolerance.rtol)}" if tolerance else "exact"


def _samples(manifest: Manifest) -> Iterator[str]:
    yield "## Samples"
    header = ("set", "rows", "rows per call", "origin", "seed", "dynamic axes")
    rows = [
        (code(s.name), str(s.rows), str(s.batch), s.origin, "" if s.seed is None else str(s.seed), _pairs(s.dynamic))
        for s in manifest.samples
    ]
    yield _table(header, rows)
    grounds = manifest.grounds
    ranges = [
        (code(name), f"{known.low:.4g}", f"{known.high:.4g}", "whole" if known.whole else "any", prose(known.why))
        for name, known in sorted(grounds.domains.items())
    ]
    if ranges:
        yield _table(("input", "from", "to", "values", "because"), ranges)
    lines = [f"- Without the set {code(name)}: {prose(why)}" for name, why in grounds.dropped.items()]
    lines.append(f"- {BATCHES[grounds.batch]}")
    lines += [f"- **Weak evidence**: {prose(each.why)}" for each in grounds.coverage.values() if each.weak]
    yield "\n".join(lines)


def _rounding(manifest: Manifest) -> Iterator[str]:
    """What the original itself loses, output by output: the measure of every tolerance."""
    told: dict[tuple[str, Noise], list[str]] = {}
    for name, by_output in manifest.grounds.noise.items():
        for output, noise in by_output.items():
            told.setdefault((output, noise), []).append(name)
    if told:
        yield "## The original's own rounding"
        rows = [
            (
                code(output),
                number(noise.floor),
                number(noise.scale),
                str(noise.rows),
                ", ".join(map(code, sets)),
                prose(noise.why),
            )
            for (output, noise), sets in told.items()
        ]
        yield _table(("output", "noise floor", "largest magnitude", "rows", "over the sets", "no floor because"), rows)


def _task(manifest: Manifest) -> Iterator[str]:
    """What the user's labels measure of the original and of every copy."""
    if (task := manifest.grounds.task) is None:
        return
    yield "## The task"
    rows = [("the original", f"{task.original:.6g}", "")]
    rows += [
        (code(cell.key), f"{cell.task:.6g}", f"{cell.task - task.original:+.3g}")
        for cell in manifest.cells
        if cell.task is not None
    ]
    yield f"{prose(task.metric)} over {counted(task.rows, 'labelled row')}; {_margin(manifest.policy.task_margin)}."
    yield _table(("", "metric", "difference"), rows)


def _margin(margin: float | None) -> str:
    if margin is None:
        return "no policy.task_margin is set, so that it decides nothing"
    return f"a copy may lie {margin:g} below the original"


def _pairs(values: Mapping[str, object] | None) -> str:
    return ", ".join(f"{prose(name)} = {prose(str(value))}" for name, value in sorted((values or {}).items()))


def _toolchain(manifest: Manifest) -> Iterator[str]:
    yield "## Toolchain"
    yield f"{prose(manifest.platform)}. {_pairs(manifest.toolchain)}."
    if manifest.seconds:
        yield "Seconds: " + ", ".join(f"{prose(k)} {v:.1f}" for k, v in manifest.seconds.items()) + "."


def _interrupted(manifest: Manifest) -> Iterator[str]:
    """What infrastructure ended and was done again, and what a killed run had finished; never a verdict."""
    lines = [
        f"- Done again: {code(each.job)}, {prose(each.status)} after {each.seconds:.1f} s: {prose(each.message)}"
        for each in manifest.retried
    ]
    if manifest.resumed:
        lines.append(f"- Taken over from a run that was killed: {', '.join(map(code, manifest.resumed))}")
    if lines:
        yield "## What was interrupted"
        yield "\n".join(lines)


def _limits(_: Manifest) -> Iterator[str]:
    yield "## Limits"
    yield (
        "What is shown holds for these samples, in these runtimes at these versions, on these devices. A status other\n"
        "than `passed` claims nothing about equality, and a cell that the policy does not require cannot replace one\n"
        "that it does."
    )


def _verify(_: Manifest) -> Iterator[str]:
    yield "## Verify"
    yield (
        "    paritygate verify DIR --digest SHA256\n\n"
        "checks every byte of the release directory and runs the cells again from its evidence. SHA256 is the digest\n"
        "of `release.json`, which the release command prints. It cannot stand here: the manifest covers this report."
        "\n\n"
        "    paritygate gate DIR\n\n"
        "says what counts today: cells of other machines, approvals, waivers that have ended, and what was forced."
    )
