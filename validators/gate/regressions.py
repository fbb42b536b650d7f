"""Compares a release with its baseline: is it larger, slower, further from Keras, or worse at its task?

In: the manifests of both. Out: one `Comparison` for every artifact, cell and metric that either has, and the gate's
reasons. A figure that cannot be compared carries the reason; none is left out. Pure.

Size is that of an artifact, in bytes. Latency is a cell's median call, in seconds, of the smallest batch that both
timed with inputs of the same shapes. It is compared only between equal processors, adapters, threads and clocks, since
anything else measures the machine. Distance is the largest |actual - reference| of a cell as a share of the absolute
tolerance, so that outputs of another scale compare. The metric is the original's and every cell's, over the same
rows.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from validators.contract import BaselineRecord, Cell, Comparison, Figure, Reason, RegressionLimits

if TYPE_CHECKING:
    from validators.release.manifest import Manifest


_ROUNDING = 0.1
"""Distances below a tenth of the tolerance count as that much: rounding, which other weights change by any factor."""
_LEAST_CALLS = 3  # the median of two calls is their mean, which one outlier decides
_USER = "evidence/samples/user"


def regressions(baseline: BaselineRecord | None) -> tuple[Reason, ...]:
    """Returns the gate's reasons: `size`, `latency`, `distance` and `metric regression`."""
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
            message=f"{format_figure(each.what, each.now)}, the baseline {baseline.digest[:12]} has "
            f"{format_figure(each.what, each.before)} and allows {format_figure(each.what, each.allowed)} "
            f"({knobs.get(each.what) or f'size_ratio {limits.size_ratio_of(each.subject):g}'})",
        )
        for each in baseline.comparisons
        if each.regressed
    )


def format_figure(what: Figure, value: float | None) -> str:
    """Formats a figure for a person: `12,034 bytes`, `1.23 ms`, `0.12 of the tolerance`, `0.97`."""
    if value is None:
        return "-"
    if what == "size":
        return f"{value:,.0f} bytes"
    if what == "latency":
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} of the tolerance" if what == "distance" else f"{value:.4g}"


def compare_releases(now: "Manifest", before: "Manifest", limits: RegressionLimits) -> tuple[Comparison, ...]:
    """Compares every figure of a release with the baseline's: sizes, then cells, then the metric.

    Args:
        now: the release that is judged.
        before: the baseline.
        limits: of the policy in force now.
    """
    machine_difference = _machine_difference(now, before)
    new = {cell.key: cell for cell in now.cells}
    base = {cell.key: cell for cell in before.cells}
    cells: list[Comparison] = []
    for key in dict.fromkeys((*new, *base)):
        current, previous = new.get(key), base.get(key)
        if current and previous and current.status == previous.status == "passed":
            cells += [_latency(current, previous, machine_difference, limits), _distance(current, previous, limits)]
        else:
            why = "; ".join((_state(current, "this release"), _state(previous, "the baseline")))
            cells += [_not_compared("latency", key, why), _not_compared("distance", key, why)]
    return (*_sizes(now, before, limits), *cells, *_metrics(now, before, limits))


def _not_compared(what: Figure, subject: str, why: str) -> Comparison:
    return Comparison(what=what, subject=subject, why_not=why)


def _state(cell: Cell | None, where: str) -> str:
    return f"in {where} it {f'is {cell.status}' if cell else 'was not run'}"


def _sizes(now: "Manifest", before: "Manifest", limits: RegressionLimits) -> Iterator[Comparison]:
    new = {artifact.key: artifact for artifact in now.artifacts}
    base = {artifact.key: artifact for artifact in before.artifacts}
    for key in dict.fromkeys((*new, *base)):
        current, previous = new.get(key), base.get(key)
        if current and previous and current.status == previous.status == "exported":
            allowed = previous.size * limits.size_ratio_of(key)
            yield Comparison(what="size", subject=key, before=previous.size, now=current.size, allowed=allowed)
        else:
            states = (
                f"in {where} it is {one.status if one else 'not asked for'}"
                for where, one in (("this release", current), ("the baseline", previous))
            )
            yield _not_compared("size", key, "; ".join(states))


def _machine_difference(now: "Manifest", before: "Manifest") -> str:
    """Returns the reason why the machines of two releases are not of one kind; empty when they are."""
    kinds = {"processor": (now.processor, before.processor), "system": (_system(now), _system(before))}
    return _difference(kinds)


