"""The samples of a release: what the user brings, and what is drawn by the signature.

In: the model's input specs, and the user's `.npz` or folder of `.npy` if there is one. Out: sample sets and their
arrays (`validators.feeding` feeds them). Every fault of the user's samples is found here, before anything is exported.

Text is held as object arrays of `str`. Labels (an array `labels` or `label` that is not an input) are not fed.
"""

import difflib
import hashlib
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters.contract import STATIC, TensorSpec
from exporters.errors import BadInput
from validators.contract import Skip, Tensors
from validators.manifest import SampleSet
from validators.tensorfiles import numpy_dtype, read_npy
from validators.tolerance import dtype_name

USER_ROWS, USER_BATCH, USER_ROWS_ONE_BY_ONE = 64, 32, 16
"""How many rows of the user's samples are used, how many go into one call, and how many are also fed singly.

Of more rows than are used, those are taken that lie evenly spread over the file, the first and the last among them: in
a file sorted by class the first rows would all be of one class.
"""

_DAMAGED = (zipfile.BadZipFile, zlib.error, tokenize.TokenError)
SEEDED_BATCHES = (1, 2, 7)
"""Batch sizes of the seeded sets: the single row of a phone, the smallest real batch, one no kernel is tuned for."""

SINGLE_ROWS = 4
"""Rows of a seeded set that is fed one by one."""

_LABELS = ("labels", "label")
WORDS = ("", "alpha", "beta gamma", "Delta, epsilon!", "Zürich", "unseen 42")
# Lengths of dynamic axes, in turn over the sets. All axes of a set have the same one, so that inputs that meet in an
# addition, a concatenation or a T x T mask fit. Images and volumes (rank 4 up) must survive five halvings.
_LENGTHS, _SPATIAL_LENGTHS, _SPATIAL_RANK = (16, 24), (32, 64), 4


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSamples:
    """The user's samples after all checks: one array for each input, the same rows in each."""

    inputs: Mapping[str, np.ndarray]
    rows: int


def read_samples(path: Path) -> dict[str, np.ndarray]:
    """Reads arrays by name from an `.npz` file, or from a folder with one `.npy` file for each input.

    Raises:
        BadInput: there is no such file, it is of another kind, damaged, empty, or holds pickled Python objects.
    """
    if path.is_dir():
        arrays = {file.stem: read_npy(file) for file in sorted(path.glob("*.npy"))}
    elif path.suffix == ".npz":
        arrays = _read_npz(path)
    else:
        state = "no such file or folder" if not path.exists() else "it is neither"
        raise BadInput(f"samples {path}: {state}, valid is an .npz file or a folder of .npy files", next_step=_SAVE)
    if not arrays:
        raise BadInput(f"samples {path}: holds no array, valid is one for each input", next_step=_SAVE)
    return arrays


def check_samples(samples: Tensors, inputs: Sequence[TensorSpec]) -> UserSamples:
    """Holds the user's samples against the model's inputs; nothing is converted, guessed or left out.

    Args:
        samples: arrays by name, the rows of the set as first axis; `labels` or `label` may be among them.
        inputs: the source model's inputs.

    Raises:
        BadInput: a missing or unknown input; another type or shape; no rows, or not as many as the others; rows that
            do not fill the model's fixed batch; NaN or infinity; labels that do not fit the rows.
    """
    names = [spec.name for spec in inputs]
    labels = [name for name in _LABELS if name in samples and name not in names]
    _check_names(set(samples) - set(labels[:1]), names)
    for spec in inputs:
        _check_array(samples[spec.name], spec)
    rows = _common_rows({name: samples[name] for name in names + labels[:1]})
    fixed = fixed_batch(inputs)
    if fixed and rows % fixed:
        raise BadInput(f"samples: got {rows} rows, valid is a multiple of the model's fixed batch of {fixed}")
    arrays = {name: _as_objects(samples[name]) for name in names}
    return UserSamples(inputs=arrays, rows=rows)


def fixed_batch(inputs: Sequence[TensorSpec]) -> int | None:
    """The batch that a model or an artifact insists on; None where it takes any.

    Raises:
        BadInput: the inputs insist on different ones.
    """
    batches = sorted({spec.shape[0] for spec in inputs if spec.shape and spec.shape[0] is not None})
    if len(batches) > 1:
        raise BadInput(f"the model's inputs fix different batches: {', '.join(map(str, batches))}; valid is one")
    return batches[0] if batches else None


