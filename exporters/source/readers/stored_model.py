"""A stored model, opened: what every form of it gives to whoever examines or loads it.

In: nothing. Out: the records that the modules of the forms fill (`exporters.source.readers.detection`), read by
`examine` in the bounded child and by `exporters.source.keras.keras2` and `exporters.source.keras.keras3` in the worker.
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
"""What a stored value serves: `weight` is what inference uses, all else can be dropped."""
Wanted = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored array.

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
    """Where a form keeps its arrays, and how it calls them."""

    @abstractmethod
    def rows(self, wanted: Wanted = lambda _: True) -> AbstractContextManager[Iterator[Stored]]:
        """Every array, its declaration checked; they can be read while the context is open.

        Args:
            wanted: whether to look at the group or array of this path at all.

        Raises:
            BadInput: the file is damaged or doctored, or declares what it does not store.
        """

    @abstractmethod
    def role(self, path: str) -> Role:
        """What a group or array serves."""

    @abstractmethod
    def layer(self, path: str) -> str:
        """The layer that an array belongs to, as a person knows it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One stored model, open.

    Attributes:
        path: the file or folder.
        form: how it is stored.
        keras_version: what wrote it, as it says itself; empty when it does not.
        generation: of the Keras that reads it; None where none does, or where a builder's model will tell.
        backend: what Keras ran on when it was written; empty when it does not say.
        date_saved: when, as Keras wrote it; empty when it did not.
        where: the part that describes the architecture, for messages.
        config: that description; None where a builder stands in its place.
        training: what compiled the model, where it stands beside the configuration.
        builder: the user's function, `MODULE:FUNCTION`, that makes the model; empty when `config` describes it.
        weights: where the weights are.
        assets: name -> reads the file of words that a layer keeps beside its weights, `layers/words/vocabulary.txt`.
        verify: reads what has checksums against them; raises BadInput naming what is damaged.
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
