"""Faults planted into single layers, and whether `paritygate diagnose` names the layer.

    python -m benchmarks.diagnose [PART_OF_A_LINE ...] [-o build/diagnose.json]
    python -m benchmarks.diagnose --from build/diagnose-*.json --page docs/diagnose-evidence.md

In: the faults to plant, all by default, or what earlier runs found. Out: a line on stderr for each fault, everything as
JSON, a Markdown table on stdout, and exit code 1 when the bar is missed: 9 of 10 named, each in under two minutes.

A faulty copy of a model is exported and put in the good one's place in a release: the artifact loads, runs, is wrong
in one layer. Folding and fusion are the converters' own.
"""

import argparse
import json
import shlex
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.diagnose_models import build, plant
from exporters.formats.job import ExportRequest, export
from exporters.formats.registry import EXPORTERS, FORMATS
from exporters.jobs import Answer, ForkServers, Job, Request, Workers
from exporters.lowering.tracing.job import LowerRequest, lower
from exporters.source.model_source import ModelSource
from flows.config.settings import load_settings
from flows.diagnose import Diagnosis, diagnose
from flows.pipeline.run import ReleaseRun, Shared
from flows.pipeline.stages import run_on_threads
from validators.preloads import TENSORFLOW, preloaded_modules
from validators.web.browser import BrowserHost

ONNX = "onnx/default onnxruntime cpu"
XNNPACK = "tflite/dynamic litert-xnnpack cpu"
REFERENCE = "tflite/batch1 litert-reference cpu"
TFJS = "tfjs/default tfjs-cpu cpu"
WASM = "tfjs/default tfjs-wasm cpu"
SAVED = "saved_model/default tensorflow cpu"