def plan(
    inputs: Sequence[TensorSpec],
    *,
    user: UserSamples | None = None,
    seeded: Sequence[int] = SEEDED_BATCHES,
    stretch: int = 1,
) -> tuple[SampleSet, ...]:
    """The sample sets of a release.

    Seeded sets: one call of each batch size, and four rows one by one (an artifact with a batch of one sees no other
    set); where the batch is fixed, one call and two calls of it. Dynamic axes take two lengths over the sets of one
    batch or over all. The user's samples come first: up to 64 rows in batches of 32, and sixteen rows one by one (not
    where the batch is fixed), both evenly spread over all the rows.

    Args:
        inputs: the source model's inputs.
        user: the user's samples, if there are any.
        seeded: batch sizes of the seeded sets, all different.
        stretch: what the lengths of dynamic axes of sequences (rank 3 at most) are multiplied with, for models that
            need longer ones; images keep their size.
    """
    fixed = fixed_batch(inputs)
    sets = list(_user_sets(user, fixed, inputs)) if user else []
    for turn, (name, rows, batch) in enumerate(_seeded(inputs, fixed, seeded)):
        lengths = _lengths(inputs, turn, stretch)
        sets.append(SampleSet(name=name, rows=rows, batch=batch, origin="seeded", seed=turn + 1, dynamic=lengths))
    return tuple(sets)


def _seeded(inputs: Sequence[TensorSpec], fixed: int | None, batches: Sequence[int]) -> Iterator[tuple[str, int, int]]:
    """Name, rows and batch of the seeded sets."""
    if fixed:
        yield f"seeded_batch{fixed}", fixed, fixed
        yield f"seeded_batch{fixed}_twice", 2 * fixed, fixed
        return
    yield "seeded_batch1", SINGLE_ROWS, 1
    if _lengths(inputs, 0, 1):
        yield "seeded_batch1_longer", SINGLE_ROWS, 1
    for batch in batches:
        if batch > 1:
            yield f"seeded_batch{batch}", batch, batch


def generate(
    sample_set: SampleSet,
    inputs: Sequence[TensorSpec],
    *,
    user: UserSamples | None = None,
    drawn: Mapping[str, Sequence[str | int]] | None = None,
) -> dict[str, np.ndarray]:
    """The arrays of one set: rows of the user's samples, or values drawn from the set's seed.

    Each input draws from its own stream (seeded by SHA-256 of seed and name), so two inputs of the same shape never
    hold the same values, and swapping them shows. Draws are uniform: unlike a normal draw they need no libm, so a
    seed means the same bytes on every machine: [-1, 1) for floating types, 0 or 1 for integers (any embedding has rows
    0 and 1; the signature does not tell how many more).

    Args:
        sample_set: one of `plan`.
        inputs: the source model's inputs.
        user: the user's samples; needed for the sets that `plan` made of them.
        drawn: input -> what its elements are drawn from; others are drawn as above, text from `WORDS`.

    Raises:
        ValueError: a set of the user's samples without them.
    """
    if sample_set.origin == "user":
        if user is None:
            message = f"sample set `{sample_set.name}` consists of the user's samples, and none were given"
            raise ValueError(message)
        spread = _spread(user.rows, sample_set.rows)
        return {name: array[spread] for name, array in user.inputs.items()}
    return {spec.name: _draw(sample_set, spec, (drawn or {}).get(spec.name, ())) for spec in inputs}


def sequences(inputs: Sequence[TensorSpec]) -> bool:
    """Whether any input has an axis that `stretch` lengthens."""
    return any(None in spec.shape[1:] and len(spec.shape) < _SPATIAL_RANK for spec in inputs)


_SAVE = "Write one with numpy.savez('samples.npz', INPUT_NAME=array, ...); `paritygate inspect MODEL` names the inputs."


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here: np.load leaves its own file open when the zip is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except FileNotFoundError as error:
        raise BadInput(f"samples {path}: no such file", next_step=_SAVE) from error
    # A damaged or encrypted zip, a lone .npy under this name, pickled objects: NumPy has no error of its own.
    except (ValueError, EOFError, OSError, TypeError, RuntimeError, SyntaxError, *_DAMAGED) as error:
        message = f"samples {path}: cannot be read as .npz without pickled objects ({error})"
        raise BadInput(message, next_step=_SAVE) from error
    strange = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if strange:
        raise BadInput(f"samples {path}: holds {', '.join(strange)}, valid are .npy members only", next_step=_SAVE)
    return arrays


def _check_names(given: set[str], names: Sequence[str]) -> None:
    missing, extra = sorted(set(names) - given), sorted(given - set(names))
    if not missing and not extra:
        return
    near = [(name, difflib.get_close_matches(name, missing, n=1)) for name in extra]
    faults = [f"input `{name}` is missing" for name in missing]
    faults += [f"`{name}` is not an input" + (f" (meant `{match[0]}`?)" if match else "") for name, match in near]
    valid = ", ".join(f"`{name}`" for name in names)
    raise BadInput(f"samples: {'; '.join(faults)}; valid are {valid}, and `labels`", next_step=_SAVE)


