"""A release beside the last one that was let out: is it larger, slower, further from Keras, or worse at its task?

In: the manifests of both. Out: one `Comparison` for every artifact, cell and metric that either has, and the gate's
reasons. What cannot be compared says why; nothing is left out. Pure.

Size is that of an artifact, in bytes. Latency is a cell's median call, in seconds, of the smallest batch that both
timed with inputs of the same shapes; compared only between equal processors, adapters, threads and clocks, since
everything else measures the machine. Distance is the largest |actual - reference| of a cell as a share of the absolute
tolerance there, so that outputs of another scale compare. The metric is the original's and every cell's, over the same
rows.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from validators.contract import BaselineRecord, Cell, Comparison, Reason, RegressionLimits, What

if TYPE_CHECKING:
    from validators.release.manifest import Manifest


_ROUNDING = 0.1
"""Distances below a tenth of the tolerance count as that much: rounding, which other weights change by any factor."""
_LEAST_CALLS = 3
_USER = "evidence/samples/user"


def regressions(baseline: BaselineRecord | None) -> tuple[Reason, ...]:
    """The gate's reasons: `size regression`, `latency regression`, `distance regression`, `metric regression`."""
    if baseline is None:
        return ()
    limits = baseline.limits
    knobs = {
        "latency": f"latency_ratio {limits.latency_ratio:g}",
        "distance": f"distance_ratio {limits.distance_ratio:g}",
        "metric": f"metric_drop {limits.metric_drop:g}",
    }
    return tuple(
        Reason(
            code=f"{each.what} regression",
            subject=each.subject,
            message=f"{said(each.what, each.now)}, the baseline {baseline.digest[:12]} has "
            f"{said(each.what, each.before)} and allows {said(each.what, each.allowed)} "
            f"({knobs.get(each.what) or f'size_ratio {limits.size_ratio_of(each.subject):g}'})",
        )
        for each in baseline.comparisons
        if each.regressed
    )


def said(what: What, value: float | None) -> str:
    """A figure for a person: `12,034 bytes`, `1.23 ms`, `0.12 of the tolerance`, `0.97`."""
    if value is None:
        return "-"
    if what == "size":
        return f"{value:,.0f} bytes"
    if what == "latency":
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} of the tolerance" if what == "distance" else f"{value:.4g}"


def compare_releases(now: "Manifest", before: "Manifest", limits: RegressionLimits) -> tuple[Comparison, ...]:
    """Every figure of a release beside the baseline's: sizes, then cells, then the metric.

    Args:
        now: the release that is judged.
        before: the baseline.
        limits: of the policy in force now.
    """
    elsewhere = _other_machine(now, before)
    mine = {cell.key: cell for cell in now.cells}
    theirs = {cell.key: cell for cell in before.cells}
    cells: list[Comparison] = []
    for key in dict.fromkeys((*mine, *theirs)):
        ours, other = mine.get(key), theirs.get(key)
        if ours and other and ours.status == other.status == "passed":
            cells += [_latency(ours, other, elsewhere, limits), _distance(ours, other, limits)]
        else:
            why = "; ".join((_state(ours, "this release"), _state(other, "the baseline")))
            cells += [_not("latency", key, why), _not("distance", key, why)]
    return (*_sizes(now, before, limits), *cells, *_metrics(now, before, limits))


def _not(what: What, subject: str, why: str) -> Comparison:
    return Comparison(what=what, subject=subject, why_not=why)


def _state(cell: Cell | None, where: str) -> str:
    return f"in {where} it {f'is {cell.status}' if cell else 'was not run'}"


def _sizes(now: "Manifest", before: "Manifest", limits: RegressionLimits) -> Iterator[Comparison]:
    mine = {artifact.key: artifact for artifact in now.artifacts}
    theirs = {artifact.key: artifact for artifact in before.artifacts}
    for key in dict.fromkeys((*mine, *theirs)):
        ours, other = mine.get(key), theirs.get(key)
        if ours and other and ours.status == other.status == "exported":
            allowed = other.size * limits.size_ratio_of(key)
            yield Comparison(what="size", subject=key, before=other.size, now=ours.size, allowed=allowed)
        else:
            states = (
                f"in {where} it is {one.status if one else 'not asked for'}"
                for where, one in (("this release", ours), ("the baseline", other))
            )
            yield _not("size", key, "; ".join(states))


