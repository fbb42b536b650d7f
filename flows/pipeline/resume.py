"""Finds the stages that a killed run had finished, checks every byte of them, and saves doing them again.

In: a run's staging folder and those of killed runs next to it. Out: a stage's result and its files, moved over.
A stage's record is `stages/NAME.json` in the staging folder: its content key, its value, and a digest of every file
or folder that it made. The key is a SHA-256 over the stage, the digests of its inputs and the `mark` of the run: the
model, the samples and the terms, every version of the toolchain, paritygate's own source, the processor, the cards, the
browser, and what the jobs inherit that their libraries read: variables such as XLA_FLAGS, and Keras' `keras.json`. So
a cell is taken over only where artifact, evidence, policy, runtime and device are the same.

Where anything differs (another key, a changed file, a truncated record, another user's folder), the stage is done
again. Nothing is copied: a rename moves the files.
"""

import functools
import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import TypeAdapter

from exporters.files.atomic import write
from exporters.files.hashing import digest_tree
from exporters.jobs.processes import job_environment
from exporters.source.keras_version import READERS
from exporters.toolchain import versions
from flows.config.input_files import settings_digest
from flows.config.settings import Settings
from flows.machine.identity import processor, system
from flows.pipeline.verdict import toolchain
from flows.pipeline.workspace import Workspace
from validators.hardware.chromium import find_chromium
from validators.hardware.graphics_cards import installed_cards

Value = TypeVar("Value")

_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("exporters", "validators", "flows")
_KINDS = {".py", ".mjs", ".html", ".txt"}
_READ_BY_LIBRARIES = re.compile(
    "(CUBLAS|CUDA|CUDNN|DNNL|KERAS|KMP|LD|MKL|NVIDIA|OMP|ONEDNN|OPENBLAS|ORT|TF|VK|XLA|XNN)_"
)
"""Prefixes of the variables that TensorFlow, Keras, ONNX Runtime, LiteRT and their libraries read."""
_KERAS_DEFAULTS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}


def run_digest(settings: Settings, *, model: str, samples: Path | None) -> str | None:
    """Returns a SHA-256 over everything that every stage of a run depends on.

    Args:
        settings: of the release.
        model: the model's digest.
        samples: the copy of the user's samples that the run reads.

    Returns:
        The digest; None where model or metric have code of their own, since that code may import anything.
    """
    terms = settings_digest(settings, model=model, samples=samples)
    if settings.custom_objects or settings.samples.metric or not terms or ":" in (settings.architecture or ""):
        return None
    chromium = find_chromium() if any(row.browser for row in settings.runtimes) else None
    browser = [str(chromium), *_identity(chromium)] if chromium else []
    readers = versions(sorted({package for names in READERS.values() for package in names}))
    cards = [f"{card.uuid} {card.driver}" for card in installed_cards()]
    here = [system(), processor(), *cards, *browser]
    inherited = {name: value for name, value in job_environment().items() if _READ_BY_LIBRARIES.match(name)}
    packages = {**toolchain(settings.formats, asked=settings.demanded), **readers}
    return _digest([terms, packages, _own_source(), here, inherited, _keras()])


