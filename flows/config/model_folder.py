"""The models of a folder: which files and folders there are, and what each release is called.

In: a folder. Out: `Model`s in the order of their paths. Nothing in a file is looked at but its digest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree
from exporters.source.readers.detection import SAVED_MODEL
from validators.release.manifest import MANIFEST

PATTERNS = ("*.keras", "*.h5", "*.hdf5", SAVED_MODEL)
"""Names that models have by default; the last one makes its folder a model."""
_LONGEST_NAME = 40  # characters; a file name of any script then stays below 255 bytes, staging folder's prefix included
_DIGITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model.

    Attributes:
        path: relative to the folder of models, with forward slashes.
        file: where it lies.
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
        """Name of its release directory: equal copies under equal names share one."""
        return release_name(self.path, self.digest)


def release_name(path: str, digest: str) -> str:
    """`NAME-DIGEST8.release`."""
    return f"{Path(path).stem[:_LONGEST_NAME]}-{digest[:_DIGITS]}.release"


def find(folder: Path, pattern: str | None, *, apart_from: Path) -> tuple[Model, ...]:
    """The models below a folder.

    Args:
        folder: searched with everything below it; links to folders are not followed.
        pattern: of the file names, as a shell writes it; None for `PATTERNS`.
        apart_from: where the sweep writes; left out should it lie below the folder.

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
    own = apart_from.resolve()
    models = [_read(folder, file) for file in found if not file.resolve().is_relative_to(own)]
    if not models:
        raise BadInput(
            f"{folder}: no file below it is called {pattern or ' or '.join(PATTERNS)}",
            next_step="--pattern names other files, as '*.weights.h5'.",
        )
    return tuple(models)


def _matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """What the patterns name, each once; a SavedModel's folder stands for all that is in it."""
    named = {path for pattern in patterns for path in folder.rglob(pattern) if path.match(pattern)}
    folders = {path.parent for path in named if path.name == SAVED_MODEL and not _is_artifact(path, folder)}
    models = {path for path in named if path.name != SAVED_MODEL and not folders & set(path.parents)} | folders
    return sorted(models, key=lambda path: path.relative_to(folder).as_posix())


def _is_artifact(path: Path, folder: Path) -> bool:
    """Whether it is what a release in the same folder exported."""
    return any((parent / MANIFEST).is_file() for parent in path.parents if parent.is_relative_to(folder))


def _read(folder: Path, file: Path) -> Model:
    path = file.relative_to(folder).as_posix()
    try:
        file.stat()  # a link to nothing
        digest, size = digest_tree(file)
    except OSError as error:
        return Model(path=path, file=file, fault=f"{file}: cannot be read: {error.strerror}")
    return Model(path=path, file=file, digest=digest, size=size)
