"""Describes the preprocessing layers of Keras as steps.

In: a recorded call of a layer. Out: steps that compute what the layer computed, in Keras 3 or 2. A layer with a
computation that no step describes exactly is `limited`, and the reason names the layer and its setting.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from exporters.preprocessing.call_recorder import LayerCall
from exporters.preprocessing.step_builder import DescribedTensor, Writer
from exporters.preprocessing.steps import (
    PUNCTUATION,
    Bucketize,
    Cast,
    Cross,
    Encode,
    Hash,
    Lookup,
    Lower,
    Ngrams,
    Pad,
    Scale,
    Split,
    Squeeze,
    Strip,
    Text,
    Unknown,
)
from exporters.target_limits import limited

_CROSS_SEED = 0xDECAFCAFFE  # tensorflow/python/ops/sparse_ops.py, _DEFAULT_HASH_KEY
_DROPPED = 2**63 - 1  # the number of masked entries where numbers are encoded: no vector is that long
_MATRIX = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerOperators:
    """Holds the operators inside a layer, which describe a rule that the user wrote.

    Attributes:
        operators: of the call.
        describe: returns the description's tensor for one of theirs, from operators only.
    """

    operators: Sequence[Any]
    describe: Callable[[Any], DescribedTensor]


def write_layer(
    call: LayerCall, inputs: Sequence[DescribedTensor], writer: Writer, inside: LayerOperators
) -> DescribedTensor:
    """Adds the steps of one call.

    Args:
        call: as recorded.
        inputs: the tensors that the layer was called on.
        writer: receives the steps.
        inside: the operators of the call.

    Raises:
        Limited: the layer has a setting that the steps cannot express.
    """
    if getattr(call.layer, "sparse", False):
        raise _inexpressible(call, "sparse=True")
    if call.kind == "TextVectorization":
        return _text_vectorization(call, inputs[0], writer, inside)
    return _LAYERS[call.kind](call, inputs, writer)


def _inexpressible(call: LayerCall, what: str) -> Exception:
    return limited("string-op", f"{call.title} with {what}")


def _text_vectorization(
    call: LayerCall, tensor: DescribedTensor, writer: Writer, inside: LayerOperators
) -> DescribedTensor:
    layer, title = call.layer, call.title
    lookup = layer._lookup_layer  # noqa: SLF001 - settings that the layer has no public name for
    if getattr(layer, "_ragged", False):
        raise _inexpressible(call, "ragged=True")
    if getattr(lookup, "sparse", False):
        raise _inexpressible(call, "sparse=True")
    custom_rule = callable(layer._standardize)  # noqa: SLF001
    tensor = _split(call, _by_own_rule(call, inside) if custom_rule else _standardized(call, tensor, writer), writer)
    if layer._ngrams is not None:  # noqa: SLF001
        if not tensor.ragged:
            raise _inexpressible(call, "ngrams without split")
        tensor = writer.add(Ngrams, title, tensor, widths=tuple(layer._ngrams), separator=" ")  # noqa: SLF001
    if layer._output_mode is None:  # noqa: SLF001 - Keras 2 gives the words themselves
        raise _inexpressible(call, "output_mode=None")
    tensor = _looked_up(call, lookup, tensor, writer)
    length = getattr(layer, "_output_sequence_length", None)
    if layer._output_mode != "int" or not (tensor.ragged or length is not None):  # noqa: SLF001
        return tensor
    if len(tensor.shape) != _MATRIX:
        raise _inexpressible(call, f"output_sequence_length over {len(tensor.shape)} axes")
    return writer.add(Pad, title, tensor, shape=(*tensor.shape[:-1], length), ragged=False, length=length, value=0)


def _standardized(call: LayerCall, tensor: DescribedTensor, writer: Writer) -> DescribedTensor:
    rule = call.layer._standardize  # noqa: SLF001
    if rule in {"lower", "lower_and_strip_punctuation"}:
        tensor = writer.add(Lower, call.title, tensor)
    if rule in {"strip_punctuation", "lower_and_strip_punctuation"}:
        tensor = writer.add(Strip, call.title, tensor, characters=PUNCTUATION)
    return tensor


def _by_own_rule(call: LayerCall, inside: LayerOperators) -> DescribedTensor:
    """Returns what the user's own standardisation computed: the input of the one operator that cuts at white space."""
    cutting = [operator for operator in inside.operators if operator.type == "StringSplitV2"]
    if call.layer._split != "whitespace" or len(cutting) != 1:  # noqa: SLF001
        raise _inexpressible(call, f"standardize={_named(call.layer._standardize)}")  # noqa: SLF001
    return inside.describe(cutting[0].inputs[0])


