"""Stock tools against paritygate on the same real files, both executed and compared.

In: a folder of `.keras` files. Out: a Markdown table on stdout: how many files convert, run and agree in each format
and in all four.

* stock: `keras` loads in safe mode, then the libraries' own export calls (`benchmarks.stock`), each in a process of its
  own; every artifact is executed in paritygate's runtimes over the seeded samples of batch 2 and agrees within 1e-3 of
  the output's largest value.
* paritygate: `paritygate sweep`, by the definition in `flows.batch.outcomes`: every sample set, the default tolerances.

The files come from anywhere, and `safe_mode` is no boundary: stock tools see only files that got a release, so that
admission has passed them. The table says which they were not given. Files of custom code or Lambdas, which stock cannot
load in safe mode either, are among these.

Every file's result is kept below DIR, so that a run that was stopped goes on.

    .venv/bin/python -m benchmarks.corpus FOLDER [-o DIR] [--limit N] [--config release.toml]

With `--families` instead of a folder: well-known architectures with random weights (`benchmarks.families`).

    .venv/bin/python -m benchmarks.corpus --families [NAME ...] [-o DIR]
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import stock_cell
from benchmarks.families import run as families
from benchmarks.families import table as table_of_families
from benchmarks.stock import stock_commands
from exporters.contract import Signature
from exporters.errors import BadInput
from exporters.files.atomic import write
from exporters.formats.registry import EXPORTERS, FORMATS
from exporters.jobs import GIB, Answer, Job, Limits, Outcome, Workers
from flows.batch import Sweep, SweptModel, shown, sweep
from flows.config.model_folder import find
from validators.preloads import TENSORFLOW, preloaded_modules
from validators.release.evidence import read_evidence
from validators.release.manifest import load
from validators.runtimes.availability import missing
from validators.runtimes.registry import runtime
from validators.runtimes.row import RuntimeRow
from validators.web.browser import BrowserHost

PATTERN = "*.keras"  # what the stock calls load
LIMITS = Limits(seconds=300, memory=12 * GIB)
SHOWN = {row.format: row.exporter.TITLE for row in EXPORTERS}
# Of two runtimes one is enough, as long as none diverges: a page picks its backend.
RUNTIMES = {
    "saved_model": (runtime("tensorflow", "cpu"),),
    "tflite": (runtime("litert-xnnpack", "cpu"),),
    "tfjs": (runtime("tfjs-wasm", "cpu"), runtime("tfjs-webgl", "gpu")),
    "onnx": (runtime("onnxruntime", "cpu"),),
}
# Where each command of `stock_commands`, in their order, leaves what it made.
STEPS = {"saved_model": "saved_model", "tflite": "model.tflite", "onnx": "model.onnx", "tfjs": "tfjs"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Records one file in one format: an empty string for each step that succeeded, else the reason."""

    convert: str = ""
    run: str = ""
    agree: str = ""

    @property
    def steps(self) -> tuple[bool, bool, bool]:
        """Returns whether it converts, runs and agrees; no step without the one before."""
        converts = not self.convert
        runs = converts and not self.run
        return converts, runs, runs and not self.agree


@dataclass(slots=True, kw_only=True)
class Count:
    """Files that convert, run and agree in each format, by tool."""

    files: dict[str, dict[str, Found]] = field(default_factory=dict)

    def rows(self, tool: str) -> list[str]:
        """The tool's three lines of the table."""
        lines = []
        for index, word in enumerate(("convert", "run", "agree")):
            counts = [sum(found[name].steps[index] for found in self.files.values()) for name in FORMATS]
            everywhere = sum(all(each.steps[index] for each in found.values()) for found in self.files.values())
            lines.append(f"| {tool}: {word} | {' | '.join(map(str, counts))} | {everywhere} |")
        return lines


