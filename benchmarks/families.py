"""Well-known architectures with random weights, each built, released and told in one line.

In: names of `FAMILIES`. Out: a line on stderr for each model as it ends, and a Markdown table: what came of it in every
format (`flows.batch.outcomes`), the seconds of the release and the most memory that its process tree held at once.

The models are large: one at a time, only on the processor. keras-hub is not a dependency of paritygate; `HOW_TO_GET`
says how to install it next to the environment without changing that.
"""

import importlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.processes import BIN, ROOT, clean_environment
from exporters.formats.registry import FORMATS
from exporters.jobs import GIB, Job, Limits, Workers, process_tree
from flows.batch.outcomes import FormatState, states_of
from validators.release.manifest import load

HUB = "keras_hub"
HOW_TO_GET = (
    "keras-hub is not installed. Beside the environment, which stays as it is:\n"
    "    .venv/bin/uv pip install --no-deps --target build/keras_hub keras-hub==0.32.0 tokenizers regex sentencepiece "
    "kagglehub kagglesdk\n"
    "    PYTHONPATH=$PWD/build/keras_hub .venv/bin/python -m benchmarks.corpus --families"
)
APPLICATIONS = (
    "ResNet50V2",
    "MobileNetV3Large",
    "EfficientNetV2B0",
    "ConvNeXtTiny",
    "DenseNet121",
    "NASNetMobile",
    "Xception",
)
BACKBONES: Mapping[str, Mapping[str, Any]] = {
    "BertBackbone": {
        "vocabulary_size": 30522,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 128,
        "intermediate_dim": 512,
        "max_sequence_length": 128,
    },
    "GPT2Backbone": {
        "vocabulary_size": 50257,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 128,
        "intermediate_dim": 512,
        "max_sequence_length": 128,
    },
    "ViTBackbone": {
        "image_shape": (224, 224, 3),
        "patch_size": (16, 16),
        "num_layers": 4,
        "num_heads": 3,
        "hidden_dim": 192,
        "mlp_dim": 768,
    },
    "WhisperBackbone": {
        "vocabulary_size": 51865,
        "num_layers": 4,
        "num_heads": 6,
        "hidden_dim": 384,
        "intermediate_dim": 1536,
    },
}
"""Class of keras-hub -> the sizes of its smallest published model, or smaller."""
FAMILIES = (*APPLICATIONS, *BACKBONES)
_POLL = 1.0  # seconds between two looks at the memory; each looks at all pages of the tree
_BUILDING = Limits(seconds=600, memory=12 * GIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Records one model: `states` by format, wall time of the release, peak memory of its tree."""

    name: str
    states: Mapping[str, FormatState]
    seconds: float
    memory: int

    def line(self) -> str:
        """The row of the table."""
        cells = [_word(self.states[name]) for name in FORMATS]
        return f"| {self.name} | {' | '.join(cells)} | {self.seconds:.0f} | {self.memory / GIB:.1f} |"


def _word(state: FormatState) -> str:
    return state.state if state.state == "proven" else f"{state.state}: {state.code}"


def build(request: Mapping[str, Any]) -> str:
    """Job: builds one model with random weights and saves it.

    Args:
        request: `name` (of `FAMILIES`), `path` (of the file to write).

    Returns:
        The path.
    """
    import keras

    keras.utils.set_random_seed(1)
    name = request["name"]
    if name in BACKBONES:
        model = getattr(importlib.import_module(HUB).models, name)(**BACKBONES[name])
    else:
        model = getattr(keras.applications, name)(weights=None)
        _settle(model)
    model.save(request["path"])
    return str(request["path"])


def _settle(model: Any) -> None:
    """Has every batch normalization remember one batch of noise.

    With the statistics that they start from, a deep network of random weights gives the same answer to everything, and
    equal answers would prove nothing.
    """
    import keras
    import numpy as np

    normalizations = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in normalizations]
    for layer in normalizations:
        layer.momentum = 0.0
    shape = (4, *(length or 224 for length in model.input_shape[1:]))
    model(np.random.default_rng(1).uniform(0, 255, shape).astype(np.float32), training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum


def measure(name: str, folder: Path, workers: Workers) -> Family:
    """Builds and releases one model.

    Args:
        name: of `FAMILIES`.
        folder: the model, the release and its output stay here.
        workers: where the model is built.
    """
    place = folder / name
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    model = place / f"{name}.keras"
    request = {"name": name, "path": str(model)}
    workers.run(Job(name=f"build-{name}", function=build, request=request, limits=_BUILDING)).unwrap()
    custom = ["--custom-objects", HUB] if name in BACKBONES else []
    command = [str(BIN / "paritygate"), "release", str(model), "-o", str(place / "release"), *custom]
    started = time.perf_counter()
    with (place / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            [*command, "--gpu", "off", "--no-prefect"],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        memory = _watched(process)
    seconds = time.perf_counter() - started
    if not (place / "release" / "release.json").exists():
        sys.exit(f"{name}: no release, exit code {process.returncode}; {place / 'said.txt'} says why")
    states = {state.format: state for state in states_of(load(place / "release"))}
    return Family(name=name, states=states, seconds=seconds, memory=memory)


def _watched(process: subprocess.Popen[bytes]) -> int:
    """Waits for a process; returns the most bytes that its tree held. A tree without a supervisor is not left alive."""
    peak = 0
    try:
        while process.poll() is None:
            peak = max(peak, process_tree.MemoryMeter().read([process.pid]))
            time.sleep(_POLL)
    finally:
        if process.poll() is None:
            process_tree.kill(process.pid)
            process.wait()
    return peak


def chosen(names: Sequence[str]) -> tuple[str, ...]:
    """The families of these names, all of them where there are none; ends the benchmark where one cannot be built."""
    if unknown := sorted(set(names) - set(FAMILIES)):
        sys.exit(f"--families: got {', '.join(unknown)}; valid are {', '.join(FAMILIES)}")
    wanted = tuple(name for name in FAMILIES if name in names or not names)
    if set(wanted) & set(BACKBONES) and find_spec(HUB) is None:
        sys.exit(HOW_TO_GET)
    return wanted


def table(families: Iterable[Family], formats: Mapping[str, str]) -> str:
    """The table as Markdown.

    Args:
        families: its rows.
        formats: format -> how it is called here.
    """
    titles = [formats[name] for name in FORMATS]
    return "\n".join(
        [
            f"| model, random weights | {' | '.join(titles)} | seconds | peak GiB |",
            f"| --- |{' --- |' * len(titles)} ---: | ---: |",
            *(family.line() for family in families),
        ]
    )


def run(names: Sequence[str], folder: Path, say: Callable[[str], None]) -> list[Family]:
    """Measures one family after the other.

    Args:
        names: of `FAMILIES`; none for all.
        folder: what they leave.
        say: is told each line as it is known, with the reasons of what is not proven.
    """
    wanted = chosen(names)
    folder = folder.resolve()
    jobs = folder / "jobs"
    jobs.mkdir(parents=True, exist_ok=True)
    found = []
    with Workers(jobs, jobs) as workers:
        for name in wanted:
            family = measure(name, folder, workers)
            say(family.line())
            for state in family.states.values():
                if state.state != "proven":
                    say(f"    {state.reason} {state.way_out}".rstrip())
            found.append(family)
    return found
