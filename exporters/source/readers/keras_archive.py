"""Opens the `.keras` archive: a zip of `metadata.json`, `config.json`, `model.weights.h5` and vocabularies.

In: a path. Out: the open `StoredModel`. `zip_archive` has checked the container before, `strict_json` checks the
texts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree
from exporters.source import strict_json
from exporters.source.keras_version import generation
from exporters.source.readers import zip_archive
from exporters.source.readers.hdf5_weights import ObjectWeights
from exporters.source.readers.stored_model import StoredModel
from exporters.source.readers.zip_archive import ASSETS, CONFIG, METADATA, Archive


@contextmanager
def opened(path: Path) -> Iterator[StoredModel]:
    """Opens a `.keras` file.

    Raises:
        BadInput: the file is no `.keras` archive, or a doctored one; names the member.
    """
    with zip_archive.opened(path) as inside:
        metadata = _object(inside, METADATA)
        version = metadata.get("keras_version")
        if not isinstance(version, str) or not version:
            raise BadInput(
                f"{path}: {METADATA} does not say which Keras wrote the file (keras_version is {version!r})",
                next_step="Save the model again with Keras 3: model.save('model.keras').",
            )
        saved = metadata.get("date_saved")
        yield StoredModel(
            path=path,
            form="archive",
            keras_version=version,
            generation=generation(version),
            date_saved=saved if isinstance(saved, str) else "",
            where=CONFIG,
            config=_object(inside, CONFIG),
            weights=ObjectWeights(inside.weights),
            assets={
                name.removeprefix(ASSETS): partial(_whole, inside, name)
                for name in inside.members
                if name.startswith(ASSETS)
            },
            verify=inside.verify,
            digest=partial(digest_tree, path),
        )


def _object(inside: Archive, name: str) -> dict[str, Any]:
    where = f"{inside.path}: {name}"
    strict_json.check_size(where, inside.members[name].file_size)
    return strict_json.parse_object(where, _whole(inside, name))


def _whole(inside: Archive, name: str) -> bytes:
    return b"".join(inside.chunks(name))