def _other_machine(now: "Manifest", before: "Manifest") -> str:
    """Why the machines of two releases are not of one kind; empty when they are."""
    kinds = {"processor": (now.processor, before.processor), "system": (_system(now), _system(before))}
    return _difference(kinds)


def _system(manifest: "Manifest") -> str:
    return manifest.platform.partition(",")[0]  # without Python's version


def _difference(pairs: Mapping[str, tuple[object, object]]) -> str:
    for name, (ours, other) in pairs.items():
        if ours != other:
            return f"another {name}: {ours}, the baseline had {other}"
    return ""


def _latency(ours: Cell, other: Cell, elsewhere: str, limits: RegressionLimits) -> Comparison:
    """The median call of the smallest batch that both timed."""
    key = ours.key
    if elsewhere:
        return _not("latency", key, elsewhere)
    if not (ours.placement and other.placement and ours.performance and other.performance):
        return _not("latency", key, "one of the two was not timed")
    mine, theirs = ours.performance, other.performance
    if why := _difference(
        {
            "adapter": (ours.placement.where, other.placement.where),
            "number of threads": (mine.threads, theirs.threads),
            "number of cores": (mine.cores, theirs.cores),
            "clock": (mine.clock, theirs.clock),
        }
    ):
        return _not("latency", key, why)
    pairs = [(a, b) for a in mine.timings for b in theirs.timings if a.shapes == b.shapes]
    if not pairs:
        return _not("latency", key, "the two timed no inputs of the same shapes")
    timing, before = min(pairs, key=lambda pair: pair[0].batch)
    if min(timing.calls, before.calls) < _LEAST_CALLS:
        return _not("latency", key, f"a median of fewer than {_LEAST_CALLS} calls says nothing")
    allowed = before.median * limits.latency_ratio
    return Comparison(what="latency", subject=key, before=before.median, now=timing.median, allowed=allowed)


def _distance(ours: Cell, other: Cell, limits: RegressionLimits) -> Comparison:
    now, before = _share(ours), _share(other)
    if now is None or before is None:
        return _not("distance", ours.key, "no output is compared with a tolerance")
    allowed = max(before, _ROUNDING) * limits.distance_ratio
    return Comparison(what="distance", subject=ours.key, before=before, now=now, allowed=allowed)


def _share(cell: Cell) -> float | None:
    """The largest distance as a share of the absolute tolerance; None where nothing is compared with one."""
    return max(
        (
            diff.max_abs / diff.tolerance.atol
            for diff in cell.diffs
            if diff.max_abs is not None and diff.tolerance and diff.tolerance.atol > 0
        ),
        default=None,
    )


def _metrics(now: "Manifest", before: "Manifest", limits: RegressionLimits) -> Iterator[Comparison]:
    task, other = now.grounds.task, before.grounds.task
    if task is None and other is None:
        yield _not("metric", "original", "neither release has labelled samples")
        return
    why = ""
    if task is None or other is None:
        why = f"{'this release' if task is None else 'the baseline'} has no labelled samples"
    elif (task.metric, task.output) != (other.metric, other.output):
        why = f"another metric: {task.metric} {task.output}, the baseline had {other.metric} {other.output}"
    elif not _rows(now):
        why = "the labelled samples are private"
    elif _rows(now) != _rows(before):
        why = "the labelled samples are not the baseline's"
    if why or task is None or other is None:
        yield _not("metric", "original", why)
        return
    ours, theirs = ({cell.key: cell.task for cell in each.cells} for each in (now, before))
    figures: dict[str, tuple[float | None, float | None]] = {"original": (task.original, other.original)}
    figures |= {key: (ours.get(key), theirs.get(key)) for key in dict.fromkeys((*ours, *theirs))}
    for subject, (mine, old) in figures.items():
        if mine is not None and old is not None:
            allowed = old - limits.metric_drop
            yield Comparison(what="metric", subject=subject, before=old, now=mine, allowed=allowed)
        elif mine is not old:
            yield _not("metric", subject, f"{'this release' if mine is None else 'the baseline'} did not measure it")


def _rows(manifest: "Manifest") -> frozenset[tuple[str, str]]:
    """The user's samples and labels, by path and digest."""
    return frozenset(
        (file.path, file.sha256) for file in manifest.files if file.path.startswith(_USER) or "/label" in file.path
    )
