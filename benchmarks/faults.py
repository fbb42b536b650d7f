"""Plants faults into good artifacts and counts who notices: paritygate, and what others check by default.

    python -m benchmarks.faults [-o build/faults.json] [--models pixels,tokens] [--faults "GELU"] [--fresh 10000]
    python -m benchmarks.faults --from build/faults-*.json --page docs/faults.md

In: the models and faults of `benchmarks.planted`, or what earlier runs found (where two say something of the same
fault, the later counts). Out: a summary and the bars as Markdown on stdout, everything as JSON, the witnesses beside
it, and exit code 1 where a bar is not kept:

* with its witness among the samples, every fault that moves the witness beyond tolerance is caught;
* from the generated samples alone, 95 % of those are;
* no false alarm over good artifacts and fresh samples;
* the tolerance stays within eight times the measured noise floor in the median.

Two processes and a Chromium; six minutes on two cores.
"""

import argparse
import json
import multiprocessing
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.planted.kinds import FAULTS
from benchmarks.planted.models import MODELS
from benchmarks.planted.proving import prove
from benchmarks.planted.report import bars, kept, page, summary
from validators.web.browser import BrowserHost

_PACKAGES = ("keras", "tensorflow", "tf2onnx", "onnxruntime", "ai-edge-litert", "tensorflowjs", "numpy")


def main() -> int:
    """Runs the benchmark, or reads what it found before; see the module."""
    options = _options()
    runs = [json.loads(path.read_text("utf-8")) for path in options.earlier] or [_run(options)]
    if len({json.dumps(run["versions"]) for run in runs}) > 1:
        sys.exit("these runs were made with other versions of what they measure; run the older ones again")
    models = [model for run in runs for model in run["models"].values()]
    found = {score["fault"]: score for model in models for score in model["scores"]}
    scores = [found[fault.name] for fault in FAULTS if fault.name in found]
    calm = list({(each["model"], each["format"]): each for model in models for each in model["calm"]}.values())
    if options.page:
        options.page.write_text(page(runs, scores, calm), "utf-8")
    print(summary(scores), kept(scores, calm), sep="\n\n")
    return 0 if all(ok for ok, _ in bars(scores, calm)) else 1


def _run(options: argparse.Namespace) -> dict[str, Any]:
    # As the isolation host does: no card, TensorFlow's backend, and a fixed hash seed for converters that walk sets.
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "KERAS_BACKEND": "tensorflow", "TF_CPP_MIN_LOG_LEVEL": "3"}
    os.environ |= {"PYTHONHASHSEED": "0", "TF_NUM_INTRAOP_THREADS": "1"}
    witnesses: Path = options.output.with_suffix("")
    witnesses.mkdir(parents=True, exist_ok=True)
    run = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", "-m", "benchmarks.faults", *sys.argv[1:]]),
        "versions": {name: version(name) for name in _PACKAGES},
        "models": dict(_proven(options, witnesses)),
    }
    options.output.write_text(json.dumps(run, indent=1), "utf-8")
    return run


def _proven(options: argparse.Namespace, witnesses: Path) -> Iterator[tuple[str, Any]]:
    """Every model with what was found, as it ends."""
    started = time.monotonic()
    spawn = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory(prefix="faults-") as folder,
        BrowserHost() as browser,
        ProcessPoolExecutor(options.processes, mp_context=spawn) as pool,
    ):
        endpoint = browser.endpoint()
        jobs = {
            name: pool.submit(prove, name, f"{folder}/{name}", options.fresh, options.faults, endpoint)
            for name in options.models
        }
        for name, job in jobs.items():
            found = job.result()
            for path in Path(folder, name).glob("witness-*.npz"):
                shutil.copy(path, witnesses / f"{name}-{path.name}")
            print(f"{name}: {len(found['scores'])} faults, {time.monotonic() - started:.0f} s", file=sys.stderr)
            yield name, found


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-o", "--output", type=Path, default=Path("build/faults.json"))
    parser.add_argument("--from", dest="earlier", type=Path, nargs="+", default=(), help="what earlier runs wrote")
    parser.add_argument("--page", type=Path, help="where to write the page with all tables")
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(MODELS))
    parser.add_argument("--faults", nargs="*", default=(), help="parts of the names of the faults to plant")
    parser.add_argument(
        "--fresh", type=int, default=10_000, help="fresh rows for false alarms, for each artifact; 0 for none"
    )
    parser.add_argument("--processes", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
