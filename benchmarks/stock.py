"""paritygate against the stock converters, side by side, on this machine.

In: a `.keras` model (the digits unless told otherwise) and, where it is next to it, `samples.npz`. Out: a Markdown
table on stdout with the wall time of

* the four official entry points one after the other, each in a process of its own, with no validation;
* whole `paritygate release` runs (four exports, every CPU cell, verdict, release directory): on threads, as a flow on a
  Prefect server that already runs, and as a flow on Prefect's embedded server;
* the same on threads with every GPU cell that this machine can run;
* a flow of ten empty tasks on both kinds of server: Prefect's own share.

Rounds are interleaved, so that a machine that slows down does so for everybody; before each measurement no process of
this environment may be alive. Exit code 1 when a ratio is above its limit.

    .venv/bin/python benchmarks/stock.py [MODEL] [--rounds 3]
"""

import argparse
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from benchmarks.processes import BIN, PYTHON, ROOT, alive, clean_environment, prefect_server, timed

KERAS = "import keras, sys; keras.saving.load_model(sys.argv[1]).export('saved_model')"
TFLITE = """
import pathlib
import tensorflow
converter = tensorflow.lite.TFLiteConverter.from_saved_model("saved_model")
pathlib.Path("model.tflite").write_bytes(converter.convert())
"""
# `tensorflowjs_converter` itself, beside inert stand-ins for what it imports and does not call for a SavedModel: the
# real packages hold TensorFlow back at 2.19. Keras goes first, because it asks JAX for more than a stand-in has.
TFJS = """
import sys
import types
import keras
for name in ("tensorflow_decision_forests", "tensorflow_hub", "jax", "jax.experimental", "jax.experimental.jax2tf"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["jax.experimental"].jax2tf = sys.modules["jax.experimental.jax2tf"]
sys.argv = ["tensorflowjs_converter", "--input_format=tf_saved_model", "saved_model", "tfjs"]
from tensorflowjs.converters.converter import pip_main
pip_main()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table: what was run, the wall time of each round in seconds, and the ratio to stock allowed."""

    name: str
    limit: float | None = None
    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def stock_commands(model: Path) -> dict[str, list[str]]:
    """Returns the four official entry points, in the order in which one needs the other's output."""
    return {
        "Keras `export`": [PYTHON, "-c", KERAS, str(model)],
        "`TFLiteConverter`": [PYTHON, "-c", TFLITE],
        "`tf2onnx.convert`": [
            *(PYTHON, "-m", "tf2onnx.convert", "--saved-model", "saved_model"),
            *("--output", "model.onnx", "--opset", "18"),
        ],
        "`tensorflowjs_converter`": [PYTHON, "-c", TFJS],
    }


def release_command(model: Path, *flags: str) -> list[str]:
    """Returns a whole release of the model, with the samples next to it."""
    samples = model.with_name("samples.npz")
    given = ["--samples", str(samples)] if samples.exists() else []
    return [str(BIN / "paritygate"), "release", str(model), *given, "-o", "model.release", *flags]