def _split(call: LayerCall, tensor: DescribedTensor, writer: Writer) -> DescribedTensor:
    rule = call.layer._split  # noqa: SLF001
    if rule is None:
        return tensor
    if rule not in {"whitespace", "character"}:
        raise _inexpressible(call, f"split={_named(rule)}")
    if len(tensor.shape) > 1:
        tensor = writer.add(Squeeze, call.title, tensor, shape=tensor.shape[:-1], axes=(-1,))
    if len(tensor.shape) != 1:
        raise _inexpressible(call, f"an input of shape {list(tensor.shape)}")
    return writer.add(Split, call.title, tensor, shape=(*tensor.shape, None), ragged=True, by=rule)


def _named(rule: Any) -> str:
    return str(getattr(rule, "__name__", rule))


def _lookup(call: LayerCall, inputs: Sequence[DescribedTensor], writer: Writer) -> DescribedTensor:
    return _looked_up(call, call.layer, inputs[0], writer)


def _looked_up(call: LayerCall, layer: Any, tensor: DescribedTensor, writer: Writer) -> DescribedTensor:
    """Adds the lookup of entries, and their encoding in the layer's output mode."""
    if layer.invert:
        raise _inexpressible(call, "invert=True")
    of_text = _type_name(layer.vocabulary_dtype) == "string"
    if not of_text and tensor.dtype != "int64":
        tensor = writer.add(Cast, call.title, tensor, dtype="int64")
    entries, first = _vocabulary(call, layer, of_text=of_text)
    plain = layer.output_mode == "int"
    numbers = writer.add(
        Lookup,
        call.title,
        tensor,
        dtype="int64",
        vocabulary=writer.file("vocabulary", call.title, entries),
        first=first,
        mask=layer.mask_token,
        mask_number=0 if plain else _DROPPED,
        unknown=_unknown(layer, of_text=of_text),
    )
    if plain:
        return numbers
    depth = layer.max_tokens if layer.pad_to_max_tokens else len(entries) + first
    weighted = layer.output_mode == "tf_idf"
    encoded = _encoded(call, numbers, writer, mode="count" if weighted else layer.output_mode, depth=depth)
    if not weighted:
        return encoded
    weights = [float(weight) for weight in layer.idf_weights_const.numpy()]
    name = writer.file("weights", call.title, weights)
    return writer.add(Scale, call.title, encoded, dtype="float32", weights=name)


