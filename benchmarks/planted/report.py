"""Writes the result of `benchmarks/faults.py` in words: the summary by family, the long table, the bars, the page.

In: scores and calms of `benchmarks.planted.proving` as plain data. Out: Markdown. Pure.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.planted.others import CRITERIA

Found = Mapping[str, Any]
"""A score, a calm or a whole run, as JSON holds it."""

LEAST_FROM_GENERATED = 0.95
MOST_NOISE = 8.0


def beyond(scores: Sequence[Found]) -> list[Found]:
    """The faults that move their witness beyond tolerance."""
    return [score for score in scores if score["ratio"] > 1]


def summary(scores: Sequence[Found]) -> str:
    """One row for each family: how many were planted, and who caught how many of those beyond tolerance."""
    header = ("faults", "planted", "beyond tolerance", "with witness", "generated samples", "weights alone", *CRITERIA)
    families = dict.fromkeys(score["family"] for score in scores)
    rows = [_counted(name, [score for score in scores if score["family"] == name]) for name in families]
    return _lines(header, [*rows, tuple(f"**{cell}**" for cell in _counted("all", scores))], right=set(header[1:]))


def _counted(name: str, scores: Sequence[Found]) -> tuple[str, ...]:
    shown = beyond(scores)
    counts = [len(scores), len(shown), *(sum(bool(s[key]) for s in shown) for key in ("witness", "generated"))]
    counts.append(sum(bool(score["weights"]) for score in shown))
    counts += [sum(score["others"][criterion] for score in shown) for criterion in CRITERIA]
    return name, *map(str, counts)


def table(scores: Sequence[Found]) -> str:
    """One row for each fault, the strongest first."""
    header = ("fault", "artifact", "x tolerance", "with witness", "generated samples", "weights alone", *CRITERIA)
    rows = [_row(score) for score in sorted(scores, key=lambda score: -score["ratio"])]
    return _lines(header, rows, right={"x tolerance"})


def _row(score: Found) -> tuple[str, ...]:
    ratio = "no number" if score["ratio"] == float("inf") else f"{score['ratio']:.3g}"
    told = "indistinguishable" if score["ratio"] <= 1 else "missed"
    return (
        score["fault"],
        f"{score['model']} {score['format']}",
        ratio,
        score["witness"] or told,
        score["generated"] or told,
        score["weights"].partition(":")[0] or "-",
        *("caught" if score["others"][name] else "-" for name in CRITERIA),
    )


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: set[str]) -> str:
    rule = tuple("---:" if column in right else "---" for column in header)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def bars(scores: Sequence[Found], calm: Sequence[Found]) -> list[tuple[bool, str]]:
    """Every bar: whether it is kept, and the figures."""
    shown = beyond(scores)
    missed = [score["fault"] for score in shown if not score["witness"]]
    unseen = [score["fault"] for score in shown if not score["generated"] and not score["weights"]]
    samples = [score["fault"] for score in shown if not score["generated"]]
    alarms = [f"{each['model']} {each['format']}: {alarm}" for each in calm for alarm in each["alarms"]]
    ratios = [ratio for each in calm for ratio in each["to_noise"].values()]
    noise = statistics.median(ratios) if ratios else float("inf")
    below = [score for score in scores if score["ratio"] <= 1]
    farther = [score["fault"] for score in below if score["generated"]]
    by_weights = [score["fault"] for score in below if not score["generated"] and score["weights"]]
    unknown = len(below) - len(farther) - len(by_weights)
    rows, furthest = sum(each["rows"] for each in calm), max((each["furthest"] for each in calm), default=0.0)
    with_witness = f"with the witness, {len(shown) - len(missed)} of {len(shown)} beyond tolerance{_named(missed)}"
    alone = f"from the generated samples alone, {len(shown) - len(samples)} of {len(shown)}{_named(samples)}"
    together = f"with the weights, {len(shown) - len(unseen)}{_named(unseen)}"
    quiet = f"{len(alarms)} false alarms over {len(calm)} good artifacts and {rows:,} fresh rows{_named(alarms[:5])}"
    near = f"the furthest at {furthest:.2f} of the tolerance"
    tight = f"the tolerance is {noise:.1f} times the noise floor in the median of {len(ratios)} outputs"
    loose = f"{max(ratios, default=0):,.0f} times at most (small probabilities may carry two epsilon of one)"
    refused = [f"{name} {sum(each['others'][name] for each in calm)}" for name in CRITERIA]
    theirs = f"of the good artifacts, these refuse over the same samples: {', '.join(refused)}"
    weak = (
        f"{len(below)} faults stay below tolerance over the model's domain: values beyond it show {len(farther)} of "
        f"them ({'; '.join(farther) or 'none'}), the stored weights {len(by_weights)}; {unknown} are indistinguishable"
    )
    return [
        (not missed, with_witness),
        (len(samples) <= (1 - LEAST_FROM_GENERATED) * len(shown), f"{alone}; {together}"),
        (not alarms, f"{quiet}, {near}; {theirs}"),
        (noise <= MOST_NOISE, f"{tight}, {loose}"),
        (True, weak),
    ]


def _named(names: Sequence[str]) -> str:
    return f" (not: {'; '.join(names)})" if names else ""


def kept(scores: Sequence[Found], calm: Sequence[Found]) -> str:
    """The bars as a list."""
    return "\n".join(f"* {'kept' if ok else '**not kept**'}: {sentence}" for ok, sentence in bars(scores, calm))


def page(runs: Sequence[Found], scores: Sequence[Found], calm: Sequence[Found]) -> str:
    """`docs/faults.md`."""
    dates = sorted({run["date"] for run in runs})
    versions = ", ".join(f"{name} {version}" for name, version in runs[0]["versions"].items())
    models = {score["model"] for score in scores}
    return f"""# Planted faults

Written by `python -m benchmarks.faults`; change nothing here by hand. Run on {" and ".join(dates)}, with {versions}:

```sh
{chr(10).join(dict.fromkeys(run["command"] for run in runs))}
```

{len(scores)} kinds of fault, each planted into a good artifact of one of {len(models)} models
([benchmarks/planted](../benchmarks/planted)). Each has a **witness**: rows of the model's domain over which its effect
is largest, found by search. *Beyond tolerance* are the faults that move an output of their witness further than the
tolerance allows ([tolerance.md](tolerance.md)). They are looked for with the witness among the samples, from the
generated samples alone, and in the weights alone ([weights.md](weights.md)); the four columns behind apply what others
demand by default to the very tensors of the generated samples
([benchmarks/planted/others.py](../benchmarks/planted/others.py), with their sources).

<!-- faults:begin -->
{summary(scores)}

{kept(scores, calm)}
<!-- faults:end -->

## Each fault

How far its witness lies, as a multiple of the tolerance; and the reason that the cell's refusal names.

{table(scores)}
"""
