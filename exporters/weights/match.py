"""Finds every source weight among the constants of an artifact, and what is close to one and not it.

In: the source's weights and the artifact's constants by name. Out: a `WeightsRecord`. Pure.

In turn: a constant that is a weight bit by bit in one of the format's layouts; parts of a weight, or of a constant;
what was computed with a batch normalization. What is left on both sides is held against each other: a constant that is
half like a weight, in rounding, in most of its elements or in direction, is a difference. A constant that is like none
was computed, and a weight that no constant is like is not needed at inference; both are counted.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from exporters.contract import WeightDifference, WeightsRecord
from exporters.weights.closeness import difference
from exporters.weights.folding import (
    MOST_ULPS,
    Scaled,
    Shift,
    explained,
    scaled,
    shifts,
    ulps_of_factors,
    ulps_of_shift,
)
from exporters.weights.layouts import back, gates, orders, parts
from exporters.weights.names import swapped
from exporters.weights.source import Normalization, Source, SourceWeight

_NEARLY = 0.05 * 2**23
"""Units in the last place that lie within 5 %: factors so near to a normalization's are of another epsilon of it."""
_MOST_ADDENDS = 8
"""Weights of which any two may have been added to a table; more of one shape are too many to try."""
_SURE = 3
"""Elements that each factor has to hold for: any two are a multiple of any other two more often than a fault."""


@dataclass(slots=True)
class Piece:
    """A weight or a part of one, and the constant that is it."""

    weight: SourceWeight
    array: np.ndarray
    found: str = ""


@dataclass(slots=True)
class Constant:
    """A constant or a part of one; `known` once something explains it."""

    tensor: str
    array: np.ndarray
    known: bool = False


@dataclass(slots=True)
class Matching:
    """The state of one comparison: what is explained already and what is not."""

    format: str
    source: Source
    pieces: list[Piece]
    constants: list[Constant]
    folded: set[str] = field(default_factory=set)
    ulps: float = 0.0
    differences: list[WeightDifference] = field(default_factory=list)

    def left(self, size: int | None = None) -> list[Constant]:
        """The constants that nothing explains yet."""
        return [c for c in self.constants if not c.known and size in {None, c.array.size}]

    def missing(self) -> list[Piece]:
        """The pieces of weights that were not found yet."""
        return [piece for piece in self.pieces if not piece.found and piece.weight.name not in self.folded]


def match(format_: str, source: Source, stored: Mapping[str, np.ndarray]) -> WeightsRecord:
    """Holds an artifact's constants against the source's weights.

    Args:
        format_: of the artifact; it says which layouts are possible.
        source: the original's weights.
        stored: every constant of the artifact by its own name there.
    """
    constants = [Constant(tensor=name, array=array) for name, array in stored.items() if array.dtype.kind in "biufcV"]
    state = Matching(
        format=format_,
        source=source,
        pieces=[Piece(weight=w, array=w.array) for w in source.weights],
        constants=constants,
    )
    _exactly(state, state.pieces)
    _in_parts(state)
    _constants_in_parts(state)
    _in_kernels(state)
    _in_sums(state)
    _in_vectors(state)
    for piece in state.missing():
        if found := _closest(state, piece):
            state.differences.append(found)
    state.differences += swapped(
        source.weights, {p.found: p.weight for p in state.pieces if p.found and p.array is p.weight.array}
    )
    return _record(state)


def _record(state: Matching) -> WeightsRecord:
    differing = {each.weight for each in state.differences}
    missing = {piece.weight.name for piece in state.missing()} - differing
    names = [weight.name for weight in state.source.weights]
    return WeightsRecord(
        weights=len(names),
        exact=len(set(names) - missing - differing - state.folded),
        folded=len(state.folded - differing),
        ulps=round(state.ulps, 2),
        unmatched={name: _why(state, name) for name in sorted(missing)},
        computed=sum(c.array.size > 1 and c.array.dtype.kind in "fc" for c in state.left()),
        differences=tuple(state.differences),
    )


