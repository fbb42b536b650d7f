"""Opens a SavedModel folder that Keras wrote: its configuration and its checkpoint; the graph is never run.

In: the folder. Out: the open `StoredModel`. Keras stores its description as JSON next to the graph: in
`keras_metadata.pb` since TensorFlow 2.5, in the objects of `saved_model.pb` before. The weights are the checkpoint in
`variables/`. Messages: tf_keras/protobuf/saved_metadata.proto, TensorFlow's saved_model.proto and
saved_object_graph.proto.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from exporters.errors import BadInput
from exporters.files.hashing import digest_tree
from exporters.source import strict_json
from exporters.source.keras_version import generation
from exporters.source.readers.checkpoint import CheckpointWeights, files_of
from exporters.source.readers.model_json import described, parse
from exporters.source.readers.protobuf import part
from exporters.source.readers.stored_model import StoredModel
from exporters.source.untrusted_files import plain_files, regular_file

GRAPH = "saved_model.pb"
METADATA = "keras_metadata.pb"
VARIABLES = Path("variables", "variables")
_KERAS = "_tf_keras_"
"""How Keras calls its kinds of objects: `_tf_keras_model`, `_tf_keras_sequential`, `_tf_keras_network`."""
_FIRST_NODES = 100
"""Keras writes the model itself as the first of its objects."""
_INSTEAD = (
    "Give the `.keras` or `.h5` file that the model was saved to; or give its architecture with these weights: "
    "--architecture model.json or --architecture PACKAGE.MODULE:FUNCTION."
)


@contextmanager
def opened(path: Path) -> Iterator[StoredModel]:
    """Opens a SavedModel folder.

    Raises:
        BadInput: a link in it, damage, or nothing that says how Keras would build the model.
    """
    plain_files(path)
    metadata, where = _metadata(path)
    config = metadata.get("model_config") or {key: metadata.get(key) for key in ("class_name", "config")}
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict | list):
        raise BadInput(
            f"{path}: {where} does not say how the model {metadata.get('class_name')} is built: it is a subclass "
            "without a configuration",
            next_step=_INSTEAD,
        )
    if not Path(f"{path / VARIABLES}.index").exists():
        raise BadInput(f"{path}: has no {VARIABLES}.index (the weights)", next_step="Copy the whole folder.")
    files_of(path / VARIABLES)
    version = metadata.get("keras_version")
    training = metadata.get("training_config")
    yield StoredModel(
        path=path,
        form="saved_model",
        keras_version=version if isinstance(version, str) else "2 (it does not say which)",
        generation=generation(version, oldest=0) if isinstance(version, str) else 2,
        backend=str(metadata.get("backend") or ""),
        where=where,
        config=described(config),
        training=training if isinstance(training, dict) else None,
        weights=CheckpointWeights(path / VARIABLES),
        digest=partial(digest_tree, path),
    )


def _metadata(folder: Path) -> tuple[dict[str, Any], str]:
    """Returns what Keras wrote about the model itself, and the name of the file that holds it."""
    for name, found in ((METADATA, _keras_nodes), (GRAPH, _user_objects)):
        if not (folder / name).exists():
            continue
        try:
            text = _root(folder / name, found)
        except ValueError as error:
            raise BadInput(f"{folder / name}: is damaged: {error}", next_step="Copy the whole folder again.") from error
        if text:
            return parse(f"{folder / name}: metadata of the model", text), name
    raise BadInput(
        f"{folder}: is a SavedModel that holds no Keras model (as model.export and tf.saved_model.save write it)",
        next_step=_INSTEAD,
    )


def _root(file: Path, found: Callable[[memoryview], Iterator[tuple[str, memoryview]]]) -> bytes:
    """Returns the metadata of the first object, the model itself; empty where Keras did not write it."""
    import numpy as np

    with regular_file(file) as stream:
        if not stream.seek(0, 2):
            return b""
    identifier, text = next(found(np.memmap(file, np.uint8, "r").data), ("", memoryview(b"")))
    strict_json.check_size(f"{file}: metadata of the model", len(text))
    return bytes(text) if identifier.startswith(_KERAS) else b""


def _keras_nodes(message: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Yields the identifier and the JSON of the root object from SavedMetadata.nodes."""
    for node in islice(part(message, 1), _FIRST_NODES):
        if str(_text(node, 3), "utf-8", "replace") == "root":
            yield str(_text(node, 4), "utf-8", "replace"), _text(node, 5)


def _user_objects(message: memoryview) -> Iterator[tuple[str, memoryview]]:
    """Yields the same from SavedModel.meta_graphs.object_graph_def.nodes.user_object; the first node is the root."""
    for graph in part(message, 2):
        for objects in part(graph, 7):
            for node in part(objects, 1):
                for own in part(node, 4):
                    yield str(_text(own, 1), "utf-8", "replace"), _text(own, 3)
                return


def _text(message: memoryview, number: int) -> memoryview:
    return next(part(message, number), memoryview(b""))
