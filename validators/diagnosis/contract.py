"""Defines the records that the steps of a diagnosis pass to each other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from validators.diagnosis.tensor_match import Match


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """Records one call of a layer while the original ran.

    Attributes:
        number: in the order of calls, from 0.
        layer: path of layer names, `encoder/dense_1`.
        kind: its class.
        inputs: the values it was called with: `input:NAME` of the model, `NUMBER.K` for output K of an earlier call,
            `?N` for a value that was computed between layers.
        outputs: how many tensors it returned.
    """

    number: int
    layer: str
    kind: str
    inputs: tuple[str, ...]
    outputs: int

    def value(self, k: int = 0) -> str:
        """Returns the name of its output `k`."""
        return f"{self.number}.{k}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Holds the original's outputs by canonical name, and the value that each one is (or `?`)."""

    arrays: Mapping[str, np.ndarray]
    values: Mapping[str, str]


Arrays = tuple[np.ndarray, ...]
Visit = Callable[[Call, Arrays, Arrays], Arrays]
"""Receives a call with its inputs and outputs while the original runs; returns what the model continues with."""
Run = Callable[[Visit], Result]
"""Runs the original once, always over the same samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspicion:
    """Records the result of the search over the artifact's tensors.

    Attributes:
        calls: the calls that contain the fault, the most likely first; several where the artifact computes them in one
            operator. Empty where no layer is at fault.
        tensor: the artifact's tensor that holds the wrong value; empty where none was found.
        distance: how far it is from what the layer computes from the artifact's inputs, as a share of its scale.
        limit: the distance beyond which a layer counted as wrong.
        explains: whether the original computes what the artifact computes, once this one tensor replaces the layer's
            output: then there is no other fault.
        misbound: outputs that are right inside the artifact and wrong under their names -> the output that each is.
        feeds: values that the suspect takes from right layers -> the artifact's tensors that hold them.
        axes: the layout of `tensor`.
        why: the reason why the first of several calls is the most likely.
    """

    calls: tuple[Call, ...] = ()
    tensor: str = ""
    distance: float = 0.0
    limit: float = 0.0
    explains: bool = False
    misbound: Mapping[str, str] = field(default_factory=dict)
    feeds: Mapping[str, tuple[Match, ...]] = field(default_factory=dict)
    axes: tuple[int, ...] = ()
    why: str = ""


Files = Mapping[str, Path]
"""Name of a tensor -> its `.npy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Records some layers of the original as a separate model.

    Attributes:
        fed, computed: their inputs and outputs, value -> `.npy`, as the original computes them.
        model: the `.keras` file; None where Keras cannot save one.
        inputs: its inputs' names -> values.
        refused: why there is no file.
    """

    fed: Files = field(default_factory=dict)
    computed: Files = field(default_factory=dict)
    model: Path | None = None
    inputs: Mapping[str, str] | None = None
    refused: str | None = None
