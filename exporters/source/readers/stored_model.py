"""Defines the records of an opened stored model, the same for every form.

The modules of the forms fill them (`exporters.source.readers.detection`). `examine` reads them in the bounded child,
`exporters.source.keras.keras2` and `exporters.source.keras.keras3` in the worker.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from exporters.source.facts import Form
from exporters.source.keras_version import Generation

Role = Literal["weight", "optimizer", "metrics", "seed", "other"]
"""The use of a stored value: inference needs a `weight`, all else can be dropped."""
Wanted = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Stored:
    """Describes one stored array.

    Attributes:
        path: where it stands, e.g. `layers/dense/vars/0`.
        shape: its axis lengths.
        dtype: NumPy's element type.
        read: gives the values under an index expression, `()` for all.
        stored: bytes that it takes up in the file, which may be packed.
    """

    path: str
    shape: tuple[int, ...]
    dtype: Any
    read: Callable[[Any], Any]
    stored: int = 0

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        return self.elements * int(self.dtype.itemsize)


class Weights(ABC):
    """Gives access to the arrays of a stored model, and tells their roles and layers."""

    @abstractmethod
    def rows(self, wanted: Wanted = lambda _: True) -> AbstractContextManager[Iterator[Stored]]:
        """Yields every array, its declaration checked; they can be read while the context is open.

        Args:
            wanted: whether to look at the group or array of this path at all.

        Raises:
            BadInput: the file is damaged or doctored, or declares what it does not store.
        """

    @abstractmethod
    def role(self, path: str) -> Role:
        """Returns the role of a group or array."""

    @abstractmethod
    def layer(self, path: str) -> str:
        """Returns the name of the layer that an array belongs to, for messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredModel:
    """Holds one opened stored model.

    Attributes:
        path: the file or folder.
        form: how it is stored.
        keras_version: version of the Keras that wrote it, as the files state it; empty when they do not.
        generation: of the Keras that reads it; None where none does, or where only the builder's model shows it.
        backend: Keras' backend when it was written; empty when the files do not state it.
        date_saved: when, as Keras wrote it; empty when it did not.
        where: the part that describes the architecture, for messages.
        config: that description; None where a builder replaces it.
        training: the configuration that compiled the model, where it is stored separately.
        builder: the user's function, `MODULE:FUNCTION`, that builds the model; empty when `config` describes it.
        weights: the arrays.
        assets: name -> reads the vocabulary file that a layer stores next to its weights,
            `layers/words/vocabulary.txt`.
        verify: checks everything that has a checksum; raises BadInput naming what is damaged.
        digest: gives the SHA-256 of all files together, in hex, and their bytes.
    """

    path: Path
    form: Form
    keras_version: str
    generation: Generation | None
    weights: Weights
    digest: Callable[[], tuple[str, int]]
    where: str = ""
    config: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    builder: str = ""
    backend: str = ""
    date_saved: str = ""
    assets: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)
    verify: Callable[[], None] = lambda: None