def _system(manifest: "Manifest") -> str:
    return manifest.platform.partition(",")[0]  # without Python's version


def _difference(pairs: Mapping[str, tuple[object, object]]) -> str:
    for name, (current, previous) in pairs.items():
        if current != previous:
            return f"another {name}: {current}, the baseline had {previous}"
    return ""


def _latency(current: Cell, previous: Cell, machine_difference: str, limits: RegressionLimits) -> Comparison:
    """Compares the median call of the smallest batch that both timed."""
    key = current.key
    if machine_difference:
        return _not_compared("latency", key, machine_difference)
    if not (current.placement and previous.placement and current.performance and previous.performance):
        return _not_compared("latency", key, "one of the two was not timed")
    new, base = current.performance, previous.performance
    if why := _difference(
        {
            "adapter": (current.placement.where, previous.placement.where),
            "number of threads": (new.threads, base.threads),
            "number of cores": (new.cores, base.cores),
            "clock": (new.clock, base.clock),
        }
    ):
        return _not_compared("latency", key, why)
    pairs = [(a, b) for a in new.timings for b in base.timings if a.shapes == b.shapes]
    if not pairs:
        return _not_compared("latency", key, "the two timed no inputs of the same shapes")
    timing, before = min(pairs, key=lambda pair: pair[0].batch)
    if min(timing.calls, before.calls) < _LEAST_CALLS:
        return _not_compared("latency", key, f"a median of fewer than {_LEAST_CALLS} calls says nothing")
    allowed = before.median * limits.latency_ratio
    return Comparison(what="latency", subject=key, before=before.median, now=timing.median, allowed=allowed)


def _distance(current: Cell, previous: Cell, limits: RegressionLimits) -> Comparison:
    now, before = _share(current), _share(previous)
    if now is None or before is None:
        return _not_compared("distance", current.key, "no output is compared with a tolerance")
    allowed = max(before, _ROUNDING) * limits.distance_ratio
    return Comparison(what="distance", subject=current.key, before=before, now=now, allowed=allowed)


def _share(cell: Cell) -> float | None:
    """Returns the largest distance as a share of the absolute tolerance; None where nothing is compared with one."""
    return max(
        (
            diff.max_abs / diff.tolerance.atol
            for diff in cell.diffs
            if diff.max_abs is not None and diff.tolerance and diff.tolerance.atol > 0
        ),
        default=None,
    )


def _metrics(now: "Manifest", before: "Manifest", limits: RegressionLimits) -> Iterator[Comparison]:
    task, previous = now.grounds.task, before.grounds.task
    if task is None and previous is None:
        yield _not_compared("metric", "original", "neither release has labelled samples")
        return
    why = ""
    if task is None or previous is None:
        why = f"{'this release' if task is None else 'the baseline'} has no labelled samples"
    elif (task.metric, task.output) != (previous.metric, previous.output):
        why = f"another metric: {task.metric} {task.output}, the baseline had {previous.metric} {previous.output}"
    elif not _rows(now):
        why = "the labelled samples are private"
    elif _rows(now) != _rows(before):
        why = "the labelled samples are not the baseline's"
    if why or task is None or previous is None:
        yield _not_compared("metric", "original", why)
        return
    current, base = ({cell.key: cell.task for cell in each.cells} for each in (now, before))
    figures: dict[str, tuple[float | None, float | None]] = {"original": (task.original, previous.original)}
    figures |= {key: (current.get(key), base.get(key)) for key in dict.fromkeys((*current, *base))}
    for subject, (new, old) in figures.items():
        if new is not None and old is not None:
            allowed = old - limits.metric_drop
            yield Comparison(what="metric", subject=subject, before=old, now=new, allowed=allowed)
        elif new is not old:  # one of the two is None; where both are, there is nothing to compare
            yield _not_compared(
                "metric", subject, f"{'this release' if new is None else 'the baseline'} did not measure it"
            )


def _rows(manifest: "Manifest") -> frozenset[tuple[str, str]]:
    """Returns the user's samples and labels, by path and digest."""
    return frozenset(
        (file.path, file.sha256) for file in manifest.files if file.path.startswith(_USER) or "/label" in file.path
    )