class Stock:
    """Runs the stock tools on one file after the other.

    Args:
        folder: scratch space.
        results: one JSON file for each model stays here.
        toolchain: versions; a result of other versions is not used.
    """

    def __init__(self, folder: Path, results: Path, toolchain: Mapping[str, str]) -> None:
        self._folder = folder
        self._results = results
        self._toolchain = dict(toolchain)
        self._workers = Workers(folder, folder, fork_servers=preloaded_modules())
        self._browser = BrowserHost()
        self._number = 0
        results.mkdir(parents=True, exist_ok=True)

    def close(self) -> None:
        """Ends every process."""
        self._workers.close()
        self._browser.close()

    def of(self, model: Path, release: Path) -> dict[str, Found]:
        """Returns the result of one model, from the last run if there was one."""
        kept = self._results / f"{release.name}.json"
        if kept.exists():
            said = json.loads(kept.read_bytes())
            if said["toolchain"] == self._toolchain:
                return {name: Found(**each) for name, each in said["found"].items()}
        work = self._folder / "work"
        work.mkdir()
        try:
            found = self._work(model.resolve(), release.resolve(), work)
        finally:
            shutil.rmtree(work)
        said = {
            "toolchain": self._toolchain,
            "found": {
                name: {"convert": each.convert, "run": each.run, "agree": each.agree} for name, each in found.items()
            },
        }
        write(kept, json.dumps(said, indent=1))
        return found

    def _work(self, model: Path, release: Path, work: Path) -> dict[str, Found]:
        faults = {}
        for name, command in zip(STEPS, stock_commands(model).values(), strict=True):
            faults[name] = self._convert(command, work, work / STEPS[name])
            if faults["saved_model"]:  # the others start from it
                return {each: Found(convert=f"no SavedModel: {faults['saved_model']}") for each in FORMATS}
        for file in ("model.tflite", "model.onnx"):
            if (work / file).exists():
                place = work / Path(file).suffix[1:]  # runtimes load a folder
                place.mkdir()
                (work / file).rename(place / file)
        theirs = self._job(
            stock_cell.names, {"saved_model": str(work / "saved_model")}, fork_server=TENSORFLOW
        ).unwrap()
        try:
            binding = bound(read_evidence(release).signature, theirs)
        except BadInput as error:
            return {name: Found(convert=faults[name], run=error.message) for name in FORMATS}
        return {
            name: Found(convert=faults[name])
            if faults[name]
            else self._executed(name, {"release": str(release), "artifact": str(work / name), **binding})
            for name in FORMATS
        }

    def _convert(self, command: Sequence[str], work: Path, made: Path) -> str:
        outcome = self._job(stock_cell.convert, {"command": list(command), "folder": str(work)})
        if outcome.status != "ok":
            return outcome.message
        # An exit status of 0 is not enough: a converter may log its error and leave nothing.
        return str(outcome.value) or ("" if made.exists() else f"it left no {made.name}")

    def _executed(self, name: str, request: Mapping[str, Any]) -> Found:
        ran = {row.name: self._execute(row, request) for row in RUNTIMES[name] if not missing(row)}
        answers = [outcome for outcome in ran.values() if outcome.status == "ok"]
        if not answers:
            return Found(run="; ".join(f"{runtime}: {each.message}"[:300] for runtime, each in ran.items()))
        return Found(agree="; ".join(filter(None, (outcome.value for outcome in answers))))

    def _execute(self, row: RuntimeRow, request: Mapping[str, Any]) -> Outcome[str]:
        options = {"endpoint": self._browser.endpoint()} if row.browser else {}
        asked = {**request, "runtime": row.name, "device": row.device, "options": options}
        companions = (self._browser.pid,) if row.browser and self._browser.pid else ()
        return self._job(stock_cell.execute, asked, fork_server=row.fork_server, companions=companions)

    def _job(
        self,
        function: Callable[[Mapping[str, Any]], Answer],
        request: Mapping[str, Any],
        *,
        fork_server: str | None = None,
        companions: tuple[int, ...] = (),
    ) -> Outcome[Answer]:
        self._number += 1
        job = Job(
            name=f"{function.__name__}-{self._number}",
            function=function,
            request=request,
            limits=LIMITS,
            fork_server=fork_server,
            companions=companions,
        )
        return self._workers.run(job)


