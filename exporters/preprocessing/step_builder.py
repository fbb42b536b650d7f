"""Collects the steps of a preprocessing, each with a unique name for its output.

In: steps, one after the other, from `layers` and `operators`. Out: the finished list and its files.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from exporters.preprocessing.description import Entries
from exporters.preprocessing.steps import AnyStep


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedTensor:
    """Describes a tensor of the description: its name, element type, shape, and whether its rows differ in length."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    ragged: bool = False


class Writer:
    """Collects steps and files.

    Args:
        taken: names that are in use: those of the model's inputs.
    """

    def __init__(self, taken: Sequence[str]) -> None:
        self._taken = set(taken)
        self.steps: list[AnyStep] = []
        self.files: dict[str, Entries] = {}

    def add(self, kind: Any, layer: str, *inputs: DescribedTensor, **parameters: Any) -> DescribedTensor:
        """Adds a step whose output has its first input's type and shape, unless `parameters` give others.

        Args:
            kind: one of `exporters.preprocessing.steps`.
            layer: title of the layer it belongs to.
            inputs: the tensors it takes.
            parameters: of the step, and `dtype`, `shape`, `ragged` of its output.
        """
        first = inputs[0]
        about = {"dtype": first.dtype, "shape": first.shape, "ragged": first.ragged, **parameters}
        tensor = DescribedTensor(
            name=self._name(f"{_plain(layer)}.{_operation(kind)}"),
            dtype=about["dtype"],
            shape=about["shape"],
            ragged=about["ragged"],
        )
        self.steps.append(kind(layer=layer, inputs=tuple(i.name for i in inputs), output=tensor.name, **about))
        return tensor

    def file(self, kind: str, layer: str, entries: Entries) -> str:
        """Adds a file to the description; `kind` is `vocabulary` or `weights`. Returns its name."""
        base = name = f"{kind}.{_plain(layer)}"
        number = 1
        while self.files.get(f"{name}.json", entries) != entries:  # a layer that is called twice needs one file
            number += 1
            name = f"{base}_{number}"
        self.files[f"{name}.json"] = entries
        return f"{name}.json"

    def _name(self, wanted: str) -> str:
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}_{number}"
        self._taken.add(name)
        return name


def _operation(kind: Any) -> str:
    return next(str(known.default) for known in fields(kind) if known.name == "operation")


def _plain(title: str) -> str:
    return re.sub(r"\W", "_", title.partition(" ")[0], flags=re.ASCII)
