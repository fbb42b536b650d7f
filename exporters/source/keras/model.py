"""Defines the source model: a loaded Keras model whose tensors have canonical names.

In: an admitted model. Out: a `SourceModel`: its canonical `Signature`, one inference function from a dict of canonical
inputs to a dict of canonical outputs, and the few verbs that the exporters need. Keras 3
(`exporters.source.keras.keras3`) and Keras 2 (`exporters.source.keras.keras2`, through tf_keras) are its two
implementations; each is imported only where a model of its kind is loaded. Runs inside a worker process only.
"""

import platform
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from exporters.contract import Signature, TensorSpec, UsedCode
from exporters.errors import BadInput
from exporters.source.admission.decision import SHAPE_FLAG
from exporters.source.model_source import Shape
from exporters.tensor_names import TreePath, canonical, display_path

_NEXT_STEP = "Check that the file loads with keras.saving.load_model in the environment that wrote it."
_NEXT_STEPS = (
    (
        r"the bytecode of a Lambda layer",
        "Load it with the Python that wrote it, replace the Lambda by a Keras layer and save it again.",
    ),
    (
        r"expected \d+ variables, but received 0",
        "The file has no weights for this layer: save the model again once it is built and has its weights.",
    ),
    (
        r"[Cc]ould not locate|[Uu]nknown (layer|object)",
        "Name the module or file that defines it as well: --custom-objects PACKAGE.MODULE_OR_FILE.",
    ),
)
"""Pattern in Keras' message -> what the user can do about it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """Describes a recurrent layer of a model.

    Attributes:
        layer: the layer.
        steps: length of the time axis that it was built for; None when it is dynamic or the layer does not say.
        known: whether it is an LSTM, a GRU or a SimpleRNN, which targets have operators for.
    """

    layer: Any
    steps: int | None
    known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel(ABC):
    """Wraps a loaded model with its canonical names.

    Attributes:
        graph: the Functional model (a Sequential's inner one, a wrapper around a subclass).
        structure: the inputs of `graph` in the structure that it takes.
        signature: canonical names in the order of the flattened structures.
        code: what of the user's own code it was built with.
    """

    graph: Any
    structure: Any
    signature: Signature
    code: tuple[UsedCode, ...] = ()

    def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Runs one inference call: random layers neutral, canonical names in and out. Takes and returns tensors."""
        return self.named(self.graph(self.structured(inputs), training=False))

    @abstractmethod
    def with_constants(self) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        """Returns the same call for a graph in which weights are constants and state updates are dropped."""

    @abstractmethod
    def parameter_bytes(self) -> int:
        """Returns bytes of all weights together."""

    @abstractmethod
    def loops(self) -> list[Loop]:
        """Returns all layers that loop over time, wrapped ones included."""

    def unroll(self, loops: Sequence[Loop]) -> None:
        """Switches recurrent layers for good to writing their steps out; they need static time."""
        for loop in loops:
            loop.layer.unroll = True

    @abstractmethod
    def rebuilt(self, change: Callable[[Any], Any]) -> Any:
        """Returns the graph built once more from its changed configuration, its weights as initializers leave them.

        Args:
            change: takes the configuration and returns another one.
        """

    @abstractmethod
    def variables_of(self, graph: Any) -> list[tuple[str, Any]]:
        """Returns (name, `tf.Variable`) of every variable of a graph of this Keras, in its order."""

    @abstractmethod
    def trackable(self, function: Any) -> Any:
        """Returns the object that `tf.saved_model.save` takes: variables and lookup tables.

        Args:
            function: the traced inference function, whose resources it has to hold.
        """

    def structured(self, inputs: Mapping[str, Any]) -> Any:
        """Packs canonical inputs into the structure that the model takes."""
        import keras

        flat = [inputs[spec.name] for spec in self.signature.inputs]
        return keras.tree.pack_sequence_as(self.structure, flat)

    def named(self, outputs: Any) -> dict[str, Any]:
        """Returns the model's outputs by canonical name."""
        import keras

        flat = keras.tree.flatten(outputs)
        names = [spec.name for spec in self.signature.outputs]
        if len(flat) != len(names):
            msg = f"the model returned {len(flat)} outputs, its signature has {len(names)}: {', '.join(names)}"
            raise RuntimeError(msg)
        return dict(zip(names, flat, strict=True))


@contextmanager
def keras_errors_as_bad_input(name: str, keras: str) -> Iterator[None]:
    """Turns an error of Keras about a model that it cannot build into BadInput with the cause in Keras' words.

    Args:
        name: of the model's file.
        keras: name and version of the Keras that loads it.
    """
    try:
        yield
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ImportError,
        IndexError,
        OSError,
        NotImplementedError,
    ) as error:
        message = cause(error)
        next_step = next((step for pattern, step in _NEXT_STEPS if re.search(pattern, message)), _NEXT_STEP)
        raise BadInput(f"{name}: {keras} cannot load it: {message}", next_step=next_step) from error


