"""Opens the older whole-model file in HDF5, which `model.save("model.h5")` writes in Keras 2 and 3.

In: a path. Out: the open `StoredModel`. Root attributes: `model_config` (JSON), `keras_version`, `backend`,
`training_config`; groups: `model_weights` and, if the model was compiled, `optimizer_weights`. Writers:
tf_keras/src/saving/legacy/hdf5_format.py, keras/src/legacy/saving/legacy_h5_format.py (`save_model_to_hdf5`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree
from exporters.source.keras_version import generation
from exporters.source.printable import printable
from exporters.source.readers.hdf5 import Hdf5, attribute, opened
from exporters.source.readers.hdf5_weights import MODEL_WEIGHTS, NamedWeights
from exporters.source.readers.model_json import described, parse
from exporters.source.readers.stored_model import StoredModel, Weights
from exporters.source.untrusted_files import regular_file

CONFIG = "model_config"
MAX_REST = 32 << 20
"""Bytes of everything but arrays: configurations take some MB at most, and reading an attribute five times its size."""
_RESAVE = "Load it with the Keras that wrote it and save it again: model.save('model.keras')."


def hdf5_of(path: Path) -> Hdf5:
    """Describes an HDF5 file that is not inside an archive."""
    return Hdf5(where=f"{path}:", size=path.stat().st_size, stream=partial(regular_file, path))


@contextmanager
def opened_model(path: Path) -> Iterator[StoredModel]:
    """Opens a whole model in HDF5.

    Raises:
        BadInput: the file is damaged or doctored, or says nothing about a model; names the attribute.
    """
    hdf5 = hdf5_of(path)
    weights = NamedWeights(hdf5, MODEL_WEIGHTS)
    check_rest(hdf5, weights)
    with opened(hdf5) as file:
        texts = {name: attribute(hdf5, file, name) for name in (CONFIG, "training_config", "keras_version", "backend")}
        if not file.id.links.exists(MODEL_WEIGHTS.encode()):  # `in` would follow a link
            raise BadInput(f"{path}: has no group {MODEL_WEIGHTS}; it holds {_held(file)}", next_step=_RESAVE)
    version = word(texts["keras_version"])
    if not version:
        raise BadInput(f"{path}: does not say which Keras wrote it (attribute keras_version)", next_step=_RESAVE)
    where, training = f"{path}: {CONFIG}", texts["training_config"]
    yield StoredModel(
        path=path,
        form="h5",
        keras_version=version,
        generation=generation(version, oldest=0),
        backend=word(texts["backend"]),
        where=CONFIG,
        config=described(parse(where, texts[CONFIG] or b"")),
        training=parse(f"{path}: training_config", training) if training else None,
        weights=weights,
        digest=partial(digest_tree, path),
    )


def check_rest(hdf5: Hdf5, weights: Weights) -> None:
    """Bounds the size of the texts before one is read; nothing else in the file states how long they are.

    Raises:
        BadInput: the file holds more than `MAX_REST` bytes in addition to its arrays.
    """
    with weights.rows() as rows:
        rest = hdf5.size - sum(row.stored for row in rows)
    if rest > MAX_REST:
        raise BadInput(
            f"{hdf5.where} holds {rest:,} bytes in addition to its arrays; at most {MAX_REST:,} are read",
            next_step=_RESAVE,
        )


def word(text: bytes | None) -> str:
    """Returns a short text, safe to show; empty for none."""
    return printable((text or b"").decode("utf-8", "replace"))[:40]


def _held(file: object) -> str:
    return ", ".join(sorted(printable(str(name)) for name in file)) or "nothing"  # type: ignore[attr-defined]
