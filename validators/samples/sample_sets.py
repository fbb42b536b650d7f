"""Plans the sample sets of a release: the kinds of rows, their number, their batches and their lengths.

In: the model's input specs. Out: `SampleSet`s; `validators.samples.generated` fills them.

On a software GPU a row costs little, but a new shape costs a lot: it compiles its shaders again. So every kind of row
comes in the batches that are needed anyway, and the edges come one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from exporters.contract import STATIC, TensorSpec
from validators.contract import Origin, SampleSet, Skip
from validators.samples.user_samples import UserSamples, fixed_batch

USER_ROWS, USER_ROWS_ONE_BY_ONE = 63, 16
"""Most rows of the user's samples that are used, in the largest of the seeded batches, and that are fed one by one.

Nine batches of seven: one row more would be another shape, which LiteRT on a GPU compiles for and back. Of more rows,
those evenly spread over the file are taken, the first and the last among them: in a file sorted by class the first rows
would all be of one class.
"""

SEEDED_BATCHES = (1, 2, 7)
"""Batch sizes of the seeded sets: the single row of a phone, the smallest real batch, one no kernel is tuned for."""

SINGLE_ROWS = 4
"""Rows of a seeded set that is fed one by one."""

CALLS = 3
"""Calls that a seeded set of larger batches takes."""

EDGES = ("zeros", "ones", "low", "high", "alternating", "tiny")
"""The rows of the set `edges`: all zeros, all ones, each end of the domain, both in turn, and the smallest numbers."""

BEYOND = 2
"""Rows of the set `beyond`."""

# Lengths of dynamic axes, in turn over the sets. All axes of a set have the same one, so that inputs that meet in an
# addition, a concatenation or a T x T mask fit. Images and volumes (rank 4 up) must survive five halvings.
_LENGTHS, _SPATIAL_LENGTHS, _SPATIAL_RANK = (16, 24), (32, 64), 4


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    name: str
    rows: int
    batch: int
    turn: int
    origin: Origin = "seeded"


def plan(
    inputs: Sequence[TensorSpec],
    *,
    user: UserSamples | None = None,
    seeded: Sequence[int] = SEEDED_BATCHES,
    stretch: int = 1,
    beyond: bool = True,
) -> tuple[SampleSet, ...]:
    """Plans the sample sets of a release.

    The user's samples come first: up to 63 rows in the largest batch, and sixteen rows one by one (not where the batch
    is fixed), both evenly spread over all the rows. Then seeded sets: three calls of each batch size, and four rows one
    by one. These are also the first rows of the other sets, so that a row is seen by itself and among others. Where the
    batch is fixed, one call and two calls of it. Dynamic axes take two lengths over the sets of one batch or over all.
    Last come the edges, and values far beyond the domain, one by one.

    Args:
        inputs: the source model's inputs.
        user: the user's samples, if there are any.
        seeded: batch sizes of the seeded sets, all different.
        stretch: factor of the lengths of dynamic axes of sequences (rank 3 at most), for models that need longer ones;
            images keep their size.
        beyond: whether there is a set of values beyond the domain.
    """
    fixed = fixed_batch(inputs)
    sets = list(_user_sets(user, fixed, inputs, max(seeded, default=1))) if user else []
    single = fixed or 1
    planned = [*_seeded(inputs, fixed, seeded)]
    planned.append(_Planned(name="edges", rows=_whole(len(EDGES), single), batch=single, turn=0, origin="edges"))
    if beyond and any(spec.dtype.startswith(("float", "bfloat")) for spec in inputs):
        planned.append(_Planned(name="beyond", rows=_whole(BEYOND, single), batch=single, turn=0, origin="beyond"))
    for row in planned:
        # One seed for one length: sets of the same lengths begin with the same rows.
        lengths = _lengths(inputs, row.turn, stretch)
        seed = 1 + row.turn % len(_LENGTHS) if lengths else 1
        sets.append(
            SampleSet(name=row.name, rows=row.rows, batch=row.batch, origin=row.origin, seed=seed, dynamic=lengths)
        )
    return tuple(sets)


def _seeded(inputs: Sequence[TensorSpec], fixed: int | None, batches: Sequence[int]) -> Iterator[_Planned]:
    if fixed:
        yield _Planned(name=f"seeded_batch{fixed}", rows=fixed, batch=fixed, turn=0)
        yield _Planned(name=f"seeded_batch{fixed}_twice", rows=2 * fixed, batch=fixed, turn=1)
        return
    yield _Planned(name="seeded_batch1", rows=SINGLE_ROWS, batch=1, turn=0)
    if _lengths(inputs, 0, 1):
        yield _Planned(name="seeded_batch1_longer", rows=SINGLE_ROWS, batch=1, turn=1)
    for turn, batch in enumerate(batch for batch in batches if batch > 1):
        yield _Planned(name=f"seeded_batch{batch}", rows=CALLS * batch, batch=batch, turn=turn)


def _whole(rows: int, batch: int) -> int:
    """Rounds a number of rows up to whole batches."""
    return -(-rows // batch) * batch


def sequences(inputs: Sequence[TensorSpec]) -> bool:
    """Tells whether any input has an axis that `stretch` lengthens."""
    return any(None in spec.shape[1:] and len(spec.shape) < _SPATIAL_RANK for spec in inputs)


def static_shapes(inputs: Sequence[TensorSpec], sets: Sequence[SampleSet]) -> dict[str, tuple[int, ...]]:
    """Returns the shape of every input for a variant that leaves no axis open: the shape that it has in a set.

    It is the first set that is fed row by row (or in the model's own batch): the user's, if there are samples of them.
    """
    batch = fixed_batch(inputs) or 1
    lengths = next(each.dynamic for each in sets if each.batch == batch) or {}
    return {
        spec.name: (batch, *(lengths[_axis(spec, i)] if n is None else n for i, n in enumerate(spec.shape) if i))
        for spec in inputs
    }


def misfit(artifact: str, inputs: Sequence[TensorSpec], sample_set: SampleSet) -> Skip | None:
    """Returns the reason why an artifact is not fed a set; None when it is fed.

    A model may mix the rows of a batch (a maximum over all of it): in another batch, the artifact would compute
    something else than the original did. In the static variant other axes are fixed as well; where any other variant
    fixes one, that is a fault of the export, which feeding shows.

    Args:
        artifact: name of the variant.
        inputs: of the artifact.
        sample_set: the set.

    Raises:
        BadInput: the inputs have different fixed batches.
    """
    batch = fixed_batch(inputs)
    if batch not in {None, sample_set.batch}:
        why = f"fed in batches of {sample_set.batch}, the artifact takes {batch}"
        return Skip(kind="other batch", why=why)
    lengths = sample_set.dynamic or {}
    for axis, own in ((_axis(spec, i), n) for spec in inputs for i, n in enumerate(spec.shape)):
        if artifact == STATIC and lengths.get(axis, own) != own:
            return Skip(kind="other length", why=f"{axis} is {lengths[axis]}, the artifact takes {own}")
    return None


def _axis(spec: TensorSpec, axis: int) -> str:
    """Returns the name of an axis in `SampleSet.dynamic`."""
    return f"{spec.name}[{axis}]"


def spread(rows: int, used: int) -> list[int]:
    """Returns the indices of the rows that are used, evenly spread from the first to the last."""
    return [index * (rows - 1) // max(used - 1, 1) for index in range(used)]


def _user_sets(user: UserSamples, fixed: int | None, inputs: Sequence[TensorSpec], batch: int) -> Iterator[SampleSet]:
    rows = user.rows
    open_ = [(spec, axis) for spec in inputs for axis, length in enumerate(spec.shape) if axis and length is None]
    lengths = {_axis(spec, axis): user.inputs[spec.name].shape[axis] for spec, axis in open_}
    if fixed:
        used = min(rows, max(USER_ROWS, fixed)) // fixed * fixed
        yield SampleSet(name="user", rows=used, batch=fixed, origin="user", dynamic=lengths)
        return
    yield SampleSet(name="user", rows=min(rows, USER_ROWS), batch=batch, origin="user", dynamic=lengths)
    one_by_one = min(rows, USER_ROWS_ONE_BY_ONE)
    yield SampleSet(name="user_batch1", rows=one_by_one, batch=1, origin="user", dynamic=lengths)


def _lengths(inputs: Sequence[TensorSpec], turn: int, stretch: int) -> dict[str, int]:
    lengths: dict[str, int] = {}
    for spec in inputs:
        spatial = len(spec.shape) >= _SPATIAL_RANK
        choices = _SPATIAL_LENGTHS if spatial else tuple(stretch * length for length in _LENGTHS)
        for axis, length in enumerate(spec.shape):
            if axis and length is None:
                lengths[_axis(spec, axis)] = choices[turn % len(choices)]
    return lengths
