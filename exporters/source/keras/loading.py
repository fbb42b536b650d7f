"""Loads an admitted model with the Keras that it was written by.

In: a stored model that admission let in, and how the user wants it loaded. Out: a `SourceModel`. Keras 3 and Keras 2
(through tf_keras) are its two readers; each imports its Keras only when a model of its kind is loaded.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from exporters.source.keras import keras2, keras3
from exporters.source.keras.model import SourceModel
from exporters.source.keras.user_code import built_by, generation_of
from exporters.source.keras_version import Generation
from exporters.source.model_source import ModelSource
from exporters.source.readers.detection import opened


def load(wanted: ModelSource) -> SourceModel:
    """Loads an admitted model for inference, in the Keras that it was written by.

    Args:
        wanted: the model, which `exporters.source.admission` must have let in, and how to load it.

    Raises:
        BadInput: Keras cannot build the model, or the weights do not fit it.
    """
    with opened(wanted.path, wanted.architecture) as source:
        built = None
        if source.builder:
            with written_for(source.generation):
                built = built_by(source.builder)
        generation = source.generation if built is None else generation_of(built)
        if generation == 2:  # noqa: PLR2004 - of Keras
            return keras2.load(source, wanted, built)
        return keras3.load(source, wanted, built)


@contextmanager
def written_for(generation: Generation | None) -> Iterator[None]:
    """Makes a user's `import keras` and `tensorflow.keras` mean the Keras of their model, while active."""
    if generation != 2:  # noqa: PLR2004 - of Keras; 3 is what they mean anyway
        yield
        return
    with keras2.keras_is_tf_keras():
        yield
