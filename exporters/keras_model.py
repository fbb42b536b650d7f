"""The source model: loading it, naming its tensors, and calling it under those names.

In: an admitted `.keras` file. Out: a Keras model, its canonical `Signature`, and one inference function from a dict of
canonical inputs to a dict of canonical outputs. Runs inside a worker process only; Keras is imported in functions.
"""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporters.contract import Signature, TensorSpec
from exporters.errors import BadInput
from exporters.names import canonical, display_path


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """A loaded model with its canonical names.

    Attributes:
        keras: the Functional (or Sequential's inner Functional) model.
        signature: canonical names in the order of the flattened structures.
    """

    keras: Any
    signature: Signature

    def call(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """One inference call: random layers neutral, canonical names in and out. Takes and returns tensors."""
        return self.named(self.keras(self.structured(inputs), training=False))

    def structured(self, inputs: Mapping[str, Any]) -> Any:
        """Canonical inputs in the structure the model wants."""
        import keras

        flat = [inputs[spec.name] for spec in self.signature.inputs]
        return keras.tree.pack_sequence_as(self.keras.input, flat)

    def named(self, outputs: Any) -> dict[str, Any]:
        """The model's outputs by canonical name."""
        import keras

        flat = keras.tree.flatten(outputs)
        names = [spec.name for spec in self.signature.outputs]
        if len(flat) != len(names):
            msg = f"the model returned {len(flat)} outputs, its signature has {len(names)}: {', '.join(names)}"
            raise RuntimeError(msg)
        return dict(zip(names, flat, strict=True))


def load(path: Path, *, custom_objects: Sequence[str] = (), trust_lambda: bool = False) -> SourceModel:
    """Loads an admitted `.keras` file for inference.

    Args:
        path: the file; `exporters.admission` must have let it in.
        custom_objects: modules (`package.module`) or Python files with the user's own layers and functions.
        trust_lambda: whether Lambda layers may run their stored bytecode.

    Raises:
        BadInput: Keras cannot build the model, or the weights do not fit it.
    """
    import keras

    for name in custom_objects:
        try:
            _register(_import_user_module(name))
        except Exception as error:
            raise BadInput(
                f"--custom-objects {name}: cannot be imported: {type(error).__name__}: {error}",
                next_step="Name a package.module that imports in this environment, or a .py file.",
            ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the optimizer and about metrics: inference needs neither
            model = keras.saving.load_model(path, compile=False, safe_mode=not trust_lambda)
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
        raise BadInput(
            f"{path.name}: Keras {keras.__version__} cannot load it: {_cause(error)}",
            next_step="Check that the file loads with keras.saving.load_model in the environment that wrote it.",
        ) from error
    functional = _functional(model, path.name)
    return SourceModel(keras=functional, signature=_signature(functional))


def _cause(error: BaseException) -> str:
    """What is wrong in Keras' words, without the configurations, values and lists that it appends.

    Where Keras wraps one error in another, the last one it "encountered" is the cause.
    """
    paragraphs = [p for p in str(error).strip().split("\n\n") if not p.startswith(("config=", "List of objects"))]
    encountered = [p for p in paragraphs if p.startswith("Exception encountered: ")]
    text = encountered[-1].removeprefix("Exception encountered: ") if encountered else " ".join(paragraphs)
    text = text.partition(" Full object config:")[0].partition(", value=[")[0]
    return " ".join(text.split())[:600]


def _import_user_module(name: str) -> Any:
    if not name.endswith(".py"):
        sys.path.append(str(Path.cwd()))  # a package beside the user; workers leave the current folder out otherwise
        return importlib.import_module(name)
    path = Path(name)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _register(module: Any) -> None:
    """Offers every class and function the module itself defines to Keras under its plain name."""
    import keras

    own = {n: o for n, o in vars(module).items() if getattr(o, "__module__", None) == module.__name__}
    keras.saving.get_custom_objects().update({n: o for n, o in own.items() if callable(o) and not n.startswith("_")})


def _functional(model: Any, name: str) -> Any:
    """The model as a Functional one: Sequential carries one, a subclass is wrapped once its input shape is known."""
    import keras

    functional = keras.src.models.functional.Functional
    if isinstance(model, keras.Sequential) and type(model).call is keras.Sequential.call and model.built:
        return model._functional  # noqa: SLF001 - where Sequential keeps its graph once built
    if isinstance(model, functional):
        if type(model).call is functional.call:
            return model
        inputs = keras.tree.map_structure(
            lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), model.input
        )
        return keras.Model(inputs, model(inputs, training=False))
    shape = (getattr(model, "_build_shapes_dict", None) or {}).get("input_shape")
    if not model.built or shape is None:
        raise BadInput(
            f"{name}: the input shape of this {type(model).__name__} is not stored in the file",
            next_step="Give the model an Input layer (or call it once) and save it again.",
        )
    inputs = keras.Input(batch_shape=tuple(shape), name="input")
    return keras.Model(inputs, model(inputs, training=False))


def _signature(model: Any) -> Signature:
    import keras

    outputs = keras.tree.flatten_with_path(model.output)
    return Signature(
        inputs=_specs([(path, tensor, tensor.name) for path, tensor in keras.tree.flatten_with_path(model.input)]),
        outputs=_specs([(path, t, name) for (path, t), name in zip(outputs, model.output_names, strict=True)]),
    )


def _specs(tensors: Sequence[tuple[tuple[str | int, ...], Any, str]]) -> tuple[TensorSpec, ...]:
    names = canonical([(path, own) for path, _, own in tensors])
    return tuple(
        TensorSpec(name=name, dtype=str(tensor.dtype), shape=tuple(tensor.shape), path=display_path(path))
        for name, (path, tensor, _) in zip(names, tensors, strict=True)
    )


def tensor_specs(specs: Sequence[TensorSpec], *, batch: int | None = None) -> dict[str, Any]:
    """`tf.TensorSpec`s for tracing, by canonical name.

    Args:
        specs: the signature's inputs.
        batch: fixes a dynamic first axis to this length; None leaves it dynamic.
    """
    import tensorflow as tf

    return {
        s.name: tf.TensorSpec((s.shape[0] or batch, *s.shape[1:]), tf.dtypes.as_dtype(s.dtype), name=s.name)
        for s in specs
    }