def cause(error: BaseException) -> str:
    """Extracts the cause from Keras' message, without the configurations, values and lists that it appends.

    Where Keras wraps one error in another, the last one it "encountered" is the cause.
    """
    paragraphs = [p for p in str(error).strip().split("\n\n") if not p.startswith(("config=", "List of objects"))]
    encountered = [p for p in paragraphs if p.startswith("Exception encountered: ")]
    text = encountered[-1].removeprefix("Exception encountered: ") if encountered else " ".join(paragraphs)
    text = text.partition(" Full object config:")[0].partition(", value=[")[0]
    if "marshal data" in text:
        text = f"the bytecode of a Lambda layer is not that of Python {platform.python_version()} ({text})"
    return " ".join(text.split())[:600]


def without_training(node: Any) -> Any:
    """Copies a configuration without the parts that compile models: inference needs no loss and no metric."""
    if isinstance(node, dict):
        is_object = "class_name" in node
        return {
            key: without_training(value) for key, value in node.items() if not (is_object and key == "compile_config")
        }
    return [without_training(item) for item in node] if isinstance(node, list) else node


def refuse_needless_shapes(name: str, shapes: Mapping[str, Shape]) -> None:
    """Raises BadInput when the user gives shapes for a model whose file states them itself."""
    if shapes:
        raise BadInput(
            f"{name}: the file states the shapes of its inputs itself, and --input-shape was given for "
            f"{', '.join(shapes)}",
            next_step="Leave --input-shape out.",
        )


def unknown_shape(name: str, kind: str) -> BadInput:
    """Builds the error for a model that cannot be built because its input shape is unknown; the caller raises it."""
    return BadInput(
        f"{name}: the input shape of this {kind} is not stored in the file",
        next_step=f"Give it, batch first and ? for a free axis: {SHAPE_FLAG}. "
        "Or give the model an Input layer (or call it once) and save it again.",
    )


def only(inputs: Mapping[str, Any]) -> Any:
    """Returns the one input of a Sequential; raises ValueError when the user gave shapes for several."""
    if len(inputs) != 1:
        raise ValueError(f"a Sequential has one input, and --input-shape was given for {', '.join(inputs)}")
    return next(iter(inputs.values()))


def one_or_dict(inputs: Mapping[str, Any]) -> Any:
    """Returns the argument that a model is called with: one input as it is, several as a dict under their names."""
    return only(inputs) if len(inputs) == 1 else inputs


def specs(tensors: Sequence[tuple[TreePath, Any, str]]) -> tuple[TensorSpec, ...]:
    """Returns the specs of inputs or outputs from (path in the structure, tensor, the model's own name for it)."""
    names = canonical([(path, own) for path, _, own in tensors])
    return tuple(
        TensorSpec(
            name=name,
            dtype=getattr(tensor.dtype, "name", None) or str(tensor.dtype),
            shape=tuple(tensor.shape),
            path=display_path(path),
        )
        for name, (path, tensor, _) in zip(names, tensors, strict=True)
    )


def tensor_specs(specs: Sequence[TensorSpec], *, batch: int | None = None) -> dict[str, Any]:
    """Builds the `tf.TensorSpec`s for tracing, by canonical name.

    Args:
        specs: the signature's inputs.
        batch: fixes a dynamic first axis to this length; None leaves it dynamic.
    """
    import tensorflow as tf

    return {
        s.name: tf.TensorSpec((s.shape[0] or batch, *s.shape[1:]), tf.dtypes.as_dtype(s.dtype), name=s.name)
        for s in specs
    }