def _check_array(array: np.ndarray, spec: TensorSpec) -> None:
    what = f"samples: input `{spec.name}`"
    if array.dtype.kind == "O" and not all(isinstance(value, str | bytes) for value in array.flat):
        raise BadInput(f"{what} holds Python objects, valid is dtype {spec.dtype}")
    if dtype_name(array) != spec.dtype:
        fix = f"samples['{spec.name}'] = samples['{spec.name}'].astype('{spec.dtype}')"
        next_step = "" if "string" in {spec.dtype, dtype_name(array)} else f"If the values survive it: {fix}"
        raise BadInput(f"{what} has dtype {dtype_name(array)}, valid is {spec.dtype}", next_step=next_step)
    shape = ["rows", *("any" if axis is None else axis for axis in spec.shape[1:])]
    fits = zip(array.shape[1:], spec.shape[1:], strict=False)
    if array.ndim != len(spec.shape) or any(want not in {None, got} for got, want in fits):
        raise BadInput(f"{what} has shape {list(array.shape)}, valid is [{', '.join(map(str, shape))}]")
    if not array.size:
        raise BadInput(f"{what} has shape {list(array.shape)}: no values, valid is at least one row")
    if spec.dtype != "string" and not np.isfinite(array).all():
        bad = np.argwhere(~np.isfinite(array))
        raise BadInput(f"{what} has {len(bad)} NaN or infinite values, the first at {bad[0].tolist()}; valid is none")


def _common_rows(arrays: Tensors) -> int:
    if len({array.shape[:1] for array in arrays.values()}) > 1:
        got = ", ".join(f"`{name}` {list(array.shape)}" for name, array in arrays.items())
        raise BadInput(f"samples: the arrays differ in rows: {got}; valid is the same first axis in each")
    return len(next(iter(arrays.values())))


def _as_objects(array: np.ndarray) -> np.ndarray:
    """Text as an object array of `str`, everything else as it is."""
    if dtype_name(array) != "string":
        return array
    words = [v.decode(errors="surrogateescape") if isinstance(v, bytes) else v for v in array.reshape(-1).tolist()]
    return np.array(words, dtype=object).reshape(array.shape)


def static_shapes(inputs: Sequence[TensorSpec], sets: Sequence[SampleSet]) -> dict[str, tuple[int, ...]]:
    """The shape of every input for a variant that leaves no axis open: the one that it has in a set.

    It is the first set that is fed row by row (or in the model's own batch): the user's, if there are samples of them.
    """
    batch = fixed_batch(inputs) or 1
    lengths = next(each.dynamic for each in sets if each.batch == batch) or {}
    return {
        spec.name: (batch, *(lengths[_axis(spec, i)] if n is None else n for i, n in enumerate(spec.shape) if i))
        for spec in inputs
    }


def misfit(artifact: str, inputs: Sequence[TensorSpec], sample_set: SampleSet) -> Skip | None:
    """Why an artifact is not fed a set; None when it is.

    A model may mix the rows of a batch (a maximum over all of it): in another batch, the artifact would be asked
    another question than the original was. In the static variant other axes are fixed as well; one that any other
    variant fixes is a fault of the export, which feeding shows.

    Args:
        artifact: name of the variant.
        inputs: of the artifact.
        sample_set: the set.

    Raises:
        BadInput: the inputs insist on different batches.
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
    """Name of an axis in `SampleSet.dynamic`."""
    return f"{spec.name}[{axis}]"


def _user_sets(user: UserSamples, fixed: int | None, inputs: Sequence[TensorSpec]) -> Iterator[SampleSet]:
    rows = user.rows
    open_ = [(spec, axis) for spec in inputs for axis, length in enumerate(spec.shape) if axis and length is None]
    lengths = {_axis(spec, axis): user.inputs[spec.name].shape[axis] for spec, axis in open_}
    if fixed:
        used = min(rows, max(USER_ROWS, fixed)) // fixed * fixed
        yield SampleSet(name="user", rows=used, batch=fixed, origin="user", dynamic=lengths)
        return
    yield SampleSet(name="user", rows=min(rows, USER_ROWS), batch=USER_BATCH, origin="user", dynamic=lengths)
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


def _spread(rows: int, used: int) -> list[int]:
    """Indices of the rows that are used: all of them, or as many as asked from the first to the last."""
    return [index * (rows - 1) // max(used - 1, 1) for index in range(used)]


def _draw(sample_set: SampleSet, spec: TensorSpec, choices: Sequence[str | int]) -> np.ndarray:
    digest = hashlib.sha256(f"{sample_set.seed}:{spec.name}".encode()).digest()
    stream = np.random.default_rng(int.from_bytes(digest, "big"))
    lengths = sample_set.dynamic or {}
    axes = enumerate(spec.shape[1:], start=1)
    shape = (sample_set.rows, *(lengths[_axis(spec, i)] if n is None else n for i, n in axes))
    if spec.dtype == "string":
        choices = choices or WORDS
        return np.array(choices, dtype=object)[stream.integers(0, len(choices), shape)]
    dtype = numpy_dtype(spec.dtype)
    if choices:
        return np.array(choices)[stream.integers(0, len(choices), shape)].astype(dtype)
    if dtype.kind in "iub":
        return stream.integers(0, 1, shape, endpoint=True, dtype=np.int64).astype(dtype)
    return stream.uniform(-1.0, 1.0, shape).astype(dtype)
