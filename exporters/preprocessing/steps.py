"""Defines the steps of a preprocessing, to the last byte.

One record for every kind of step; docs/preprocessing.md describes the same for an implementation in another language.
Text is bytes (UTF-8); "ragged" means rows of different lengths. A step's result is called `output`.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

PUNCTUATION = "!\"#$%&()*+,-./:;<=>?@[\\]^_`{|}~'"
"""The characters that `strip_punctuation` removes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Fields that all steps have.

    Attributes:
        layer: the model's layer that the step belongs to, or the operator where it belongs to none.
        inputs: names of the tensors it takes: inputs of the model, or outputs of earlier steps.
        output: name of the tensor it makes.
        operation: the kind of step.
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
    """Turns the letters A to Z into a to z; every other byte stays (É, İ and Σ too)."""

    operation: Literal["lower"] = "lower"


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip(Step):
    """Removes characters, wherever they stand.

    Attributes:
        characters: all of them, ASCII.
    """

    operation: Literal["strip"] = "strip"
    characters: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace(Step):
    """Replaces texts by another one, wherever one of them begins, from left to right.

    Attributes:
        find: the texts to replace, none of which begins like another.
        put: their replacement.
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
    """Joins all runs of neighbours of a row, for each width in turn; a row that is too short has none.

    Attributes:
        widths: lengths of the runs, in the order of the output.
        separator: text between the joined words.
    """

    operation: Literal["ngrams"] = "ngrams"
    widths: tuple[int, ...]
    separator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Gives the rule for the number of an entry that is not in the vocabulary.

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
    """Finds the number of every entry in a vocabulary.

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
    """Cuts or fills rows at their end, so that all have one length.

    Attributes:
        length: of every row; None: that of the longest row of this call.
        value: the number that short rows are filled with.
    """

    operation: Literal["pad"] = "pad"
    length: int | None
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Encode(Step):
    """Encodes numbers as vectors; numbers outside 0 to depth - 1 are left out.

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
    """Multiplies every vector by the weights, element by element in float32.

    Attributes:
        weights: file with the weights, a JSON list.
    """

    operation: Literal["scale"] = "scale"
    weights: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Text(Step):
    """Writes integers as decimal text, with a minus sign where negative."""

    operation: Literal["text"] = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hash(Step):
    """Computes a text's hash modulo a number.

    Attributes:
        rule: FarmHash Fingerprint64, or SipHash-2-4; unsigned 64-bit numbers.
        bins: number of different results.
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
    """Computes one number for the values of several tensors at the same place.

    Starting from h = `seed`, for each input in turn h = FingerprintCat64(h, v), where v is an integer itself or a
    text's FarmHash Fingerprint64; the number is h modulo `bins`. `exporters.preprocessing.string_hashing` writes both
    out.

    Attributes:
        bins: number of different results.
        seed: the value that the first one is joined to.
    """

    operation: Literal["cross"] = "cross"
    bins: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucketize(Step):
    """Counts the boundaries that are less than or equal to the number; NaN comes after all.

    Attributes:
        boundaries: ascending, float32.
    """

    operation: Literal["bucketize"] = "bucketize"
    boundaries: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast(Step):
    """Converts numbers to the output's type; fractions are cut towards zero."""

    operation: Literal["cast"] = "cast"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reshape(Step):
    """Gives the same elements, in row-major order, another shape.

    Attributes:
        target: the shape; -1 is the length that the other axes leave.
    """

    operation: Literal["reshape"] = "reshape"
    target: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Squeeze(Step):
    """Removes axes of length one.

    Attributes:
        axes: the axes to remove; negative ones count from the end.
    """

    operation: Literal["squeeze"] = "squeeze"
    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpandDims(Step):
    """Inserts an axis of length one.

    Attributes:
        axis: its place in the output; negative ones count from the end.
    """

    operation: Literal["expand_dims"] = "expand_dims"
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Concatenate(Step):
    """Joins the inputs one after the other.

    Attributes:
        axis: the axis to join along; negative ones count from the end.
    """

    operation: Literal["concatenate"] = "concatenate"
    axis: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Step):
    """Takes a part of every axis, as Python's and NumPy's slices do.

    Attributes:
        ranges: (start, stop, stride) of each of the first axes; None is Python's default, the others are taken whole.
        dropped: axes of which one element is taken; they are removed.
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