class Benchmark:
    """The rows of the table and the way each is measured."""

    def __init__(self, model: Path, work: Path) -> None:
        self.model = model
        self.work = work
        self.home = work / "prefect"
        self.steps = {name: Row(name=name) for name in stock_commands(model)}
        self.stock = Row(name="stock converters, one after the other, no validation")
        self.threads = Row(name="`paritygate release --gpu off --no-prefect`", limit=0.40)
        self.with_gpu = Row(name="`paritygate release --no-prefect`, GPU cells too", limit=0.75)
        self.on_server = Row(name="`paritygate release --gpu off`, running Prefect server", limit=0.50)
        self.embedded = Row(name="`paritygate release --gpu off`, embedded Prefect", limit=0.65)
        self.share_on_server = Row(name="ten empty Prefect tasks, running server")
        self.share_embedded = Row(name="ten empty Prefect tasks, embedded")
        command = [str(BIN / "prefect"), "server", "database", "upgrade", "-y"]
        timed(command, work, clean_environment() | {"PREFECT_HOME": str(self.home)})

    @property
    def rows(self) -> tuple[Row, ...]:
        return (
            *self.steps.values(),
            self.stock,
            self.threads,
            self.with_gpu,
            self.on_server,
            self.embedded,
            self.share_on_server,
            self.share_embedded,
        )

    def measure(self, row: Row, command: list[str], environment: Mapping[str, str]) -> None:
        """Adds one wall time to a row."""
        folder = self.work / "run"
        folder.mkdir(exist_ok=True)
        row.seconds.append(timed(command, folder, environment))
        print(f"{row.seconds[-1]:7.2f} s  {row.name}", file=sys.stderr, flush=True)

    def alone(self, measurement: Callable[[], None]) -> None:
        """Runs a measurement in an empty folder, and only where nothing of ours runs already."""
        if others := alive():
            sys.exit("not measured: processes of this environment are alive\n" + "\n".join(others))
        shutil.rmtree(self.work / "run", ignore_errors=True)
        measurement()

    def round(self) -> None:
        """Measures everything once."""
        for measurement in (self._stock, self._threads, self._gpu, self._server, self._embedded, self._share):
            self.alone(measurement)

    def _stock(self) -> None:
        for name, command in stock_commands(self.model).items():
            self.measure(self.steps[name], command, clean_environment())
        self.stock.seconds.append(sum(row.seconds[-1] for row in self.steps.values()))

    def _threads(self) -> None:
        self.measure(self.threads, release_command(self.model, "--gpu", "off", "--no-prefect"), clean_environment())

    def _gpu(self) -> None:
        self.measure(self.with_gpu, release_command(self.model, "--no-prefect"), clean_environment())

    def _server(self) -> None:
        with prefect_server(self.home) as environment:
            self.measure(self.share_on_server, [PYTHON, str(ROOT / "benchmarks" / "ten_tasks.py")], environment)
            self.measure(self.on_server, release_command(self.model, "--gpu", "off"), environment)

    def _embedded(self) -> None:
        self.measure(self.embedded, release_command(self.model, "--gpu", "off"), clean_environment())

    def _share(self) -> None:
        environment = clean_environment() | {"PREFECT_HOME": str(self.home)}
        self.measure(self.share_embedded, [PYTHON, str(ROOT / "benchmarks" / "ten_tasks.py")], environment)

    def table(self) -> str:
        """Returns the table as Markdown."""
        lines = ["| run | median s | min to max s | ratio to stock | limit |", "| --- | ---: | ---: | ---: | ---: |"]
        for row in self.rows:
            ratio = row.median / self.stock.median
            limit = "" if row.limit is None else f"{row.limit:.2f} {'kept' if ratio <= row.limit else '**exceeded**'}"
            spread = f"{min(row.seconds):.1f} to {max(row.seconds):.1f}"
            lines.append(f"| {row.name} | {row.median:.1f} | {spread} | {ratio:.2f} | {limit} |")
        return "\n".join(lines)

    @property
    def kept(self) -> bool:
        """True when no ratio is above its limit."""
        return all(row.limit is None or row.median <= row.limit * self.stock.median for row in self.rows)


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", default=ROOT / "examples" / "digits" / "digits.keras")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (default 3)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="paritygate-bench-") as work:
        benchmark = Benchmark(arguments.model.resolve(strict=True), Path(work))
        for _ in range(arguments.rounds):
            benchmark.round()
    versions = ", ".join(f"{name} {version(name)}" for name in ("paritygate", "tensorflow", "keras", "prefect"))
    print(
        f"{arguments.model.name}, {arguments.rounds} rounds, {os.cpu_count()} cores, {platform.machine()}, {versions}\n"
    )
    print(benchmark.table())
    return 0 if benchmark.kept else 1


if __name__ == "__main__":
    sys.exit(main())
