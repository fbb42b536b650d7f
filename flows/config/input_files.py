"""Finds the files that settings name: the model, its architecture, the samples, the user's code and metric.

In: settings. Out: the same settings with other paths, and digests of the named files. Only this module knows which keys
of the settings are paths.
"""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree
from exporters.source.readers.detection import digest_of, exists, files_of
from exporters.source.readers.weights_with_architecture import builder_file, is_builder
from flows.config.settings import Settings
from validators.release.integrity import manifest_digest

_PATHS = ("model", "output", "architecture", "custom_objects", "baseline")
NewPath = Callable[[str, Path], Path]
"""Returns the new path of a named file, from its role (`model`, `samples`, `code/0`, ...) and its path."""


def with_paths_replaced(settings: Settings, new_path: NewPath) -> Settings:
    """Returns the settings with every path in them replaced; names of importable modules stay."""
    samples, metric = settings.samples.path, settings.samples.metric
    code = (_module(name, f"code/{number}", new_path) for number, name in enumerate(settings.custom_objects))
    named = {
        "model": new_path("model", settings.model),
        "architecture": settings.architecture and _architecture(settings.architecture, new_path),
        "samples": settings.samples.model_copy(
            update={
                "path": samples and new_path("samples", samples),
                "metric": metric and _function(metric, "metric", new_path),
            }
        ),
        "custom_objects": tuple(code),
        "baseline": settings.baseline and new_path("baseline", settings.baseline),
    }
    return settings.model_copy(update=named)


def model_digest(settings: Settings) -> str:
    """Returns the SHA-256 of the model, which the release's manifest names.

    Raises:
        BadInput: it cannot be read.
    """
    try:
        if not exists(settings.model):
            raise FileNotFoundError(settings.model)
        return digest_of(settings.model, settings.architecture or "")
    except OSError as error:
        raise unreadable(settings.model, error) from error


def digests(settings: Settings) -> list[str]:
    """Returns the SHA-256 of every file that the settings name, in a fixed order.

    Raises:
        BadInput: something cannot be read.
    """
    collected: list[str] = []

    def collect(_: str, path: Path) -> Path:
        try:
            if not exists(path):
                raise FileNotFoundError(path)
            parts = [path] if path.exists() else files_of(path)
            collected.extend(digest_tree(part)[0] for part in parts)
        except OSError as error:
            raise unreadable(path, error) from error
        return path

    with_paths_replaced(settings, collect)
    return collected


def settings_digest(settings: Settings, *, model: str, samples: Path | None) -> str:
    """Returns a SHA-256 over everything a release depends on, without the toolchain.

    Two releases with the same digest are releases of the same files under the same settings.

    Args:
        settings: of the release.
        model: the model's digest.
        samples: the user's samples, or the copy of them that was used.

    Returns:
        The digest; empty where code is imported as a module, since the module's content is not known here.
    """
    code, architecture, metric = settings.custom_objects, settings.architecture or "", settings.samples.metric or ""
    modules = [*code, *([architecture] if is_builder(architecture) else []), *([metric] if metric else [])]
    if any(not name.partition(":")[0].endswith(".py") for name in modules):
        return ""
    terms = settings.model_dump_json(exclude=dict.fromkeys(_PATHS, True) | {"samples": {"path", "metric"}})
    baseline = [manifest_digest(settings.baseline)] if settings.baseline else []
    parts = [
        model,
        *([digest_tree(samples)[0]] if samples else []),
        *(digest_tree(Path(name))[0] for name in code),
        *((metric.rpartition(":")[2], digest_tree(file)[0]) if (file := builder_file(metric)) else ()),
        *baseline,
    ]
    return hashlib.sha256("\n".join([terms, *parts]).encode()).hexdigest()


def copy(path: Path, target: Path) -> None:
    """Copies a file, a folder, or the files of a checkpoint, whose prefix is not a file itself.

    Raises:
        BadInput: something cannot be read.
    """
    target.parent.mkdir(parents=True)
    try:
        if path.is_dir():
            shutil.copytree(path, target)
        for file in () if path.is_dir() else files_of(path):
            shutil.copyfile(file, target.parent / file.name)
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> BadInput:
    """Builds the error for a named file that cannot be read; the caller raises it."""
    what = f"cannot be read: {error.strerror}" if exists(path) else "no such file"
    return BadInput(f"{path}: {what}", next_step=f"Check the path; relative to {Path.cwd()}.")


def _module(name: str, role: str, new_path: NewPath) -> str:
    return str(new_path(role, Path(name))) if name.endswith(".py") else name


def _architecture(architecture: str, new_path: NewPath) -> str:
    if is_builder(architecture):
        return _function(architecture, "architecture", new_path)
    return str(new_path("architecture", Path(architecture)))


def _function(name: str, role: str, new_path: NewPath) -> str:
    """Replaces the file in `FILE.py:FUNCTION`; `PACKAGE.MODULE:FUNCTION` stays as it is."""
    file = builder_file(name)
    return f"{new_path(role, file)}:{name.rpartition(':')[2]}" if file else name