def _why(state: Matching, name: str) -> str:
    size = next(weight.array.size for weight in state.source.weights if weight.name == name)
    if not state.left(size):
        return "no constant of its size is left: inference does not need it, or it was computed away"
    return "no constant of its size is like it"


def _exactly(state: Matching, pieces: Sequence[Piece]) -> None:
    """Marks what is stored bit by bit, in some order of its axes."""
    by_size: dict[int, list[Constant]] = {}
    for constant in state.constants:
        by_size.setdefault(constant.array.size, []).append(constant)
    for piece in pieces:
        if piece.found or not piece.array.size:
            continue
        for constant, _ in _same(state.format, piece.array, by_size.get(piece.array.size, [])):
            constant.known = True
            piece.found = piece.found or constant.tensor


def _same(format_: str, array: np.ndarray, constants: Sequence[Constant]) -> Iterator[tuple[Constant, np.ndarray]]:
    """The constants that hold an array's very values."""
    for constant in constants:
        for order in orders(format_, array.ndim):
            stored = back(constant.array, array.shape, order)
            if _equal(array, stored):
                yield constant, stored
                break


def _equal(array: np.ndarray, stored: np.ndarray) -> bool:
    """Whether the values are the same; a type that holds more digits may hold them."""
    if not np.can_cast(array.dtype, stored.dtype, "safe"):
        return False
    index = tuple(slice(None, None, max(1, -(-length // 4))) for length in array.shape)
    return bool((array[index] == stored[index]).all()) and bool((array == stored).all())


def _in_parts(state: Matching) -> None:
    """Weights that were cut up: a filter for each group, a matrix for each gate, one row of biases."""
    sizes = {constant.array.size for constant in state.left()}
    for piece in list(state.missing()):
        for cut in parts(piece.array, sizes):
            made = [Piece(weight=piece.weight, array=part) for part in cut]
            _exactly(state, made)
            if any(each.found and each.array.any() for each in made):
                state.pieces.remove(piece)
                state.pieces += made
                break


def _constants_in_parts(state: Matching) -> None:
    """ONNX' recurrent operators: gates behind one another, in an order of their own, after a zero bias or before."""
    if state.format != "onnx":
        return
    for constant in state.left():
        for cut in gates(constant.array):
            made = [Constant(tensor=constant.tensor, array=part, known=not part.any()) for part in cut]
            inner = Matching(format=state.format, source=state.source, pieces=list(state.missing()), constants=made)
            _in_parts(inner)
            _exactly(inner, inner.pieces)
            if any(each.known and each.array.any() for each in made):
                kept = [piece for piece in state.pieces if piece.found or piece.weight.name in state.folded]
                state.pieces = kept + inner.pieces
                constant.known = True
                state.constants += made
                break


def _in_kernels(state: Matching) -> None:
    """Kernels that were multiplied by a normalization, and the normalization they were multiplied by."""
    for piece in state.missing():
        if piece.array.ndim < 2 or not piece.weight.varied or piece.array.dtype.kind != "f":  # noqa: PLR2004
            continue
        for constant in state.left(piece.array.size):
            if constant.array.dtype.kind == "f" and _multiplied(state, piece, constant):
                break


def _in_sums(state: Matching) -> None:
    """Tables that others were added to: a converter adds up constants, as the bias of a patch and its position."""
    for piece in state.missing() if state.format != "saved_model" else ():
        if piece.array.ndim < 2 or piece.array.dtype.kind != "f":  # noqa: PLR2004 - a bias belongs to the last axis
            continue
        addends = [w for w in state.source.weights if w is not piece.weight and _adds(w.array, piece.array)]
        sums = [each for count in (1, 2) for each in itertools.combinations(addends[:_MOST_ADDENDS], count)]
        for constant in state.left(piece.array.size) if sums else ():
            for order in orders(state.format, piece.array.ndim):
                stored = back(constant.array, piece.array.shape, order)
                if others := next((each for each in sums if _is_sum(stored, piece.array, each)), None):
                    constant.known = True
                    state.folded |= {piece.weight.name, *(each.name for each in others)}
                    break


def _adds(array: np.ndarray, table: np.ndarray) -> bool:
    """Whether a weight may be added to a table: another one of its size, or a bias along its last axis."""
    fits = array.shape[-1:] == table.shape[-1:] and array.size in {table.size, table.shape[-1]}
    return fits and array.dtype == table.dtype and bool(array.any())


def _is_sum(stored: np.ndarray, array: np.ndarray, others: Sequence[SourceWeight]) -> bool:
    """Whether a constant is the sum of weights, up to the rounding of these additions in any order."""
    if stored.dtype != array.dtype:
        return False
    terms = [array, *(w.array.reshape(array.shape) if w.array.size == array.size else w.array for w in others)]
    rounding = len(others) * np.finfo(array.dtype).eps * sum(np.abs(term) for term in terms)
    return bool((np.abs(stored - sum(terms)) <= rounding).all())


def _multiplied(state: Matching, piece: Piece, constant: Constant) -> bool:
    for order in orders(state.format, piece.array.ndim):
        stored = back(constant.array, piece.array.shape, order)
        found = scaled(piece.array, stored)
        if found is None or _only_itself(state, found.factors):
            continue
        wrong, known = found.off, _take_factors(state, piece.array, constant.tensor, found)
        expected = piece.array * _spread(np.nan_to_num(found.factors), found.axes, piece.array.shape)
        if not known:
            if piece.array.size < _SURE * found.factors.size:
                continue
            wrong, expected = stored != piece.array, piece.array
        constant.known = True
        state.folded.add(piece.weight.name)
        if wrong.any():
            error = np.abs(stored.astype("float64") - expected)[wrong]
            state.differences.append(_changed(piece.weight, constant.tensor, error))
        return True
    return False


def _only_itself(state: Matching, factors: np.ndarray) -> bool:
    """Whether the factor is one: the constant is the weight or nearly so, unless a normalization does as little."""
    one = ~(np.abs(factors - 1.0) > MOST_ULPS * 2.0**-23)
    like = (each for each in state.source.normalizations if each.inverse.size == factors.size)
    return bool(one.all()) and not any(ulps_of_factors(factors, each).max() <= MOST_ULPS for each in like)


def _spread(factors: np.ndarray, axes: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    return factors.reshape([shape[axis] if axis in axes else 1 for axis in range(len(shape))])


def _take_factors(state: Matching, weight: np.ndarray, tensor: str, found: Scaled) -> bool:
    """Whether the original explains the factors of a kernel, be it by a difference that is then noted.

    A SavedModel stores variables as they are: there nothing does.
    """
    if state.format == "saved_model":
        return False
    factors = found.factors
    candidates = [each for each in state.source.normalizations if each.inverse.size == factors.size]
    measured = sorted(
        ((ulps_of_factors(factors, each), each) for each in candidates), key=lambda pair: np.median(pair[0])
    )
    for ulps, normalization in measured:
        if ulps.max() <= MOST_ULPS:
            _fold(state, normalization, ("inverse",), float(ulps.max()))
            return True
    if explained(weight, found, state.source):
        return True
    for ulps, normalization in measured[:1]:
        if _mostly(ulps, normalization.inverse) or ulps.max() <= _NEARLY:
            off = ulps > MOST_ULPS
            error = np.abs(factors - normalization.inverse)[off]
            _differ(state, normalization, ("gamma", "moving_variance"), tensor, error)
            return True
    return False


def _mostly(ulps: np.ndarray, expected: np.ndarray) -> bool:
    """Whether a vector is another one in at least half of its elements, and that is not because all are alike."""
    return ulps.size > 1 and 2 * int((ulps <= MOST_ULPS).sum()) >= ulps.size and bool((expected != expected[0]).any())


def _fold(state: Matching, normalization: Normalization, uses: Sequence[str], ulps: float) -> None:
    """Notes that the weights which something was computed from are in it."""
    of = {"inverse": ("gamma", "moving_variance"), "shift": ("beta", "moving_mean", "gamma", "moving_variance")}
    names = {name for use in uses for name in of.get(use, ())}
    own = {w.name for w in state.source.weights if w.layer == normalization.layer}
    state.folded |= {name for name in own if name.rpartition("/")[2] in names}
    state.folded |= {use for use in uses if use not in of}
    state.ulps = max(state.ulps, ulps)


def _differ(state: Matching, normalization: Normalization, what: Sequence[str], tensor: str, error: np.ndarray) -> None:
    own = [w for w in state.source.weights if w.layer == normalization.layer and w.name.rpartition("/")[2] in what]
    if own:
        state.folded |= {w.name for w in own}
        state.differences.append(_changed(own[0], tensor, error, "|".join(w.name.rpartition("/")[2] for w in own)))


def _changed(weight: SourceWeight, tensor: str, error: np.ndarray, which: str = "") -> WeightDifference:
    name = f"{weight.name.rpartition('/')[0]}/{which}" if which else weight.name
    return WeightDifference(
        kind="changed",
        weight=name,
        layer=weight.layer,
        tensor=tensor,
        elements=int(error.size),
        ulps=None,
        max_abs=float(error.max()),
    )


def _in_vectors(state: Matching) -> None:
    """Biases that took up a normalization's shift, and normalizations that stand alone."""
    for constant in state.left():
        if (
            constant.array.size < 1
            or constant.array.dtype.kind != "f"
            or max(constant.array.shape, default=0) != constant.array.size
        ):
            continue
        stored = constant.array.reshape(-1)
        biases = [(w.name, w.array) for w in state.source.weights if w.array.shape == stored.shape]
        candidates = shifts(stored.size, state.source.normalizations, biases)
        measured = [(ulps_of_shift(stored, each), each) for each in candidates]
        if measured and not _taken(state, constant, measured):
            _nearly_taken(state, constant, stored, measured)


def _taken(state: Matching, constant: Constant, measured: Sequence[tuple[np.ndarray, Shift]]) -> bool:
    for ulps, shift in measured:
        if ulps.max() <= MOST_ULPS:
            constant.known = True
            _fold(state, shift.normalization, shift.uses, float(ulps.max()))
            return True
    return False


def _nearly_taken(
    state: Matching, constant: Constant, stored: np.ndarray, measured: Sequence[tuple[np.ndarray, Shift]]
) -> None:
    ulps, shift = max(measured, key=lambda pair: int((pair[0] <= MOST_ULPS).sum()))
    if _mostly(ulps, shift.value):
        constant.known = True
        off = ulps > MOST_ULPS
        bias = next((w for w in state.source.weights if w.name in shift.uses), None)
        error = np.abs(stored - shift.value)[off]
        if bias is not None:
            state.folded.add(bias.name)
        _differ(state, shift.normalization, ("gamma", "beta", "moving_mean", "moving_variance"), constant.tensor, error)


def _closest(state: Matching, piece: Piece) -> WeightDifference | None:
    """The difference from the constant that is most like a piece of a weight; None where none is."""
    best: tuple[float, WeightDifference, Constant] | None = None
    for constant in state.left(piece.array.size):
        for order in orders(state.format, piece.array.ndim):
            found = difference(
                piece.weight, piece.array, constant.tensor, back(constant.array, piece.array.shape, order)
            )
            if found and (best is None or found[0] < best[0]):
                best = (*found, constant)
    if best is None:
        return None
    best[2].known = True
    return best[1]
