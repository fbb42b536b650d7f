"""Builds the tables that reports show, from the records of a manifest."""

from collections.abc import Iterable, Iterator, Mapping

from validators.contract import Cell, Noise, TensorDiff
from validators.gate.regressions import format_figure
from validators.gate.weight_reasons import summary
from validators.release.manifest import Manifest
from validators.report.view.matrix import Line
from validators.report.view.text import Digest, Entry, Name, Outcome, Table, limit, pairs
from validators.text import number, size


def tables(manifest: Manifest) -> Mapping[str, Table]:
    """Builds every table that several reports show, by name."""
    return {**_of_artifacts(manifest), **_of_samples(manifest)}


def _of_artifacts(manifest: Manifest) -> Mapping[str, Table]:
    artifacts, baseline = manifest.artifacts, manifest.baseline
    return {
        "artifacts": _table(
            "artifact=keep|status=keep|size=number|digest=wide|options|path|seconds=number",
            (
                (
                    *(Name(a.key), a.status, size(a.size) if a.status == "exported" else None),
                    *(Digest(a.digest), pairs(a.options), Name(a.path), f"{a.seconds:.1f}"),
                )
                for a in artifacts
            ),
        ),
        "weights": _table("artifact|weights=wide", ((Name(a.key), summary(a.weights)) for a in artifacts if a.weights)),
        "gpu": _table(
            "cell|runtime|adapter=wide|settings=wide|ran on the CPU",
            (
                (Name(cell.key), place.runtime, place.where, pairs(place.details), pairs(place.fallbacks))
                for cell in manifest.cells
                if cell.device == "gpu" and (place := cell.placement)
            ),
        ),
        "baseline": _table(
            "figure|of|baseline=number|this release=number|allowed=number|result",
            (
                (
                    *(each.what, Name(each.subject)),
                    *(format_figure(each.what, value) for value in (each.before, each.now, each.allowed)),
                    Outcome("failed", "✗ worse") if each.regressed else Outcome("passed", "✓ good"),
                )
                for each in (baseline.comparisons if baseline else ())
                if not each.why_not
            ),
        ),
    }


def _of_samples(manifest: Manifest) -> Mapping[str, Table]:
    grounds, task = manifest.grounds, manifest.grounds.task
    sets: dict[tuple[str, Noise], list[Name]] = {}
    for name, by_output in grounds.noise.items():
        for output, noise in by_output.items():
            sets.setdefault((output, noise), []).append(Name(name))
    return {
        "rounding": _table(
            "output|noise floor|largest magnitude|rows|over the sets|no floor because",
            (
                (Name(output), number(noise.floor), number(noise.scale), noise.rows, tuple(names), noise.why)
                for (output, noise), names in sets.items()
            ),
        ),
        "task": _table(
            "cell|metric=number|difference=number",
            () if task is None else _metrics(manifest, task.original),
        ),
        "samples": _table(
            "set|rows=number|rows per call=number|origin|seed=number|dynamic axes",
            ((Name(s.name), s.rows, s.batch, s.origin, s.seed, pairs(s.dynamic)) for s in manifest.samples),
        ),
        "ranges": _table(
            "input|from=number|to=number|values|because=wide",
            (
                (Name(name), f"{each.low:.4g}", f"{each.high:.4g}", "whole" if each.whole else "any", each.why)
                for name, each in sorted(grounds.domains.items())
            ),
        ),
    }


def results(lines: Iterable[Line]) -> Table:
    """Builds the table of the matrix's lines."""
    return _table(
        "artifact|runtime|device|result|where",
        (
            (Name(line.artifact), line.runtime, line.device, Outcome(line.status, line.result()), line.remarks)
            for line in lines
        ),
    )


def comparisons(compared: Iterable[tuple[Cell, TensorDiff]]) -> Table:
    """Builds the table of comparisons; `allowed` is the tolerance, `-` where nothing was compared."""
    return _table(
        "cell=keep|samples|output|max abs=number|max rel=number|SQNR, dB=number|failing / elements=number"
        "|noise floor=number|needed abs=number|allowed: abs + rel=number",
        (
            (
                *(Name(cell.key), Name(diff.sample_set), Name(diff.name), number(diff.max_abs), number(diff.max_rel)),
                None if diff.sqnr_db is None else f"{diff.sqnr_db:.1f}",
                *(f"{diff.failing} / {diff.elements}", number(diff.noise), number(diff.needed)),
                limit(diff.tolerance) if diff.elements else "-",
            )
            for cell, diff in compared
        ),
    )


def _metrics(manifest: Manifest, original: float) -> Iterator[tuple[Entry, ...]]:
    yield "the original", f"{original:.6g}", ""
    for cell in manifest.cells:
        if cell.task is not None:
            yield Name(cell.key), f"{cell.task:.6g}", f"{cell.task - original:+.3g}"


def _table(columns: str, rows: Iterable[tuple[Entry, ...]]) -> Table:
    """Builds a table from `name` or `name=kind` of each column, between bars."""
    return Table(
        columns=tuple((n, kind) for n, _, kind in (c.partition("=") for c in columns.split("|"))), rows=tuple(rows)
    )
