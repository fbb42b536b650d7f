"""Assigns the stored weights of a Keras 3 model to their variables.

In: a model that Keras 3 built, and its open `StoredModel`. Out: the model with its weights. A `.keras` archive does
not come here: Keras reads it whole.
"""

from typing import Any

from exporters.source.keras.weight_restoring import from_checkpoint, from_names, refuse_lost_words, restoring
from exporters.source.readers.hdf5_weights import NamedWeights, ObjectWeights
from exporters.source.readers.stored_model import StoredModel

_SHOWN = 3


def restore(model: Any, source: StoredModel) -> None:
    """Loads weights into a built model.

    Args:
        model: of Keras 3.
        source: the open model that it came from.

    Raises:
        BadInput: what is stored does not fit, or leaves a variable as it was.
    """
    refuse_lost_words(model, source)
    variables = [(variable.path, variable.value) for variable in model.weights]
    with restoring(source, variables):
        if isinstance(source.weights, ObjectWeights):
            _from_objects(model, source)
        elif isinstance(source.weights, NamedWeights):
            from keras.src.legacy.saving import legacy_h5_format

            from_names(model, source, legacy_h5_format)
        else:
            from_checkpoint(model, source, variables)


def _from_objects(model: Any, source: StoredModel) -> None:
    """Loads a `.weights.h5` with Keras' own walk, and checks that the walk asks for every stored group.

    Raises:
        ValueError: a group is stored that the model has no layer for, or does not fit its layer.
    """
    from keras.src.saving import saving_lib

    asked: set[str] = set()

    class Watched(saving_lib.H5IOStore):  # type: ignore[misc]  # Keras is untyped
        def get(self, path: str) -> Any:
            asked.add(path)
            return super().get(path)

    store, visited = Watched(source.path, mode="r"), set[int]()
    try:
        saving_lib._load_state(  # noqa: SLF001 - `load_weights` asks for a suffix
            model, weights_store=store, assets_store=None, inner_path="", visited_saveables=visited
        )
    finally:
        store.close()
    with source.weights.rows(lambda path: source.weights.role(path) == "weight") as rows:
        groups = sorted({row.path.rpartition("/vars/")[0] for row in rows})
    if unknown := [group for group in groups if group not in asked]:
        raise ValueError(f"stored for layers that it does not have: {', '.join(unknown[:_SHOWN])}")
