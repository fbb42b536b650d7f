"""The steps of a preprocessing: what each does, to the last byte.

In: nothing. Out: one record for every kind of step; docs/preprocessing.md says the same for whoever writes them in
another language. Text is bytes (UTF-8); "ragged" is rows of different lengths. A step's result is called `output`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
"""What `strip_punctuation` takes away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What all steps have.

    Attributes:
        layer: the model's layer that the step belongs to, or the operator where it belongs to none.
        inputs: names of the tensors it takes: inputs of the model, or outputs of earlier steps.
        output: name of the tensor it makes.
        operation: what it does.
        dtype: element type of the output, NumPy's name or `string`.
        shape: of the output; None for an axis that is only known when it runs.
        ragged: whether the output's rows differ in length.
    """

    layer: str
    inputs: tuple[str, ...]
    output: str
    dtype: str
    shape: tuple[int | None, ...]
    ragged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Lower(Step):
    """The letters A to Z become a to z; every other byte stays (É, İ and Σ too)."""

    operation: Literal["lower"] = "lower"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip(Step):
    """Takes characters away, wherever they stand; nothing is put in their place.

    Attributes:
        characters: all of them, ASCII.
    """

    operation: Literal["strip"] = "strip"
    characters: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace(Step):
    """Puts a text in the place of others, wherever one of them begins, from left to right.

    Attributes:
        find: the texts that are looked for, none of which begins like another.
        put: what stands in their place.
    """

    operation: Literal["replace"] = "replace"
    find: tuple[str, ...]
    put: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Split(Step):
    r"""Cuts every text of a vector into a row.

    Attributes:
        by: `whitespace`: at runs of the ASCII characters space, \t, \n, \v, \f and \r, without empty pieces (a no-break
            space does not cut); `character`: into code points; what is not UTF-8 becomes U+FFFD, one for each maximal
            part of a sequence (the practice that Unicode recommends, and Python's `errors="replace"`).
    """

    operation: Literal["split"] = "split"
    by: Literal["whitespace", "character"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ngrams(Step):
    """For each width in turn, all runs of so many neighbours of a row, joined; a row that is too short gives none.

    Attributes:
        widths: in the order in which their runs follow each other.
        separator: stands between the joined.
    """

    operation: Literal["ngrams"] = "ngrams"
    widths: tuple[int, ...]
    separator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """What number an entry gets that is not in the vocabulary.

    Attributes:
        rule: `number`: always `first`; `farmhash64`: first + FarmHash Fingerprint64 of its text modulo `buckets`;
            `siphash24`: the same with SipHash-2-4 under `key`; `modulo`: first + the entry itself modulo `buckets`
            (never negative); `refuse`: none, it is an error.
        first, buckets: of the rules.
        key: the two 64-bit halves of the SipHash key.
    """

    rule: Literal["number", "farmhash64", "siphash24", "modulo", "refuse"]
    first: int = 0
    buckets: int = 1
    key: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup(Step):
    """The number of every entry in a vocabulary.

    Attributes:
        vocabulary: file with the entries in order, a JSON list; entry 0 has the number `first`.
        first: number of the vocabulary's first entry.
        mask: entry with the number `mask_number`, whatever the vocabulary says; None where there is none.
        mask_number: number of `mask`.
        unknown: of all other entries.
    """

    operation: Literal["lookup"] = "lookup"
    vocabulary: str
    first: int
    mask: str | int | None = None
    mask_number: int = 0
    unknown: Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Pad(Step):
    """All rows of one length: cut at their end, or filled up there.

    Attributes:
        length: of every row; None: that of the longest row of this call.
        value: what short rows are filled up with.
    """

    operation: Literal["pad"] = "pad"
    length: int | None
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Encode(Step):
    """Numbers as vectors; numbers outside 0 to depth - 1 are left out.

    Attributes:
        mode: `one_hot`: every number becomes a vector with a 1 at its place; `multi_hot`: every row becomes one vector,
            with a 1 at the place of each number that occurs; `count`: the same with how often it occurs.
        depth: length of the vectors.
    """

    operation: Literal["encode"] = "encode"
    mode: Literal["one_hot", "multi_hot", "count"]
    depth: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(Step):
    """Every vector times the weights, element by element in float32.

    Attributes:
        weights: file with the weights, a JSON list.
    """

    operation: Literal["scale"] = "scale"
    weights: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Step):
    """Integers as decimal text, with a minus sign where negative."""

    operation: Literal["text"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash(Step):
    """A text's hash modulo a number.

    Attributes:
        rule: FarmHash Fingerprint64, or SipHash-2-4; unsigned 64-bit numbers.
        bins: how many numbers there are.
        key: the two 64-bit halves of the SipHash key.
        mask: text whose number is 0, while all others have 1 + hash modulo (bins - 1); None where there is none.
    """

    operation: Literal["hash"] = "hash"
    rule: Literal["farmhash64", "siphash24"]
    bins: int
    key: tuple[int, int] | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cross(Step):
    """One number for the values of several tensors at the same place.

    Starting from h = `seed`, for each input in turn h = FingerprintCat64(h, v), where v is an integer itself or a
    text's FarmHash Fingerprint64; the number is h modulo `bins`. `exporters.preprocessing.string_hashing` writes both
    out.

    Attributes:
        bins: how many numbers there are.
        seed: what the first value is joined to.
    """

    operation: Literal["cross"] = "cross"
    bins: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucketize(Step):
    """How many of the boundaries are at most the number; NaN comes after all.

    Attributes:
        boundaries: ascending, float32.
    """

    operation: Literal["bucketize"] = "bucketize"
    boundaries: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast(Step):
    """Numbers as the output's type; fractions are cut towards zero."""

    operation: Literal["cast"] = "cast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape(Step):
    """The same elements in row-major order under another shape.

    Attributes:
        target: the shape; -1 stands for what is left.
    """

    operation: Literal["reshape"] = "reshape"
    target: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeeze(Step):
    """Without axes of length one.

    Attributes:
        axes: which; negative ones count from the end.
    """

    operation: Literal["squeeze"] = "squeeze"
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandDims(Step):
    """With a new axis of length one.

    Attributes:
        axis: its place in the output; negative ones count from the end.
    """

    operation: Literal["expand_dims"] = "expand_dims"
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Concatenate(Step):
    """The inputs one after the other.

    Attributes:
        axis: along which; negative ones count from the end.
    """

    operation: Literal["concatenate"] = "concatenate"
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Step):
    """A part of every axis, as Python's and NumPy's slices take it.

    Attributes:
        ranges: (start, stop, stride) of each of the first axes; None is Python's default, the others are taken whole.
        dropped: axes of which one element is taken, which are then none.
    """

    operation: Literal["slice"] = "slice"
    ranges: tuple[tuple[int | None, int | None, int], ...]
    dropped: tuple[int, ...] = ()


AnyStep = Annotated[
    Lower
    | Strip
    | Replace
    | Split
    | Ngrams
    | Lookup
    | Pad
    | Encode
    | Scale
    | Text
    | Hash
    | Cross
    | Bucketize
    | Cast
    | Reshape
    | Squeeze
    | ExpandDims
    | Slice
    | Concatenate,
    Field(discriminator="operation"),
]
"""One step, told apart by `operation`."""
