"""Finds out which form a model is stored in, and opens it. No other module distinguishes the forms.

In: a path and, for weights only, their architecture. Out: an open `StoredModel`, the same for every form.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree
from exporters.source.facts import Form
from exporters.source.readers import h5_model, keras_archive, saved_model, weights_with_architecture
from exporters.source.readers.checkpoint import INDEX, STATE
from exporters.source.readers.hdf5 import opened as opened_hdf5
from exporters.source.readers.stored_model import StoredModel
from exporters.source.untrusted_files import plain_files, regular_file

Opener = Callable[[Path, str | None], AbstractContextManager[StoredModel]]
_HDF5 = b"\x89HDF\r\n\x1a\n"
_OPENERS: Mapping[Form, Opener] = {
    "archive": lambda path, _: keras_archive.opened(path),
    "h5": lambda path, _: h5_model.opened_model(path),
    "saved_model": lambda path, _: saved_model.opened(path),
    "weights": weights_with_architecture.opened_weights,
}
SAVED_MODEL = saved_model.GRAPH
"""The file that makes a folder a SavedModel."""


@contextmanager
def opened(path: Path, architecture: str | None = None) -> Iterator[StoredModel]:
    """Opens a stored model.

    Args:
        path: the file, the folder, or the prefix of a TensorFlow checkpoint.
        architecture: where the path holds weights only: a `model.json`, or a function, see
            `exporters.source.readers.weights_with_architecture`.

    Raises:
        BadInput: it is no model, damaged or doctored.
    """
    with _OPENERS[form_of(path, architecture)](path, architecture) as source:
        yield source


def exists(path: Path) -> bool:
    """Tells whether a file or folder of this path exists or, for a checkpoint, files with this prefix."""
    return path.exists() or Path(f"{path}{INDEX}").exists()


def digest_of(path: Path, architecture: str | None = None) -> str:
    """Returns the digest that `ModelFacts` will have, without examining the files.

    Raises:
        BadInput: a file of a checkpoint is missing.
        OSError: a file cannot be read.
    """
    return (weights_with_architecture.digest_of(path, architecture) if architecture else digest_tree(path))[0]


def files_of(path: Path) -> tuple[Path, ...]:
    """Returns the files that a model consists of, all of them below its path or next to it.

    Raises:
        BadInput: one is missing, or a folder holds a link.
    """
    if path.is_dir():
        inside = plain_files(path)
        state = path / STATE
        return (
            inside
            if _form_of_folder(path) == "saved_model"
            else (state, *weights_with_architecture.files_of_weights(path))
        )
    if path.is_file() and path.suffix != INDEX:
        return (path,)
    return weights_with_architecture.files_of_weights(path)


def form_of(path: Path, architecture: str | None = None) -> Form:
    """Finds out how a model is stored, from its first bytes or its files; the suffix does not count.

    Raises:
        BadInput: there is nothing to read, or a folder of another kind, or an architecture for a file that has one.
    """
    form = _form_of(path)
    if not architecture:
        return form
    if form == "archive":
        raise BadInput(
            f"{path}: is a `.keras` archive, which holds its own architecture", next_step="Leave --architecture out."
        )
    return "weights"


def _form_of(path: Path) -> Form:
    if path.is_dir():
        return _form_of_folder(path)
    if path.suffix == INDEX or (not path.exists() and Path(f"{path}{INDEX}").exists()):
        return "weights"
    with regular_file(path) as stream:
        if stream.read(len(_HDF5)) != _HDF5:
            return "archive"  # whose reader says what else it may be
    with opened_hdf5(h5_model.hdf5_of(path)) as file:
        return "h5" if h5_model.CONFIG in file.attrs else "weights"


def _form_of_folder(path: Path) -> Form:
    if (path / SAVED_MODEL).is_file():
        return "saved_model"
    if (path / STATE).is_file():
        return "weights"
    kind = "a folder with an unpacked `.keras` archive" if (path / "config.json").is_file() else "a folder"
    raise BadInput(
        f"{path}: is {kind}; expected a `.keras` or `.h5` file, a SavedModel folder, or the prefix of a checkpoint",
        next_step="Save the model again with Keras 3: model.save('model.keras').",
    )
