"""Assigns stored weights to the variables of a model that is built already, in any form but Keras' own archive.

In: a model and its open `StoredModel`. Out: the model with its weights, each variable proven to have got its values.
The parts that differ between Keras 2 and Keras 3 are in `exporters.source.keras.keras2_weights` and
`exporters.source.keras.keras3_weights`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from exporters.errors import BadInput
from exporters.source.keras.model import cause
from exporters.source.readers.hdf5_weights import NamedWeights
from exporters.source.readers.stored_model import StoredModel
from exporters.source.readers.weights_with_architecture import prefix_of

Variables = Sequence[tuple[str, Any]]
"""(name, `tf.Variable`) of all that inference uses; two layers may give the same name."""
_SHOWN = 3
_FITS = (0, True)
_NEXT_STEP = "Give the architecture that these weights were saved from, with the same layers in the same order."


@contextmanager
def restoring(source: StoredModel, variables: Variables) -> Iterator[None]:
    """Proves that the code in the context gives every variable its values.

    Before, every variable is filled with a value that no admitted weight has (NaN, the smallest integer); a variable
    that still has it at the end was not restored.

    Args:
        source: the open model.
        variables: of the model.

    Raises:
        BadInput: the stored weights do not fit, or leave a variable out.
    """
    import tensorflow as tf

    _mark_all(variables)
    try:
        yield
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise BadInput(
            f"{source.path.name}: the weights do not fit the model: {cause(error)}", next_step=_NEXT_STEP
        ) from error
    if left := missing(variables):
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        raise BadInput(
            f"{source.path.name}: the weights do not fit the model: {len(left)} of its {len(variables)} variables are "
            f"not stored: {', '.join(left[:_SHOWN])}{more}",
            next_step=_NEXT_STEP,
        )


def refuse_lost_words(model: Any, source: StoredModel) -> None:
    """Raises BadInput naming a lookup layer that has no words: only `.keras` archives and configurations keep them."""
    for layer in model._flatten_layers():  # noqa: SLF001 - wrapped ones as well
        if hasattr(layer, "lookup_table") and not _words_in(layer.lookup_table):
            raise BadInput(
                f"{source.path.name}: layer {layer.name} has no vocabulary: it is neither in the configuration nor "
                "among the weights",
                next_step="Give the layer its words as a list (vocabulary=[...]), or save the model as `.keras`.",
            )


def _words_in(table: Any) -> int:
    import tensorflow as tf

    try:
        return int(table.size())
    except tf.errors.FailedPreconditionError:  # a table that was never filled
        return 0


def _mark_all(variables: Variables) -> None:
    for _, variable in variables:
        _mark(variable)


def _mark(variable: Any) -> None:
    import tensorflow as tf

    dtype = tf.as_dtype(variable.dtype)
    if dtype.is_floating or dtype.is_complex:
        variable.assign(tf.cast(tf.fill(variable.shape, float("nan")), dtype))
    elif dtype.is_integer:
        variable.assign(tf.fill(variable.shape, tf.constant(_extreme(dtype), dtype)))


def _extreme(dtype: Any) -> int:
    return int(dtype.max if dtype.is_unsigned else dtype.min)


def missing(variables: Variables) -> list[str]:
    """Returns names of the variables that still have the value that `restoring` gave them."""
    return [name for name, variable in variables if _is_marked(variable)]


def _is_marked(variable: Any) -> bool:
    import tensorflow as tf

    dtype, value = tf.as_dtype(variable.dtype), tf.convert_to_tensor(variable)
    if dtype.is_complex:
        value = tf.math.real(value)
    if dtype.is_floating or dtype.is_complex:
        return bool(tf.reduce_any(tf.math.is_nan(tf.cast(value, tf.float64))))
    return dtype.is_integer and value.shape.num_elements() > 0 and bool(tf.reduce_all(value == _extreme(dtype)))


def from_names(model: Any, source: StoredModel, layout: Any) -> None:
    """Loads weights of the older layout: by layer names where the model has the same ones, else by layer order.

    Keras goes by the order only, which swaps two layers of one shape where the architecture lists them otherwise.
    Names that Keras generates (`dense_3`) differ from session to session; then only the order is left.

    Args:
        model: the built model.
        source: where its weights are.
        layout: Keras' own module for this layout.
    """
    import h5py

    weights = source.weights
    assert isinstance(weights, NamedWeights)  # noqa: S101 - the caller asked
    with h5py.File(source.path, "r") as file:
        group = file[weights.group] if weights.group else file
        names = layout.load_attributes_from_hdf5_group(group, "layer_names")
        stored = [name for name in names if layout.load_attributes_from_hdf5_group(group[name], "weight_names")]
        # All names or none: a partial match by name would leave layers without their weights.
        by_name = sorted(stored) == sorted(layer.name for layer in model.layers if layer.weights)
        load = layout.load_weights_from_hdf5_group_by_name if by_name else layout.load_weights_from_hdf5_group
        load(group, model)


def from_checkpoint(model: Any, source: StoredModel, variables: Variables) -> None:
    """Loads the weights of a checkpoint, whose root is the model, or holds it under one name.

    Raises:
        BadInput: more variables are stored than the model has, or the model fits below several names.
        ValueError, tf.errors.InvalidArgumentError: a stored array has another shape or type than its variable.
    """
    with source.weights.rows() as rows:
        stored = [row.path for row in rows if source.weights.role(row.path) == "weight"]
    root = _root_of(model, source, variables, sorted({path.partition("/")[0] for path in stored}))
    _read(model, source, variables, root)
    if missing(variables):
        return  # the caller says which
    _finalize(model)
    own = [path for path in stored if not root or path.startswith(f"{root}/")]
    if len(own) > len(variables):
        raise BadInput(
            f"{source.path.name}: the weights do not fit the model: {len(own)} variables are stored and it has "
            f"{len(variables)}",
            next_step=_NEXT_STEP,
        )


def _root_of(model: Any, source: StoredModel, variables: Variables, names: Sequence[str]) -> str:
    """Finds the name below which the model fits: empty for the checkpoint's root; the nearest if none fits."""
    import tensorflow as tf

    tried: dict[str, tuple[int, bool]] = {}  # how many variables are missing, whether nothing refused to fit
    for name in ("", *names):
        try:
            _read(model, source, variables, name)
        except (ValueError, tf.errors.InvalidArgumentError):
            tried[name] = len(missing(variables)), False
        else:
            tried[name] = len(missing(variables)), True
        if tried[""] == _FITS:
            return ""  # what hangs below names then belongs to the model, or is too much
    fitting = [name for name, found in tried.items() if found == _FITS]
    if len(fitting) > 1:
        raise BadInput(
            f"{source.path.name}: the model fits what is stored as {', '.join(fitting)} alike",
            next_step="Save only the one that you mean: tf.train.Checkpoint(model).write(PATH).",
        )
    return fitting[0] if fitting else min(tried, key=lambda name: tried[name])


def _read(model: Any, source: StoredModel, variables: Variables, name: str) -> None:
    """Marks the variables and gives them what is stored below a name."""
    import tensorflow as tf

    _mark_all(variables)
    holder = tf.train.Checkpoint(**{name: model}) if name else tf.train.Checkpoint(model)
    holder.read(str(prefix_of(source.path))).expect_partial()


def _finalize(model: Any) -> None:
    """Makes layers compute what they derive from restored variables, as `load_weights` does."""
    for layer in model._flatten_layers():  # noqa: SLF001 - wrapped ones as well
        if hasattr(layer, "finalize_state"):
            layer.finalize_state()
