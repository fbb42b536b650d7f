"""Opens weights together with a separate architecture.

In: the weights (`.weights.h5`, an older `.h5`, a TensorFlow checkpoint, a SavedModel folder's variables) and the
architecture: what `model.to_json()` wrote, or a function of the user that returns the model. Out: the open
`StoredModel`. A function is only named here; it runs in the worker.
"""

import hashlib
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree, sha256_file
from exporters.source import strict_json
from exporters.source.keras_version import Generation, generation
from exporters.source.readers.checkpoint import INDEX, CheckpointWeights, files_of, prefix_in
from exporters.source.readers.h5_model import check_rest, hdf5_of, word
from exporters.source.readers.hdf5 import attribute, opened
from exporters.source.readers.hdf5_weights import MODEL_WEIGHTS, NamedWeights, ObjectWeights
from exporters.source.readers.model_json import described, parse
from exporters.source.readers.saved_model import GRAPH, VARIABLES
from exporters.source.readers.stored_model import StoredModel, Weights
from exporters.source.untrusted_files import plain_files, regular_file

ARCHITECTURE_FLAG = "--architecture model.json (from model.to_json()) or --architecture PACKAGE.MODULE:FUNCTION"
NO_ARCHITECTURE = "holds weights and no architecture"
_BUILDER = re.compile(r"^(?:.*\.py|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):[A-Za-z_]\w*$", re.DOTALL)


def is_builder(architecture: str) -> bool:
    """Tells a function, `PACKAGE.MODULE:FUNCTION` or `FILE.py:FUNCTION`, from the path of a JSON file."""
    return bool(_BUILDER.match(architecture))


def builder_file(architecture: str) -> Path | None:
    """Returns the Python file that an architecture names; None for a module and for JSON."""
    module = architecture.rpartition(":")[0] if is_builder(architecture) else ""
    return Path(module) if module.endswith(".py") else None


def _source_of(architecture: str) -> Path | None:
    """Returns the Python file of a builder; None where its module has none. Nothing is imported to find it."""
    if file := builder_file(architecture):
        return file
    places: Sequence[str] = [*sys.path, str(Path.cwd())]  # as `exporters.source.keras.user_code` looks for it
    origin = None
    for step in architecture.rpartition(":")[0].split("."):
        found = PathFinder.find_spec(step, places)
        places = found.submodule_search_locations or [] if found else []
        origin = found.origin if found and found.has_location else None
    return Path(origin) if origin else None


@contextmanager
def opened_weights(path: Path, architecture: str | None) -> Iterator[StoredModel]:
    """Opens weights together with their architecture.

    Raises:
        BadInput: no architecture is given, or one of the two is damaged or doctored.
    """
    weights, version = _weights(path)
    if not architecture:
        raise needs_architecture(path)
    digest = partial(digest_of, path, architecture)
    if is_builder(architecture):
        yield StoredModel(
            path=path,
            form="weights",
            keras_version=version,
            generation=generation(version, oldest=0),
            builder=architecture,
            weights=weights,
            digest=digest,
        )
        return
    parsed = _parsed(Path(architecture))
    stated = parsed.get("keras_version")
    yield StoredModel(
        path=path,
        form="weights",
        keras_version=stated if isinstance(stated, str) else version,
        generation=_generation(architecture, parsed, version),
        backend=str(parsed.get("backend") or ""),
        where=Path(architecture).name,
        config=described(parsed),
        weights=weights,
        digest=digest,
    )


def needs_architecture(path: Path) -> BadInput:
    """Builds the error for weights without an architecture; the caller raises it."""
    return BadInput(f"{path}: {NO_ARCHITECTURE}", next_step=f"Give the model they belong to: {ARCHITECTURE_FLAG}.")


def files_of_weights(path: Path) -> tuple[Path, ...]:
    """Returns the files of weights whose path names no file itself: a checkpoint's prefix."""
    return files_of(prefix_of(path))


def prefix_of(path: Path) -> Path:
    """Returns the prefix of the checkpoint that a path names: itself, its index, or the folder that it lies in."""
    if path.is_dir():
        return path / VARIABLES if (path / GRAPH).exists() else prefix_in(path)
    return path.with_suffix("") if path.suffix == INDEX else path


def _weights(path: Path) -> tuple[Weights, str]:
    """Returns the weights, and the version of Keras that wrote them; empty where they do not state it."""
    if path.is_dir():
        plain_files(path)
    if path.is_dir() or path.suffix == INDEX or not path.exists():
        checkpoint = CheckpointWeights(prefix_of(path))
        return checkpoint, checkpoint.keras_version()
    hdf5 = hdf5_of(path)
    check_rest(hdf5, NamedWeights(hdf5))
    with opened(hdf5) as file:
        version = word(attribute(hdf5, file, "keras_version"))
        whole = file.id.links.exists(MODEL_WEIGHTS.encode())
        named = "layer_names" in file.attrs or "layer_names0" in file.attrs
    if whole or named:
        return NamedWeights(hdf5, MODEL_WEIGHTS if whole else ""), version
    return ObjectWeights(hdf5), version


def _parsed(architecture: Path) -> dict[str, Any]:
    if architecture.suffix != ".json" and not architecture.exists():
        raise BadInput(
            f"--architecture {architecture}: is no file and names no function", next_step=f"Valid: {ARCHITECTURE_FLAG}."
        )
    with regular_file(architecture) as stream:
        data = stream.read(strict_json.MAX_BYTES + 1)
    return parse(str(architecture), data)


def _generation(architecture: str, parsed: dict[str, Any], version: str) -> Generation | None:
    """Finds the generation from the version in the JSON, else from its form, else from the version of the weights.

    Only Keras 3 writes a `module`.
    """
    stated = parsed.get("keras_version")
    if isinstance(stated, str):
        return generation(stated, oldest=0)
    if "module" in parsed:
        return 3
    if found := generation(version, oldest=0):
        return found
    raise BadInput(
        f"--architecture {architecture}: does not say which Keras wrote it (keras_version)",
        next_step='Write it with model.to_json(), or add "keras_version": "2.x.y" to its outermost object.',
    )


def digest_of(path: Path, architecture: str) -> tuple[str, int]:
    """Computes the digest over the weights' files and the architecture, since both decide which model it is."""
    files = [path] if path.is_file() and path.suffix != INDEX else list(files_of_weights(path))
    file = _source_of(architecture) if is_builder(architecture) else Path(architecture)
    if file is None:
        lines = [f"{architecture}\n"]
        size = 0
    else:
        function = architecture.rpartition(":")[2] if is_builder(architecture) else ""
        lines = [f"{sha256_file(file)}  architecture {function}\n"]
        size = file.stat().st_size
    for path_of_weights in files:
        digest, length = digest_tree(path_of_weights)
        lines.append(f"{digest}  {path_of_weights.name}\n")
        size += length
    return hashlib.sha256("".join(lines).encode()).hexdigest(), size
