"""Plants faults into good artifacts and counts who notices: paritygate, and what others check by default.

    python -m benchmarks.faults [-o build/faults.json] [--models pixels,tokens] [--faults "GELU"] [--fresh 10000]

In: the models and faults of `benchmarks.planted`. Out: the README's table as Markdown on stdout, everything as JSON,
and exit code 1 where a bar is not kept:

* with its witness among the samples, every fault that moves the witness beyond tolerance is caught;
* from the generated samples alone, 95 % of those are;
* no false alarm over good artifacts and fresh samples;
* the tolerance stays within eight times the measured noise floor in the median.

Two processes; a quarter of an hour on two cores.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.planted.models import MODELS
from benchmarks.planted.others import CRITERIA
from benchmarks.planted.proving import prove

_LEAST_FROM_GENERATED = 0.95
_MOST_NOISE = 8.0


def main() -> int:
    """Runs the benchmark; see the module."""
    options = _options()
    started = time.monotonic()
    # As the isolation host does: no card, TensorFlow's backend, and a fixed hash seed for converters that walk sets.
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ |= {"PYTHONHASHSEED": "0", "TF_NUM_INTRAOP_THREADS": "1"}
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        ProcessPoolExecutor(options.processes, mp_context=spawn) as pool,
    ):
        jobs = {
            name: pool.submit(prove, name, f"{folder}/{name}", options.fresh, options.faults) for name in options.models
        }
        found = {}
        for name, job in jobs.items():
            found[name] = job.result()
            print(f"{name}: {len(found[name]['scores'])} faults, {time.monotonic() - started:.0f} s", file=sys.stderr)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(found, indent=1), "utf-8")
    scores = [score for each in found.values() for score in each["scores"]]
    calm = [each for model in found.values() for each in model["calm"]]
    print(table(scores))
    print()
    kept = list(bars(scores, calm))
    print("\n".join(f"* {'kept' if ok else '**not kept**'}: {sentence}" for ok, sentence in kept))
    return 0 if all(ok for ok, _ in kept) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("build/faults.json"))
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS))
    parser.add_argument("--faults", nargs="*", default=(), help="parts of the names of the faults to plant")
    parser.add_argument("--fresh", type=int, default=10_000, help="fresh rows for false alarms, for each artifact")
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


def beyond(scores: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The faults that move their witness beyond tolerance."""
    return [score for score in scores if score["ratio"] > 1]


def table(scores: Sequence[Mapping[str, Any]]) -> str:
    """One row for each fault, the strongest first; below, who caught how many of those beyond tolerance."""
    header = ("fault", "model", "x tolerance", "with witness", "generated samples", "weights", *CRITERIA)
    rows = [_row(score) for score in sorted(scores, key=lambda score: -score["ratio"])]
    lines = [header, tuple("---:" if column == "x tolerance" else "---" for column in header), *rows]
    shown = beyond(scores)
    counts = [sum(bool(score[key]) for score in shown) for key in ("witness", "generated", "weights")]
    counts += [sum(score["others"][name] for score in shown) for name in CRITERIA]
    lines.append((f"**caught of {len(shown)} beyond tolerance**", "", "", *(f"**{count}**" for count in counts)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(score: Mapping[str, Any]) -> tuple[str, ...]:
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


def bars(scores: Sequence[Mapping[str, Any]], calm: Sequence[Mapping[str, Any]]) -> list[tuple[bool, str]]:
    """Every bar: whether it is kept, and the figures."""
    shown = beyond(scores)
    missed = [score["fault"] for score in shown if not score["witness"]]
    unseen = [score["fault"] for score in shown if not score["generated"] and not score["weights"]]
    samples = [score["fault"] for score in shown if not score["generated"]]
    alarms = [f"{each['model']} {each['format']}: {alarm}" for each in calm for alarm in each["alarms"]]
    ratios = [ratio for each in calm for ratio in each["to_noise"].values()]
    noise = statistics.median(ratios) if ratios else float("inf")
    below = len(scores) - len(shown)
    by_weights = sum(bool(score["weights"]) for score in scores if score["ratio"] <= 1)
    rows, furthest = sum(each["rows"] for each in calm), max((each["furthest"] for each in calm), default=0.0)
    with_witness = f"with the witness, {len(shown) - len(missed)} of {len(shown)} beyond tolerance{_named(missed)}"
    alone = f"from the generated samples alone, {len(shown) - len(samples)} of {len(shown)}{_named(samples)}"
    together = f"with the weights, {len(shown) - len(unseen)}{_named(unseen)}"
    quiet = f"{len(alarms)} false alarms over {len(calm)} good artifacts and {rows:,} fresh rows{_named(alarms[:5])}"
    near = f"the furthest at {furthest:.2f} of the tolerance"
    tight = f"the tolerance is {noise:.1f} times the noise floor in the median of {len(ratios)} outputs"
    weak = f"{below} faults stay below tolerance: indistinguishable by numbers; {by_weights} of them by the weights"
    return [
        (not missed, with_witness),
        (len(samples) <= (1 - _LEAST_FROM_GENERATED) * len(shown), f"{alone}; {together}"),
        (not alarms, f"{quiet}, {near}"),
        (noise <= _MOST_NOISE, tight),
        (True, weak),
    ]


def _named(names: Sequence[str]) -> str:
    return f" (not: {'; '.join(names)})" if names else ""


if __name__ == "__main__":
    sys.exit(main())