PLANTED: Sequence[tuple[str, str, str, str]] = (
    ("cnn", "conv1", "one weight +0.2", ONNX),
    ("cnn", "conv1", "swapped channels", XNNPACK),
    ("cnn", "norm1", "one variance +0.3", XNNPACK),
    ("cnn", "norm1", "epsilon 0.05", ONNX),
    ("cnn", "relu1", "relu6 for relu", XNNPACK),
    ("cnn", "relu1", "relu6 for relu", ONNX),
    ("cnn", "conv2", "one bias +0.05", REFERENCE),
    ("cnn", "conv2", "transposed kernel", ONNX),
    ("cnn", "add", "maximum for sum", SAVED),
    ("cnn", "pool", "average for maximum", XNNPACK),
    ("cnn", "depthwise", "one weight +0.2", XNNPACK),
    ("cnn", "dense1", "sigmoid for gelu", ONNX),
    ("cnn", "layer_norm", "epsilon 0.05", XNNPACK),
    ("cnn", "layer_norm", "gain +0.1", SAVED),
    ("cnn", "dense2", "one weight +0.001", ONNX),
    ("cnn", "softmax", "softmax over the rows", ONNX),
    ("unet", "rescale", "scale 0.51", XNNPACK),
    ("unet", "down", "window shifted", ONNX),
    ("unet", "down", "relu for elu", XNNPACK),
    ("unet", "inner1", "window shifted", TFJS),
    ("unet", "inner1", "tanh for swish", SAVED),
    ("unet", "inner_norm", "epsilon 0.05", ONNX),
    ("unet", "up", "other interpolation", XNNPACK),
    ("unet", "transposed", "mirrored kernel", ONNX),
    ("unet", "transposed", "relu for leaky relu", XNNPACK),
    ("unet", "pool", "maximum for average", SAVED),
    ("unet", "mask", "hard sigmoid", WASM),
    ("sequence", "embedding", "one weight +0.2", XNNPACK),
    ("sequence", "lstm", "recurrent weight +0.2", ONNX),
    ("sequence", "lstm", "one bias +0.05", XNNPACK),
    ("sequence", "attention", "stale weights", ONNX),
    ("sequence", "norm", "gain +0.1", SAVED),
    ("sequence", "gru", "directions exchanged", TFJS),
    ("sequence", "head", "stale weights", REFERENCE),
)
"""Model, layer, fault, cell."""
_PACKAGES = ("keras", "tensorflow", "tf2onnx", "onnxruntime", "ai-edge-litert", "tensorflowjs", "numpy")
_SHARE = 0.9
_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One fault and what became of it."""

    model: str
    layer: str
    fault: str
    cell: str
    named: str
    right: bool
    seconds: float
    shown: str


class Faults:
    """Releases with faults in them.

    Args:
        folder: scratch space.
        shared: processes that everything forks from.
        formats: what the releases hold.
    """

    def __init__(self, folder: Path, shared: Shared, formats: Sequence[str] = FORMATS) -> None:
        self._folder = folder
        self._shared = shared
        self._formats = formats
        self._number = 0

    def score(self, model: str, layer: str, fault: str, cell: str) -> Scored:
        """Plants one fault, and lets it be diagnosed."""
        found = self.diagnosed(model, layer, fault, cell, self._folder / f"{model}-{layer}-{self._number}.repro")
        named = found.suspects[0].layer if found.suspects else found.verdict
        return Scored(
            model=model,
            layer=layer,
            fault=fault,
            cell=cell,
            named=named,
            right=named.rpartition("/")[2] == layer,
            seconds=found.seconds,
            shown=_shown(found),
        )

    def diagnosed(self, model: str, layer: str, fault: str, cell: str, output: Path) -> Diagnosis:
        """What is found of a planted fault."""
        return self.diagnose(self.planted(model, layer, fault, cell), model, cell, output)

    def diagnose(self, release: Path, model: str, cell: str, output: Path) -> Diagnosis:
        """What is found of a release of a model."""
        return diagnose(
            release, cell, model=self.model(model), output=output, listen=lambda _: None, shared=self._shared
        )

    def planted(self, model: str, layer: str, fault: str, cell: str) -> Path:
        """A release with a fault in one artifact."""
        self._number += 1
        wrong = self._folder / f"wrong-{self._number}"
        shutil.copytree(self.release(model), wrong)
        self._plant(self.model(model), layer, fault, cell, wrong / "artifacts" / cell.partition(" ")[0])
        return wrong

    def model(self, name: str) -> Path:
        """The good model."""
        path = self._folder / f"{name}.keras"
        if not path.exists():
            self._call(build, {"name": name, "folder": str(self._folder)})
        return path

    def release(self, name: str) -> Path:
        """The good release."""
        target = self._folder / f"{name}.release"
        if not target.exists():
            given = {"model": self.model(name), "output": target, "formats": self._formats, "policy": {"gpu": "off"}}
            settings = load_settings(None, given)
            with ReleaseRun(settings, lambda _: None, shared=self._shared) as run:
                run.carry_out(run_on_threads)
        return target

    def _plant(self, good: Path, layer: str, fault: str, cell: str, artifact: Path) -> None:
        row = next(row for row in EXPORTERS if row.key == cell.partition(" ")[0])
        work = self._folder / f"planting-{self._number}"
        work.mkdir()
        copy = str(work / "faulty.keras")
        self._call(plant, {"model": str(good), "layer": layer, "fault": fault, "path": copy})
        source, graph = ModelSource(path=Path(copy)), None
        if row.source != "model":
            request = LowerRequest(model=source, destination=work / "lowered", forms=(row.source,))
            graph = self._call(lower, request).forms[row.source].folder
        shutil.rmtree(artifact)
        self._call(
            export,
            ExportRequest(artifact=row.key, model=source, graph=graph, destination=artifact, options=dict(row.options)),
        )

    def _call(self, function: Callable[[Request], Answer], request: Request) -> Answer:
        with Workers(self._folder, self._folder, fork_servers=self._shared.fork_servers) as workers:
            return workers.run(
                Job(name="planting", function=function, request=request, fork_server=TENSORFLOW)
            ).unwrap()


def _shown(found: Diagnosis) -> str:
    """How sure the diagnosis was: how much of it was tried, and what shares an operator with the suspect."""
    others = f", with {', '.join(s.layer for s in found.suspects[1:])}" if found.suspects[1:] else ""
    return f"{len(found.confirmed)} confirmed{others}"


def main() -> int:
    """Plants and scores; see the module."""
    options = _options()
    runs = [json.loads(path.read_text("utf-8")) for path in options.earlier] or [_run(options)]
    found = {tuple(s[key] for key in ("model", "layer", "fault", "cell")): s for run in runs for s in run["scores"]}
    scores = [Scored(**found[planted]) for planted in PLANTED if planted in found]
    if options.page:
        options.page.write_text(page(runs, scores), "utf-8")
    print(table(scores), summary(scores), sep="\n\n")
    return 0 if kept(scores) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.diagnose", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("wanted", nargs="*", help="parts of the lines of the faults to plant")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/diagnose.json"))
    parser.add_argument("--from", dest="earlier", type=Path, nargs="+", default=(), help="what earlier runs wrote")
    parser.add_argument("--page", type=Path, help="where to write the page with the table")
    return parser.parse_args()


def _run(options: argparse.Namespace) -> dict[str, Any]:
    run: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": shlex.join(["python", "-m", "benchmarks.diagnose", *sys.argv[1:]]),
        "versions": {name: version(name) for name in _PACKAGES},
        "scores": [],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    for scored in _scored([each for each in PLANTED if not options.wanted or _asked(each, options.wanted)]):
        run["scores"].append(asdict(scored))
        options.output.write_text(json.dumps(run, indent=1), "utf-8")  # each time: a run may be cut off
        word = "right" if scored.right else f"WRONG: {scored.named}"
        line = f"{scored.model} {scored.layer} {scored.fault} {scored.cell}: {word}, {scored.seconds:.1f} s"
        print(line, scored.shown, sep=", ", file=sys.stderr)
    return run


def _asked(planted: Sequence[str], wanted: Sequence[str]) -> bool:
    return any(word in " ".join(planted) for word in wanted)


def _scored(wanted: Sequence[tuple[str, str, str, str]]) -> Iterator[Scored]:
    with tempfile.TemporaryDirectory(prefix="diagnose-") as scratch, BrowserHost() as browser:
        folder = Path(scratch)
        fork_servers = ForkServers(preloaded_modules(), folder)
        try:
            faults = Faults(folder, Shared(fork_servers=fork_servers, browser=browser, cores=3, memory=12 << 30))
            for planted in wanted:
                yield faults.score(*planted)
        finally:
            fork_servers.close()


def kept(scores: Sequence[Scored]) -> bool:
    """Whether the bar is kept."""
    right = sum(scored.right for scored in scores)
    return right >= _SHARE * len(scores) and max(scored.seconds for scored in scores) < _SECONDS


def summary(scores: Sequence[Scored]) -> str:
    """The figures in a sentence."""
    seconds = [scored.seconds for scored in scores]
    right = sum(scored.right for scored in scores)
    took = f"{statistics.median(seconds):.0f} s in the median, {max(seconds):.0f} s at most"
    return f"The right layer in {right} of {len(scores)}; {took}."


def table(scores: Sequence[Scored]) -> str:
    """One row for each fault."""
    rows = [
        f"| {s.model} | `{s.layer}` | {s.fault} | {s.cell} | {'' if s.right else f'**no:** `{s.named}`, '}{s.shown} "
        f"| {s.seconds:.0f} |"
        for s in scores
    ]
    head = ["| model | layer | fault | cell | found | seconds |", "| --- | --- | --- | --- | --- | ---: |"]
    return "\n".join([*head, *rows])


def page(runs: Sequence[Mapping[str, Any]], scores: Sequence[Scored]) -> str:
    """`docs/diagnose-evidence.md`."""
    versions = ", ".join(f"{name} {number}" for name, number in runs[0]["versions"].items())
    commands = "\n".join(dict.fromkeys(run["command"] for run in runs))
    dates = " and ".join(sorted({run["date"] for run in runs}))
    return f"""# Whether diagnose names the right layer

Written by `python -m benchmarks.diagnose`; change nothing here by hand. Run on {dates}, with {versions}:

```sh
{commands}
```

A faulty copy of a model is exported and put in the good one's place in a release
([benchmarks/diagnose_models.py](../benchmarks/diagnose_models.py)); then `paritygate diagnose`
([diagnose.md](diagnose.md)) is asked which layer it is.

**{summary(scores)}**

{table(scores)}

*Confirmed* are the layers whose wrong tensor, put in the place of the right one, makes the original compute what the
artifact computes; layers named *with* it share its operator in the artifact.
"""


if __name__ == "__main__":
    sys.exit(main())