def _type_name(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def _vocabulary(call: LayerCall, layer: Any, *, of_text: bool) -> tuple[list[str] | list[int], int]:
    """Returns the entries of a layer's table in order, and the number of the first."""
    import tensorflow as tf

    with tf.init_scope():
        keys, values = (tensor.numpy().tolist() for tensor in layer.lookup_table.export())
    pairs = sorted(zip(values, keys, strict=True))
    first = layer._token_start_index()  # noqa: SLF001
    if [number for number, _ in pairs] != list(range(first, first + len(pairs))):
        raise _inexpressible(call, "a vocabulary with gaps")
    if not of_text:
        return [int(key) for _, key in pairs], first
    try:
        return [key.decode() for _, key in pairs], first
    except UnicodeDecodeError as error:
        raise _inexpressible(call, "a vocabulary that is not UTF-8") from error


def _unknown(layer: Any, *, of_text: bool) -> Unknown:
    """Returns the layer's rule for entries that are not in its vocabulary."""
    buckets = layer.num_oov_indices
    first = layer._oov_start_index()  # noqa: SLF001
    if buckets == 0:
        return Unknown(rule="refuse")
    if buckets == 1:
        return Unknown(rule="number", first=first)
    salt = getattr(layer, "salt", None)
    if not of_text and getattr(layer, "oov_method", "floormod") == "floormod":
        return Unknown(rule="modulo", first=first, buckets=buckets)
    if salt is not None:
        return Unknown(rule="siphash24", first=first, buckets=buckets, key=(salt[0], salt[1]))
    return Unknown(rule="farmhash64", first=first, buckets=buckets)


def _encoded(call: LayerCall, tensor: DescribedTensor, writer: Writer, *, mode: str, depth: int) -> DescribedTensor:
    """Adds the encoding of numbers as vectors; `one_hot` first drops a last axis of length one, as Keras does."""
    dtype = call.output.dtype.name
    if mode == "one_hot":
        if len(tensor.shape) > 1 and tensor.shape[-1] == 1:
            tensor = writer.add(Squeeze, call.title, tensor, shape=tensor.shape[:-1], axes=(-1,))
        return writer.add(Encode, call.title, tensor, dtype=dtype, shape=(*tensor.shape, depth), mode=mode, depth=depth)
    if len(tensor.shape) != _MATRIX:
        raise _inexpressible(call, f"output_mode={mode} over {len(tensor.shape)} axes")
    return writer.add(
        Encode,
        call.title,
        tensor,
        dtype=dtype,
        shape=(tensor.shape[0], depth),
        ragged=False,
        mode=mode,
        depth=depth,
    )


def _hashing(call: LayerCall, inputs: Sequence[DescribedTensor], writer: Writer) -> DescribedTensor:
    layer, title = call.layer, call.title
    (tensor,) = inputs
    if tensor.dtype.startswith("float"):
        tensor = writer.add(Cast, title, tensor, dtype="int64")
    if tensor.dtype != "string":
        tensor = writer.add(Text, title, tensor, dtype="string")
    masked = layer.mask_value is not None and layer.num_bins > 1
    numbers = writer.add(
        Hash,
        title,
        tensor,
        dtype="int64",
        rule="siphash24" if layer.strong_hash else "farmhash64",
        bins=layer.num_bins,
        key=tuple(layer.salt) if layer.strong_hash else None,
        mask=str(layer.mask_value) if masked else None,
    )
    return _numbered(call, numbers, writer, depth=layer.num_bins)


def _numbered(call: LayerCall, numbers: DescribedTensor, writer: Writer, *, depth: int) -> DescribedTensor:
    """Adds the cast of numbers to the layer's type, or their encoding."""
    if call.layer.output_mode != "int":
        return _encoded(call, numbers, writer, mode=call.layer.output_mode, depth=depth)
    dtype = call.output.dtype.name
    return numbers if dtype == numbers.dtype else writer.add(Cast, call.title, numbers, dtype=dtype)


def _crossing(call: LayerCall, inputs: Sequence[DescribedTensor], writer: Writer) -> DescribedTensor:
    numbers = writer.add(Cross, call.title, *inputs, dtype="int64", bins=call.layer.num_bins, seed=_CROSS_SEED)
    return _numbered(call, numbers, writer, depth=call.layer.num_bins)


def _discretization(call: LayerCall, inputs: Sequence[DescribedTensor], writer: Writer) -> DescribedTensor:
    (tensor,) = inputs
    if tensor.dtype != "float32":
        raise _inexpressible(call, f"an input of type {tensor.dtype}")
    boundaries = tuple(float(boundary) for boundary in call.layer.bin_boundaries)
    numbers = writer.add(Bucketize, call.title, tensor, dtype="int64", boundaries=boundaries)
    return _numbered(call, numbers, writer, depth=len(boundaries) + 1)


_LAYERS: Mapping[str, Callable[[LayerCall, Sequence[DescribedTensor], Writer], DescribedTensor]] = {
    "StringLookup": _lookup,
    "IntegerLookup": _lookup,
    "Hashing": _hashing,
    "HashedCrossing": _crossing,
    "Discretization": _discretization,
}
