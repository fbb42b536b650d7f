"""Finds the models of a folder and names the release of each.

In: a folder. Out: `Model`s in the order of their paths. Of a file's content only the digest is used.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree
from exporters.source.readers.detection import SAVED_MODEL
from validators.release.manifest import MANIFEST

PATTERNS = ("*.keras", "*.h5", "*.hdf5", SAVED_MODEL)
"""Default file names of models; the last one makes its folder a model."""
_LONGEST_NAME = 40  # characters; a file name of any script then stays below 255 bytes, staging folder's prefix included
_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Describes one model.

    Attributes:
        path: relative to the folder of models, with forward slashes.
        file: its path from here.
        digest: SHA-256, see `exporters.files.hashing.digest_tree`; empty when it cannot be read.
        size: bytes.
        fault: why it cannot be read; None when it can.
    """

    path: str
    file: Path
    digest: str = ""
    size: int = 0
    fault: str | None = None

    @property
    def release(self) -> str:
        """Names its release directory: equal copies with equal file names share one."""
        return release_name(self.path, self.digest)


def release_name(path: str, digest: str) -> str:
    """Returns `NAME-DIGEST8.release`."""
    return f"{Path(path).stem[:_LONGEST_NAME]}-{digest[:_DIGITS]}.release"


def find(folder: Path, pattern: str | None, *, exclude: Path) -> tuple[Model, ...]:
    """Finds the models below a folder.

    Args:
        folder: searched with everything below it; links to folders are not followed.
        pattern: of the file names, as a shell writes it; None for `PATTERNS`.
        exclude: folder that the sweep writes to; left out when it is below the folder.

    Raises:
        BadInput: there is no such folder, or no model in it.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "no such folder"
        raise BadInput(
            f"{folder}: {what}", next_step="`paritygate sweep` takes a folder, `paritygate release` one file."
        )
    try:
        found = _matching(folder, PATTERNS if pattern is None else (pattern,))
    except (ValueError, NotImplementedError) as error:
        raise BadInput(
            f"--pattern {pattern!r}: {error}", next_step=f"A name with wildcards is valid: {PATTERNS[0]}"
        ) from error
    excluded = exclude.resolve()
    models = [_read(folder, file) for file in found if not file.resolve().is_relative_to(excluded)]
    if not models:
        raise BadInput(
            f"{folder}: no file below it is called {pattern or ' or '.join(PATTERNS)}",
            next_step="--pattern names other files, as '*.weights.h5'.",
        )
    return tuple(models)


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Finds what the patterns match, each once; a SavedModel's folder replaces every file in it."""
    named = {path for pattern in patterns for path in folder.rglob(pattern) if path.match(pattern)}
    folders = {path.parent for path in named if path.name == SAVED_MODEL and not _is_artifact(path, folder)}
    models = {path for path in named if path.name != SAVED_MODEL and not folders & set(path.parents)} | folders
    return sorted(models, key=lambda path: path.relative_to(folder).as_posix())


def _is_artifact(path: Path, folder: Path) -> bool:
    """Tells whether a release in the same folder exported it."""
    return any((parent / MANIFEST).is_file() for parent in path.parents if parent.is_relative_to(folder))


def _read(folder: Path, file: Path) -> Model:
    path = file.relative_to(folder).as_posix()
    try:
        file.stat()  # fails for a link whose target is missing
        digest, size = digest_tree(file)
    except OSError as error:
        return Model(path=path, file=file, fault=f"{file}: cannot be read: {error.strerror}")
    return Model(path=path, file=file, digest=digest, size=size)
