"""Reads the user's samples and checks that they fit the model.

In: an `.npz` or a folder of `.npy`, and the model's input specs. Out: `UserSamples`. Every fault of them is found
here, before anything is exported; nothing is converted, guessed or left out. Text is held as object arrays of `str`.
"""

import difflib
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from exporters.contract import TensorSpec
from exporters.errors import BadInput
from validators.compare.tolerance import dtype_name
from validators.contract import Tensors
from validators.samples.tensor_files import read_npy

_DAMAGED = (zipfile.BadZipFile, zlib.error, tokenize.TokenError)
_LABELS = ("labels", "label")
_SAVE = "Write one with numpy.savez('samples.npz', INPUT_NAME=array, ...); `paritygate inspect MODEL` names the inputs."


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSamples:
    """The user's samples after all checks.

    Attributes:
        inputs: one array for each input, the same rows in each.
        rows: their number.
        labels: the true answer for each row; None where the user gave none.
    """

    inputs: Tensors
    rows: int
    labels: np.ndarray | None = None


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
    """Checks the user's samples against the model's inputs; nothing is converted, guessed or left out.

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
    return UserSamples(inputs=arrays, rows=rows, labels=_as_objects(samples[labels[0]]) if labels else None)


def fixed_batch(inputs: Sequence[TensorSpec]) -> int | None:
    """Returns the fixed batch of a model or an artifact; None where it takes any.

    Raises:
        BadInput: the inputs have different fixed batches.
    """
    batches = sorted({spec.shape[0] for spec in inputs if spec.shape and spec.shape[0] is not None})
    if len(batches) > 1:
        raise BadInput(f"the model's inputs fix different batches: {', '.join(map(str, batches))}; valid is one")
    return batches[0] if batches else None


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here: np.load leaves its own file open when the zip is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = dict(archive)
    except FileNotFoundError as error:
        raise BadInput(f"samples {path}: no such file", next_step=_SAVE) from error
    # A damaged or encrypted zip, an .npy under this name, pickled objects: NumPy raises many kinds of errors.
    except (ValueError, EOFError, OSError, TypeError, RuntimeError, SyntaxError, *_DAMAGED) as error:
        message = f"samples {path}: cannot be read as .npz without pickled objects ({error})"
        raise BadInput(message, next_step=_SAVE) from error
    strange = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if strange:
        raise BadInput(f"samples {path}: holds {', '.join(strange)}, valid are .npy members only", next_step=_SAVE)
    return arrays


def _check_names(found: set[str], names: Sequence[str]) -> None:
    missing, extra = sorted(set(names) - found), sorted(found - set(names))
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
    """Returns text as an object array of `str`, everything else unchanged."""
    if dtype_name(array) != "string":
        return array
    words = [v.decode(errors="surrogateescape") if isinstance(v, bytes) else v for v in array.reshape(-1).tolist()]
    return np.array(words, dtype=object).reshape(array.shape)
