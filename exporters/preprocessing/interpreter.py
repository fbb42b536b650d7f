"""Runs a preprocessing with Python and NumPy only.

In: a `Preprocessing` and the inputs of the model for one call. Out: the inputs of the core. Text is held as bytes, as
in TensorFlow; ragged rows as a list of vectors. The meaning of a step is written at its record in `steps`.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from exporters.errors import BadInput
from exporters.preprocessing.description import Preprocessing
from exporters.preprocessing.steps import (
    Bucketize,
    Cast,
    Concatenate,
    Cross,
    Encode,
    ExpandDims,
    Hash,
    Lookup,
    Lower,
    Ngrams,
    Pad,
    Replace,
    Reshape,
    Scale,
    Slice,
    Split,
    Squeeze,
    Strip,
    Text,
)
from exporters.preprocessing.string_hashing import fingerprint64, fingerprint_cat64, siphash24

Array = np.ndarray[Any, Any]
Ragged = list[Array]
Value = Array | Ragged


class Interpreter:
    """Runs a preprocessing.

    Args:
        preprocessing: as `exporters.preprocessing.description.read` returned it.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        self._description = preprocessing.description
        self._files = preprocessing.files
        self._numbers: dict[int, Mapping[Any, int]] = {
            index: {_key(entry): step.first + place for place, entry in enumerate(self._files[step.vocabulary])}
            for index, step in enumerate(self._description.steps)
            if isinstance(step, Lookup)
        }

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Computes the core's inputs for one call.

        Args:
            inputs: of the model, by canonical name; text as an object array of `str` or `bytes`.

        Raises:
            BadInput: an entry is in no vocabulary, and the model refuses such entries.
        """
        values: dict[str, Value] = {spec.name: _as_bytes(inputs[spec.name]) for spec in self._description.inputs}
        for index, step in enumerate(self._description.steps):
            taken = [values[name] for name in step.inputs]
            if isinstance(step, Lookup):
                result = _each(taken[0], _lookup(step, self._numbers[index]), np.dtype(np.int64))
            elif isinstance(step, Scale):
                result = _dense(taken[0]).astype(np.float32) * np.array(self._files[step.weights], np.float32)
            else:
                result = _OPERATIONS[type(step)](step, taken)
            values[step.output] = result
        return {fed.name: _dense(values[fed.tensor]) for fed in self._description.feeds}


def _as_bytes(array: Array) -> Array:
    if array.dtype.kind not in "OSU":
        return array
    words = [v if isinstance(v, bytes) else str(v).encode(errors="surrogateescape") for v in array.reshape(-1).tolist()]
    return _texts(words).reshape(array.shape)


def _texts(words: Sequence[bytes]) -> Array:
    array = np.empty(len(words), dtype=object)
    array[:] = words
    return array


def _key(entry: object) -> object:
    return entry.encode(errors="surrogateescape") if isinstance(entry, str) else entry


def _dense(value: Value) -> Array:
    if isinstance(value, list):
        raise TypeError("a step takes rows of one length only, and these are ragged")
    return value


def _each_row(value: Value, function: Callable[[Array], Array]) -> Value:
    return [function(row) for row in value] if isinstance(value, list) else function(value)


def _each(value: Value, function: Callable[[Any], Any], dtype: np.dtype[Any] | None = None) -> Value:
    """Applies a function to every element; the results are text where no type is given."""

    def of_row(row: Array) -> Array:
        results = [function(element) for element in row.reshape(-1).tolist()]
        return (_texts(results) if dtype is None else np.array(results, dtype)).reshape(row.shape)

    return _each_row(value, of_row)


def _ngrams(row: Array, widths: Sequence[int], separator: bytes) -> Array:
    words = row.tolist()
    return _texts([separator.join(words[at : at + n]) for n in widths for at in range(len(words) - n + 1)])


def _lookup(step: Lookup, numbers: Mapping[Any, int]) -> Callable[[Any], int]:
    mask, unknown = _key(step.mask), step.unknown
    key = unknown.key or (0, 0)

    def number(entry: Any) -> int:
        if mask is not None and entry == mask:
            return step.mask_number
        known = numbers.get(entry)
        if known is not None:
            return known
        match unknown.rule:
            case "number":
                return unknown.first
            case "modulo":
                return unknown.first + int(entry) % unknown.buckets
            case "farmhash64":
                return unknown.first + fingerprint64(_as_text(entry)) % unknown.buckets
            case "siphash24":
                return unknown.first + siphash24(_as_text(entry), key) % unknown.buckets
            case "refuse":
                raise BadInput(f"{entry!r} is not in {step.vocabulary}, and layer {step.layer} takes no other entry")

    return number


def _as_text(entry: bytes | int) -> bytes:
    return entry if isinstance(entry, bytes) else b"%d" % entry


def _hash(step: Hash) -> Callable[[bytes], int]:
    mask = _key(step.mask)
    bins = step.bins if mask is None else step.bins - 1
    key = step.key or (0, 0)

    def number(text: bytes) -> int:
        if text == mask:
            return 0
        hashed = fingerprint64(text) if step.rule == "farmhash64" else siphash24(text, key)
        return hashed % bins + (mask is not None)

    return number


def _cross(taken: Sequence[Array], step: Cross) -> Array:
    numbers = []
    for together in zip(*(value.reshape(-1).tolist() for value in taken), strict=True):
        hashed = step.seed
        for value in together:
            fingerprint = fingerprint64(value) if isinstance(value, bytes) else int(value) % 2**64
            hashed = fingerprint_cat64(hashed, fingerprint)
        numbers.append(hashed % step.bins)
    return np.array(numbers, np.int64).reshape(taken[0].shape)


def _pad(value: Value, step: Pad) -> Array:
    longest = max((len(row) for row in value), default=0)
    padded = np.full((len(value), longest if step.length is None else step.length), step.value, step.dtype)
    for target, row in zip(padded, value, strict=True):
        kept = row[: len(target)]
        target[: len(kept)] = kept
    return padded


def _encode(value: Value, step: Encode) -> Array:
    places = np.arange(step.depth)
    if step.mode == "one_hot":
        ones: Array = _dense(value)[..., np.newaxis] == places
        return ones.astype(step.dtype)
    counts = np.zeros((len(value), step.depth), np.int64)
    rows: Iterable[Array] = value
    for place, numbers in enumerate(rows):
        inside = numbers[(numbers >= 0) & (numbers < step.depth)]
        counts[place] = np.bincount(inside, minlength=step.depth)
    encoded: Array = np.minimum(counts, 1) if step.mode == "multi_hot" else counts
    return encoded.astype(step.dtype)


def _strip(value: Value, characters: str) -> Value:
    unwanted = characters.encode("ascii")
    return _each(value, lambda text: text.translate(None, unwanted))


def _replace(value: Value, step: Replace) -> Value:
    wanted = re.compile(b"|".join(re.escape(text.encode()) for text in step.find))
    put = step.put.encode()
    return _each(value, lambda text: wanted.sub(lambda _: put, text))


def _split(value: Value, by: str) -> Ragged:
    texts = _dense(value).tolist()
    if by == "whitespace":
        return [_texts(text.split()) for text in texts]  # bytes.split() cuts at ASCII white space only
    return [_texts([character.encode() for character in text.decode(errors="replace")]) for text in texts]


def _slice(array: Array, step: Slice) -> Array:
    taken = array[tuple(slice(*bounds) for bounds in step.ranges)]
    return taken.squeeze(step.dropped) if step.dropped else taken


def _bucketize(value: Value, step: Bucketize) -> Array:
    return np.searchsorted(np.array(step.boundaries, np.float32), _dense(value), side="right").astype(step.dtype)


_OPERATIONS: Mapping[type, Callable[[Any, Sequence[Value]], Value]] = {
    Lower: lambda _, taken: _each(taken[0], bytes.lower),  # bytes.lower() changes ASCII only
    Strip: lambda step, taken: _strip(taken[0], step.characters),
    Replace: lambda step, taken: _replace(taken[0], step),
    Split: lambda step, taken: _split(taken[0], step.by),
    Ngrams: lambda step, taken: [_ngrams(row, step.widths, step.separator.encode()) for row in taken[0]],
    Pad: lambda step, taken: _pad(taken[0], step),
    Encode: lambda step, taken: _encode(taken[0], step),
    Text: lambda _, taken: _each(taken[0], lambda number: b"%d" % number),
    Hash: lambda step, taken: _each(taken[0], _hash(step), np.dtype(np.int64)),
    Cross: lambda step, taken: _cross([_dense(value) for value in taken], step),
    Bucketize: lambda step, taken: _bucketize(taken[0], step),
    Cast: lambda step, taken: _each_row(taken[0], lambda row: row.astype(step.dtype)),
    Reshape: lambda step, taken: _dense(taken[0]).reshape(step.target),
    Squeeze: lambda step, taken: _dense(taken[0]).squeeze(step.axes),
    Slice: lambda step, taken: _slice(_dense(taken[0]), step),
    ExpandDims: lambda step, taken: np.expand_dims(_dense(taken[0]), step.axis),
    Concatenate: lambda step, taken: np.concatenate([_dense(value) for value in taken], axis=step.axis),
}
"""The function of each kind of step; those that need a file are in `Interpreter.run`."""
