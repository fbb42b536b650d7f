"""Reads the two layouts in which Keras stores weights in HDF5: by object since Keras 2.12, by layer names before.

In: an `Hdf5`. Out: a `Weights`. The newer layout stores `layers/NAME/vars/N` (nested models below their layer),
`optimizer/vars/N`, and metrics under the attribute that holds them; each `vars` group carries its layer's true name.
The older one stores `LAYER/WEIGHT_NAME`, in a whole model below `model_weights`, next to the group of the optimizer.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from exporters.source.printable import printable
from exporters.source.readers.hdf5 import Hdf5, datasets, opened
from exporters.source.readers.stored_model import Role, Stored, Wanted, Weights

MODEL_WEIGHTS = "model_weights"
OPTIMIZER_WEIGHTS = "optimizer_weights"
_LAYERS = ("layers", "_layer_checkpoint_dependencies")
"""Groups whose members are layers; the second is how Keras 2.13 called it."""
_METRICS = ("metrics", "_metrics", "compile_metrics", "_compile_metrics")
_OWN = "top_level_model_weights"
_ITSELF = "(the model itself)"


@dataclass(frozen=True, slots=True)
class ObjectWeights(Weights):
    """Reads the layout of `model.weights.h5` and of `.weights.h5` files."""

    hdf5: Hdf5

    def rows(self, wanted: Wanted = lambda _: True) -> AbstractContextManager[Iterator[Stored]]:
        return datasets(self.hdf5, wanted)

    def role(self, path: str) -> Role:
        return role(path)

    def layer(self, path: str) -> str:
        """Returns the path of layer names, `encoder/dense`, which Keras stores next to the weights."""
        names: list[str] = []
        with opened(self.hdf5) as file:
            group: Any = file
            steps = path.split("/")[:-1]
            for parent, step in zip(["", *steps], steps, strict=False):
                group = group[step]
                if parent in _LAYERS or (not parent and step not in (*_LAYERS, "vars")):
                    name = group["vars"].attrs.get("name") if "vars" in group else None
                    names.append(name if isinstance(name, str) else step)
        return printable("/".join(names)) or _ITSELF


def role(path: str) -> Role:
    """Returns the role of a group or dataset of the newer layout.

    A group below `layers` is a layer, whatever its name is. Keras 2 on Windows joined steps with backslashes.
    """
    steps = path.replace("\\", "/").split("/")
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


@dataclass(frozen=True, slots=True)
class NamedWeights(Weights):
    """Reads the layout of older `.h5` files.

    Attributes:
        hdf5: the file.
        group: the group that holds the layers, `model_weights`; empty in a file of weights only.
    """

    hdf5: Hdf5
    group: str = ""

    def rows(self, wanted: Wanted = lambda _: True) -> AbstractContextManager[Iterator[Stored]]:
        return datasets(self.hdf5, wanted)

    def role(self, path: str) -> Role:
        first = path.partition("/")[0]
        if not self.group or first == self.group:
            return "weight"
        return "optimizer" if first == OPTIMIZER_WEIGHTS else "other"

    def layer(self, path: str) -> str:
        steps = path.split("/")
        name = steps[1] if self.group and len(steps) > 1 else steps[0]
        return _ITSELF if name == _OWN else printable(name)
