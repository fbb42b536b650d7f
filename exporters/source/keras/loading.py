"""Loads an admitted model with the Keras that it was written by.

In: a stored model that admission let in, and how the user wants it loaded. Out: a `SourceModel`. Keras 3 and Keras 2
(through tf_keras) are its two readers; each imports its Keras only when a model of its kind is loaded.
"""

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from exporters.source.keras.model import Loading, Shape, SourceModel
from exporters.source.keras.user_code import built_by, generation_of
from exporters.source.keras_version import Generation
from exporters.source.readers.detection import opened

_READERS: Mapping[Generation | None, str] = {2: "exporters.source.keras.keras2", 3: "exporters.source.keras.keras3"}


def load(
    path: Path,
    *,
    architecture: str = "",
    custom_objects: Sequence[str] = (),
    trust_lambda: bool = False,
    input_shapes: Mapping[str, Shape] | None = None,
) -> SourceModel:
    """Loads an admitted model for inference, in the Keras that it was written by.

    Args:
        path: the file, folder or checkpoint; `exporters.source.admission` must have let it in.
        architecture: see `exporters.source.readers.detection.opened`.
        custom_objects: see `Loading`.
        trust_lambda: see `Loading`.
        input_shapes: see `Loading`.

    Raises:
        BadInput: Keras cannot build the model, or the weights do not fit it.
    """
    loading = Loading(custom_objects=custom_objects, trust_lambda=trust_lambda, input_shapes=input_shapes or {})
    with opened(path, architecture) as source:
        built = None
        if source.builder:
            with written_for(source.generation):
                built = built_by(source.builder)
        reader = importlib.import_module(_READERS[source.generation if built is None else generation_of(built)])
        model: SourceModel = reader.load(source, loading, built)
    return model


@contextmanager
def written_for(generation: Generation | None) -> Iterator[None]:
    """Makes a user's `import keras` and `tensorflow.keras` mean the Keras of their model, while active."""
    if generation != 2:  # noqa: PLR2004 - of Keras; 3 is what they mean anyway
        yield
        return
    from exporters.source.keras.keras2 import keras_is_tf_keras

    with keras_is_tf_keras():
        yield