class FinishedStages:
    """Keeps the finished stages of a run and finds those of killed runs before it.

    Args:
        workspace: of the run.

    Attributes:
        found: names of the stages that were taken over.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.found: list[str] = []
        self._workspace = workspace
        self._mark: str | None = None
        self._trees: dict[str, Mapping[str, str]] = {}

    def begin(self, mark: str | None) -> None:
        """Sets the digest that every stage depends on; before this, and with None, nothing is found or kept."""
        self._mark = mark
        if mark:
            self._workspace.stages.mkdir(exist_ok=True)

    def digest(self, stage: str) -> str | None:
        """Returns one digest over everything that a stage of this run made; None where nothing of it was kept."""
        return _digest(dict(self._trees[stage])) if stage in self._trees else None

    def find(self, stage: str, kind: type[Value], *inputs: str | None) -> Value | None:
        """Returns the value of a stage that a killed run had finished; its files are in this staging folder then.

        Args:
            stage: its name.
            kind: type of the value.
            *inputs: digests of what it starts from; None is that of something that was not kept.
        """
        for left in self._workspace.leftovers if self._mark and all(inputs) else ():
            record = _read(left / "stages" / _file(stage))
            if not record or record["key"] != self._key(stage, inputs) or not _is_intact(left, record["trees"]):
                continue
            for path in record["trees"]:
                target = self._workspace.staging / path
                target.parent.mkdir(parents=True, exist_ok=True)
                (left / path).rename(target)
            self._write(stage, record)
            self.found.append(stage)
            return _adapter(kind).validate_python(record["value"])
        return None

    def keep(self, stage: str, kind: type[Value], *inputs: str | None, value: Value, made: Mapping[Path, str]) -> None:
        """Records a finished stage.

        Args:
            stage: its name.
            kind: type of the value.
            *inputs: as for `find`.
            value: without paths into the staging folder.
            made: its files and folders, each with its `exporters.files.hashing.digest_tree`; empty where that is not
                known yet.
        """
        if not self._mark or not all(inputs):
            return
        trees = {
            path.relative_to(self._workspace.staging).as_posix(): known or digest_tree(path)[0]
            for path, known in made.items()
            if path.exists()
        }
        serialized = _adapter(kind).dump_python(value, mode="json")
        self._write(stage, {"key": self._key(stage, inputs), "value": serialized, "trees": trees})

    def _write(self, stage: str, record: Mapping[str, Any]) -> None:
        write(self._workspace.stages / _file(stage), json.dumps(record))
        self._trees[stage] = record["trees"]

    def _key(self, stage: str, inputs: Sequence[str | None]) -> str:
        return _digest([self._mark, stage, *inputs])


def _adapter(kind: type[Value]) -> TypeAdapter[Value]:
    return TypeAdapter(kind)


def _file(stage: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", stage) + ".json"


def _read(path: Path) -> dict[str, Any] | None:
    """Reads a record; None where there is none, or it has another form."""
    try:
        record = json.loads(path.read_bytes())
        shaped = set(record) == {"key", "value", "trees"} and all(isinstance(tree, str) for tree in record["trees"])
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return record if shaped else None


def _is_intact(left: Path, trees: Mapping[str, str]) -> bool:
    """Tells whether every file of a record exists below its folder and has the recorded digest."""
    for path, digest in trees.items():
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not (left / pure).exists():
            return False
        if any(entry.is_symlink() for entry in [left / pure, *(left / pure).rglob("*")]):
            return False
        if digest_tree(left / pure)[0] != digest:
            return False
    return True


def _identity(program: Path) -> list[str]:
    """Returns what differs between two versions of a program; hashing all its bytes would take too long."""
    found = program.resolve().stat()
    return [str(found.st_size), str(found.st_mtime_ns)] if stat.S_ISREG(found.st_mode) else []


def _keras() -> Any:
    """Reads what Keras and tf_keras take from the user's `keras.json`; without one they write the defaults."""
    base = os.path.expanduser("~")  # noqa: PTH111 - as Keras does
    folder = os.environ.get("KERAS_HOME", f"{base if os.access(base, os.W_OK) else '/tmp'}/.keras")  # noqa: S108
    try:
        config = json.loads(Path(folder, "keras.json").expanduser().read_bytes())
        return {name: config.get(name, default) for name, default in _KERAS_DEFAULTS.items()}
    except FileNotFoundError:
        return _KERAS_DEFAULTS
    except (OSError, ValueError, AttributeError) as error:
        return str(error)  # Keras itself reports the broken file


@functools.cache
def _own_source() -> str:
    """Returns a SHA-256 over paritygate itself: a stage that another version made is not reused."""
    total = hashlib.sha256()
    for layer in _SOURCES:
        for folder, below, names in os.walk(_ROOT / layer):
            below[:] = sorted(name for name in below if name != "node_modules")
            for name in sorted(names):
                if Path(name).suffix in _KINDS:
                    path = Path(folder, name)
                    total.update(f"{path.relative_to(_ROOT).as_posix()}\n".encode())
                    total.update(path.read_bytes())
    return total.hexdigest()


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
