"""What the stored weights amount to, and whether every one of them is a finite number.

In: an open `Archive`. Out: a `WeightFacts`, or BadInput naming the layer. Keras 3 stores `layers/NAME/vars/N` (nested
models below their layer), `optimizer/vars/N`, and metrics under the attribute that holds them; each `vars` group
carries its layer's true name.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from exporters.admission.archive import Archive
from exporters.admission.hdf5 import Stored, datasets, reading
from exporters.admission.printable import printable
from exporters.errors import BadInput

_LAYERS = ("layers", "_layer_checkpoint_dependencies")
"""Groups whose members are layers; the second is how Keras 2.13 called it."""
_METRICS = ("metrics", "_metrics", "compile_metrics", "_compile_metrics")
_SLAB = 8 << 20
"""Bytes read at a time while looking for NaN."""
_BFLOAT16_EXPONENT = 0x7F80

Role = Literal["weight", "optimizer", "metrics", "seed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFacts:
    """Sizes of what the file stores; the fields are those of `ModelFacts`."""

    parameters: int
    parameter_bytes: int
    optimizer_bytes: int
    has_optimizer_state: bool


def role(path: str) -> Role:
    """What a group or dataset serves: `weight` is what inference uses, all else can be dropped.

    A group below `layers` is a layer, whatever it is called.
    """
    steps = path.split("/")
    for parent, step in zip(["", *steps], steps, strict=False):
        if parent in _LAYERS:
            continue
        if step == "optimizer":
            return "optimizer"
        if step in _METRICS or step.endswith("loss_tracker"):
            return "metrics"
        if step == "seed_generator":
            return "seed"
    return "weight"


def measure(archive: Archive) -> WeightFacts:
    """Adds up what the file stores, and checks every dataset's declaration on the way.

    Raises:
        BadInput: see `exporters.admission.hdf5.datasets`.
    """
    with datasets(archive) as stored:
        rows = [(role(item.path), item.elements, item.size) for item in stored]
    return WeightFacts(
        parameters=sum(elements for kind, elements, _ in rows if kind == "weight"),
        parameter_bytes=sum(size for kind, _, size in rows if kind == "weight"),
        optimizer_bytes=sum(size for kind, _, size in rows if kind == "optimizer"),
        has_optimizer_state=any(kind == "optimizer" for kind, *_ in rows),
    )


def check_finite(archive: Archive) -> None:
    """Raises BadInput naming the first weight with a NaN or infinite value and how many it has."""
    import h5py

    with datasets(archive, wanted=lambda path: role(path) == "weight") as stored:
        for item in stored:
            dataset = h5py.Dataset(item.dataset)
            with reading(archive, item.path):
                bad = sum(_nonfinite(dataset[slab]) for slab in _slabs(item))
            if bad:
                raise BadInput(
                    f"{archive.path}: layer {_layer(dataset.file, item.path)} has a weight "
                    f"({printable(item.path)}) in which {bad:,} of {item.elements:,} values are NaN or infinite",
                    next_step="Training diverged: take an earlier checkpoint, or train with a lower learning rate.",
                )


def _layer(file: Any, path: str) -> str:
    """The path of the layer's own names, `encoder/dense`, from the names that Keras keeps beside the weights."""
    names: list[str] = []
    group, steps = file, path.split("/")[:-1]
    for parent, step in zip(["", *steps], steps, strict=False):
        group = group[step]
        if parent in _LAYERS or (not parent and step not in (*_LAYERS, "vars")):
            given = group["vars"].attrs.get("name") if "vars" in group else None
            names.append(given if isinstance(given, str) else step)
    return printable("/".join(names)) or "(the model itself)"


def _slabs(item: Stored) -> Iterator[tuple[Any, ...]]:
    """Index expressions that cover an array in parts of about `_SLAB` bytes."""
    import numpy as np

    shape, itemsize = item.shape, item.dtype.itemsize
    axis = 0
    while axis < len(shape) and math.prod(shape[axis + 1 :]) * itemsize > _SLAB:
        axis += 1
    if axis == len(shape):
        yield ()
        return
    step = max(1, _SLAB // max(1, math.prod(shape[axis + 1 :]) * itemsize))
    for outer in np.ndindex(*shape[:axis]):
        for start in range(0, shape[axis], step):
            yield (*outer, slice(start, start + step))


def _nonfinite(values: Any) -> int:
    """How many values are NaN or infinite; Keras stores bfloat16 as opaque pairs of bytes."""
    import numpy as np

    array = np.asarray(values)
    if array.dtype.kind in "fc":
        return int(array.size - np.count_nonzero(np.isfinite(array)))
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:  # noqa: PLR2004 - two bytes: bfloat16
        bits = np.ascontiguousarray(array).view(np.uint16)
        return int(np.count_nonzero((bits & _BFLOAT16_EXPONENT) == _BFLOAT16_EXPONENT))
    return 0