def bound(signature: Signature, theirs: Mapping[str, Sequence[str]]) -> dict[str, dict[str, str]]:
    """Maps our names to theirs: `inputs` and `outputs`, canonical name -> name in a stock artifact.

    Keras numbers outputs in the order of the model (`output_0`); inputs keep their names but for characters that
    TensorFlow refuses.

    Raises:
        BadInput: the names cannot be told.
    """
    numbered = {spec.name: f"output_{index}" for index, spec in enumerate(signature.outputs)}
    names = {spec.name: spec.name for spec in signature.outputs}
    outputs = next((way for way in (names, numbered) if sorted(way.values()) == sorted(theirs["outputs"])), None)
    given = sorted(theirs["inputs"])
    ours = [spec.name for spec in signature.inputs]
    inputs = {name: name for name in ours} if sorted(ours) == given else None
    if len(ours) == len(given) == 1:
        inputs = {ours[0]: given[0]}
    if inputs is None or outputs is None:
        raise BadInput(f"names cannot be told: {ours} and {sorted(names)} are called {dict(theirs)}")
    return {"inputs": inputs, "outputs": outputs}


def ours(record: SweptModel, release: Path) -> dict[str, Found]:
    """Records one file in paritygate; `agree` is the sweep's `proven`."""
    manifest = load(release)
    found = {}
    for state in record.states:
        exported = any(a.status == "exported" for a in manifest.artifacts if a.format == state.format)
        ran = any(cell.status in {"passed", "failed"} for cell in manifest.cells if cell.format == state.format)
        found[state.format] = Found(
            convert="" if exported else state.reason,
            run="" if ran else state.reason,
            agree="" if state.state == "proven" else state.reason,
        )
    return found


def table(stock: Count, own: Count, swept: Sweep) -> str:
    """The table as Markdown, with the files that stock was not given."""
    kept_back = {each.path: each.states[0].reason for each in swept.records if not each.release}
    lines = [
        f"{swept.models} files; {len(stock.files)} of them passed admission and were given to the stock tools",
        "",
        f"| | {' | '.join(SHOWN[name] for name in FORMATS)} | all four |",
        f"| --- |{' ---: |' * (len(FORMATS) + 1)}",
        *stock.rows("stock"),
        *own.rows("paritygate"),
        "",
        ", ".join(f"{name} {version}" for name, version in sorted(swept.toolchain.items())),
        "",
        *(f"* not given to stock: `{path}`: {reason}" for path, reason in kept_back.items()),
    ]
    return "\n".join(lines)


def first(folder: Path, limit: int, models: Path) -> Path:
    """Makes a folder of links to the first files of a folder; returns it."""
    shutil.rmtree(models, ignore_errors=True)
    for model in find(folder, PATTERN, exclude=models)[:limit]:
        link = models / model.path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(model.file.resolve())
    return models


def _families(names: Sequence[str], output: Path) -> int:
    print(table_of_families(families(names, output, partial(print, file=sys.stderr, flush=True)), SHOWN))
    return 0


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("-o", "--output", type=Path, default=None, help="results; default build/corpus/NAME")
    parser.add_argument("--limit", type=int, default=None, help="only the first N files")
    parser.add_argument("--config", type=Path, default=None, help="release.toml of the sweep")
    parser.add_argument("--families", nargs="*", metavar="NAME", help="architectures instead of files; none: all")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # through every `finally`: nothing runs on
    if (arguments.folder is None) == (arguments.families is None):
        parser.error("give a folder of .keras files, or --families")
    if arguments.families is not None:
        return _families(arguments.families, arguments.output or Path("build", "families"))
    if not arguments.folder.is_dir():
        sys.exit(f"{arguments.folder}: no such folder; the corpus of real files does not come with the repository")
    output = arguments.output or Path("build", "corpus", arguments.folder.resolve().name)
    models = arguments.folder
    if arguments.limit is not None:
        models = first(models, arguments.limit, output / "models")
    with shown(Console(stderr=True)) as progress:
        directory, swept = sweep(
            models, output=output / "sweep", config=arguments.config, pattern=PATTERN, progress=progress
        )
    stock, own = Count(), Count()
    released = [record for record in swept.records if record.release]
    with (
        tempfile.TemporaryDirectory(prefix="paritygate-corpus-") as scratch,
        closing(Stock(Path(scratch), output / "stock", swept.toolchain)) as tools,
    ):
        for number, record in enumerate(released, 1):
            release = directory / record.release
            own.files[record.path] = ours(record, release)
            stock.files[record.path] = tools.of(models / record.path, release)
            good = [name for name, found in stock.files[record.path].items() if found.steps[-1]]
            said = f"stock agrees: {', '.join(good) or 'nowhere'}"
            print(f"{number} of {len(released)}  {record.path}  {said}", file=sys.stderr, flush=True)
    print(table(stock, own, swept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
