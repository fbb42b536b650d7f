"""Assigns the stored weights of a Keras 2 model to their variables.

In: a model that tf_keras built, and its open `StoredModel`. Out: the model with its weights and vocabularies. Keras 2
stores no names of variables: it stores them under the attributes by which its writer reached each layer
(`layers/dense_1/vars/0`). That walk differs between versions, and tf_keras reads only the newest. This module repeats
the walk of each writer on the model. A walk fits when it leads to every stored group and nowhere else, with as many
variables of the same shapes. Nothing is matched only by order or only by shape.

Writers: keras/src/saving/saving_lib.py of Keras 2.12 to 2.15 (`_walk_trackable`, `_save_container_state`).
"""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporters.errors import BadInput
from exporters.source.keras.weight_restoring import from_checkpoint, from_names, refuse_lost_words, restoring
from exporters.source.readers.hdf5_weights import NamedWeights, ObjectWeights
from exporters.source.readers.stored_model import Stored, StoredModel
from exporters.source.readers.zip_archive import ASSETS, WEIGHTS

Groups = Mapping[str, Mapping[str, Stored]]
_VARIABLES = "vars"
_SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Defines the order in which a version of Keras 2 visits the parts of a model.

    Attributes:
        writer: the versions that walk so.
        backwards: whether it goes through attributes from Z to A.
        dependencies: whether it also looks into `_layer_checkpoint_dependencies`, which holds most layers twice.
        counts_all: whether the number in `dense_2` counts layers that it visited before.
    """

    writer: str
    backwards: bool
    dependencies: bool
    counts_all: bool


WALKS = (
    Walk(writer="Keras 2.15 and later", backwards=True, dependencies=False, counts_all=False),
    Walk(writer="Keras 2.12 to 2.14", backwards=False, dependencies=True, counts_all=True),
)


def restore(model: Any, source: StoredModel) -> None:
    """Loads weights and vocabularies into a built model.

    Args:
        model: of tf_keras.
        source: the open model that it came from.

    Raises:
        BadInput: what is stored does not fit, or leaves a variable as it was.
    """
    import tensorflow as tf

    if source.form == "archive":  # accounts for every group and every layer; a FeatureSpace cannot be asked for more
        _from_objects(model, source)
        return
    refuse_lost_words(model, source)
    variables = [(variable.name, variable) for variable in model.weights if isinstance(variable, tf.Variable)]
    with restoring(source, variables):
        if isinstance(source.weights, ObjectWeights):
            _from_objects(model, source)
        elif isinstance(source.weights, NamedWeights):
            from tf_keras.src.saving.legacy import hdf5_format

            from_names(model, source, hdf5_format)
        else:
            from_checkpoint(model, source, variables)


def _from_objects(model: Any, source: StoredModel) -> None:
    """Loads the weights that a walk of Keras 2 stored.

    Raises:
        BadInput: no walk fits what is stored, or two do and disagree.
    """
    with source.weights.rows(lambda path: source.weights.role(path) == "weight") as stored:
        groups = _grouped(source, stored)
        places = _fitting(model, source, groups)
        for path, part in places.items():
            if _is_metric(part):
                continue
            part.load_own_variables({name: item.read(()) for name, item in groups.get(path, {}).items()})
    _restore_vocabularies(places, source)


def places_of(model: Any, walk: Walk) -> dict[str, Any]:
    """Returns every layer and metric of a model by the path under which a writer stores it, `layers/dense_1`."""
    found: dict[str, Any] = {}
    seen: set[int] = set()

    def visit(part: Any, path: str) -> None:
        if id(part) in seen:
            return
        seen.add(id(part))
        found[path] = part
        for name, value in _attributes(part, walk):
            if _is_part(value):
                visit(value, f"{path}/{name}".lstrip("/"))
            elif isinstance(value, list | dict | tuple | set):
                visit_items(value, f"{path}/{name}".lstrip("/"))

    def visit_items(container: Any, path: str) -> None:
        from tf_keras.src.utils.generic_utils import to_snake_case

        used: Counter[str] = Counter()
        for item in container.values() if isinstance(container, dict) else container:
            if not _is_part(item) or (id(item) in seen and not walk.counts_all):
                continue
            name = to_snake_case(type(item).__name__)
            number = used[name]
            used[name] += 1
            visit(item, f"{path}/{name}_{number}" if number else f"{path}/{name}")

    visit(model, "")
    return found


def _attributes(part: Any, walk: Walk) -> Iterator[tuple[str, Any]]:
    from tf_keras.src.saving.saving_lib import ATTR_SKIPLIST

    skipped = ATTR_SKIPLIST - ({"_layer_checkpoint_dependencies"} if walk.dependencies else set())
    for name in sorted(dir(part), reverse=walk.backwards):
        if name.startswith("__") or name in skipped:
            continue
        try:
            value = getattr(part, name)
        except Exception:  # noqa: BLE001, S112 - a property may raise anything; the writer passes over it as well
            continue
        yield name, value


def _is_part(value: Any) -> bool:
    import tf_keras

    return isinstance(value, tf_keras.layers.Layer) or _is_metric(value)


def _is_metric(value: Any) -> bool:
    import tf_keras

    return isinstance(value, tf_keras.metrics.Metric)


def _plain(path: str) -> str:
    """Returns the path with `/` between its steps; on Windows, writers joined them with backslashes."""
    return path.replace("\\", "/")


def _grouped(source: StoredModel, stored: Iterator[Stored]) -> Groups:
    groups: dict[str, dict[str, Stored]] = {}
    for item in stored:
        group, _, name = _plain(item.path).rpartition("/")
        parent, _, last = group.rpartition("/")
        if last != _VARIABLES:
            raise _refused(source, f"{item.path} stands outside the `{_VARIABLES}` of a layer")
        if name in groups.setdefault(parent, {}):
            raise _refused(source, f"{group}/{name} is stored twice, once with backslashes")
        groups[parent][name] = item
    return groups


def _fitting(model: Any, source: StoredModel, groups: Groups) -> dict[str, Any]:
    """Returns the places of the one walk that fits what is stored."""
    tried = [(walk, places_of(model, walk)) for walk in WALKS]
    problems = {walk.writer: _problems(places, groups) for walk, places in tried}
    fitting = [places for walk, places in tried if not problems[walk.writer]]
    if not fitting:
        writer, found = min(problems.items(), key=lambda item: len(item[1]))
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise _refused(source, f"the layout of {writer} is the nearest: {'; '.join(found[:_SHOWN])}{more}")
    first, *others = fitting
    for other in others:
        if disagreed := sorted(path for path in groups if first.get(path) is not other.get(path)):
            raise _refused(source, f"two layouts fit and disagree about {', '.join(disagreed[:_SHOWN])}")
    return first


def _problems(places: Mapping[str, Any], groups: Groups) -> list[str]:
    found = [f"{path} is stored and the model has no such layer" for path in groups if path not in places]
    for path, part in places.items():
        if not _is_metric(part):
            found += _misfits(path, part, groups.get(path, {}))
    return found


def _misfits(path: str, part: Any, stored: Mapping[str, Stored]) -> list[str]:
    """Compares a layer's variables with what is stored for it, and returns each misfit in words."""
    import tf_keras

    base = tf_keras.layers.Layer.load_own_variables
    normalization = tf_keras.layers.Normalization.load_own_variables  # calls the base's
    if type(part).load_own_variables not in (base, normalization):
        return []  # the layer has its own form, and raises when that is missing
    part._update_trackables()  # noqa: SLF001 - as `load_own_variables` begins
    variables = [*part._trainable_weights, *part._non_trainable_weights]  # noqa: SLF001 - the order of the writer
    where = f"{path or 'the model itself'} (layer {part.name})"
    if sorted(stored) != sorted(str(index) for index in range(len(variables))):
        return [f"{where} has {len(variables)} variables and {len(stored)} are stored"]
    return [
        f"{where}: {variable.name} has shape {tuple(variable.shape)} and {stored[str(index)].shape} is stored"
        for index, variable in enumerate(variables)
        if not variable.shape.is_compatible_with(stored[str(index)].shape)
    ]


def _restore_vocabularies(places: Mapping[str, Any], source: StoredModel) -> None:
    """Gives lookup layers the words that are stored next to the weights, unless their configuration has them."""
    from tf_keras.src.layers.preprocessing.index_lookup import IndexLookup

    lookups = {path: part for path, part in places.items() if isinstance(part, IndexLookup)}
    with tempfile.TemporaryDirectory() as scratch:
        for path, part in lookups.items():
            if part.input_vocabulary:
                continue
            member = f"{path}/vocabulary.txt"
            if member not in source.assets:
                raise BadInput(
                    f"{source.path.name}: layer {part.name} has no vocabulary: {ASSETS}{member} is not in the file",
                    next_step="Adapt the layer or give it its words, and save the model again.",
                )
            (Path(scratch) / "vocabulary.txt").write_bytes(source.assets[member]())
            part.load_assets(scratch)


def _refused(source: StoredModel, problem: str) -> BadInput:
    what = f"{WEIGHTS} does" if source.form == "archive" else "the weights do"
    return BadInput(
        f"{source.path.name}: {what} not fit the model: {problem}",
        next_step="Load the file with the Keras that wrote it and save it again with a newer one.",
    )
