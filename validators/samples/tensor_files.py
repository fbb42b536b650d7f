"""Writes and reads tensors as files that any machine can read: one file for each tensor, never pickled.

In: tensors under canonical names. Out: a folder of `.npy`, little-endian, C order. Two kinds do not fit `.npy`: text
is `NAME.json` with `{"shape": [...], "values": [...]}` (bytes that are not UTF-8 become lone surrogates), and types
that NumPy does not have are stored as their bits, with the type in the name: `NAME.bfloat16.npy`.
"""

import json
import math
import re
import tokenize
from pathlib import Path
from typing import BinaryIO

import numpy as np

from exporters.errors import BadInput
from validators.compare.tolerance import dtype_name
from validators.contract import Tensors

RESTORE = "Restore the release directory from where it was published, or make the release again."
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_REGISTERED = 2  # NumPy's `isbuiltin` of types that a package such as ml_dtypes adds


def write_tensors(folder: Path, tensors: Tensors) -> None:
    """Writes one file for each tensor into a folder, which is made if need be.

    Raises:
        BadInput: a name is not safe as a file name, or a type cannot be stored (Python objects other than text).
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in tensors.items():
        checked_name(name, f"{folder}: tensor")
        if dtype_name(array) == "string":
            (folder / f"{name}.json").write_text(_text_to_json(f"{folder}: tensor `{name}`", array), encoding="utf-8")
        elif array.dtype.isbuiltin == _REGISTERED:
            bits = np.asarray(array, order="C").view(f"u{array.dtype.itemsize}")
            np.save(folder / f"{name}.{array.dtype.name}.npy", _portable(bits), allow_pickle=False)
        elif array.dtype.kind in "biufc":
            np.save(folder / f"{name}.npy", _portable(array), allow_pickle=False)
        else:
            raise BadInput(f"{folder}: tensor `{name}` has dtype {array.dtype.name}, valid are numbers and text")


def read_tensors(folder: Path) -> dict[str, np.ndarray]:
    """Reads every tensor of a folder, sorted by name. Text comes back as an object array of `str`.

    Raises:
        BadInput: the folder is missing, or a file in it is corrupt or does not belong there.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder", next_step=RESTORE)
    tensors: dict[str, np.ndarray] = {}
    for path in sorted(folder.iterdir()):
        name, *suffixes = path.name.split(".")
        if not _NAME.fullmatch(name) or name in tensors:
            raise BadInput(f"{path}: valid is one NAME.npy or NAME.json for each tensor", next_step=RESTORE)
        match suffixes:
            case ["npy"]:
                tensors[name] = read_npy(path)
            case ["json"]:
                tensors[name] = _text_from_json(path)
            case [stored_as, "npy"]:
                tensors[name] = _from_bits(path, stored_as)
            case _:
                raise BadInput(f"{path}: valid is NAME.npy or NAME.json", next_step=RESTORE)
    return tensors


def read_npy(path: Path) -> np.ndarray:
    """Reads one `.npy` file whose size is what its header says.

    The size is checked before anything is allocated: a header can claim more memory than there is.

    Raises:
        BadInput: not an `.npy` file, truncated, too long, or it holds pickled Python objects.
    """
    try:
        with path.open("rb") as file:
            _check_header(file, path.stat().st_size)
            file.seek(0)
            return np.lib.format.read_array(file, allow_pickle=False)
    # A header that is no Python literal takes NumPy's path for files of Python 2, where tokenizing may fail.
    except (ValueError, EOFError, SyntaxError, tokenize.TokenError) as error:
        message = f"{path}: not a valid .npy file ({error})"
        raise BadInput(message, next_step="Write it again with numpy.save(path, array, allow_pickle=False).") from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error


def numpy_dtype(name: str) -> np.dtype:
    """Returns the type of that name; those that NumPy lacks (bfloat16, float8) come from `ml_dtypes`.

    Raises:
        BadInput: the type is unknown, or `ml_dtypes` is not installed.
    """
    try:
        return np.dtype(name)
    except TypeError as error:
        try:
            import ml_dtypes
        except ImportError:
            message = f"dtype {name} needs the package ml_dtypes, which is not installed"
            raise BadInput(message, next_step="pip install ml_dtypes") from error
        if not hasattr(ml_dtypes, name):
            raise BadInput(f"dtype {name!r} is not known to NumPy or ml_dtypes") from error
        found: np.dtype = np.dtype(getattr(ml_dtypes, name))
        return found


def _portable(array: np.ndarray) -> np.ndarray:
    """Returns the array in little-endian and C order (`ascontiguousarray` would turn a scalar into a vector)."""
    return np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")


def _check_header(file: BinaryIO, size: int) -> None:
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        message = f"format version {version}, valid is 1.0 or 2.0"
        raise ValueError(message)
    if dtype.hasobject:
        message = "it holds pickled Python objects, valid are numbers, booleans and fixed-width text"
        raise ValueError(message)
    declared = file.tell() + math.prod(shape) * dtype.itemsize
    if declared != size:
        message = f"its header declares {declared} bytes, the file has {size}"
        raise ValueError(message)


def _from_bits(path: Path, name: str) -> np.ndarray:
    bits, dtype = read_npy(path), numpy_dtype(name)
    if bits.dtype.kind != "u" or bits.dtype.itemsize != dtype.itemsize:
        raise BadInput(f"{path}: holds {bits.dtype.name}, valid are the bits of {name}", next_step=RESTORE)
    return bits.view(dtype)


def _text_to_json(what: str, array: np.ndarray) -> str:
    values = [v.decode(errors="surrogateescape") if isinstance(v, bytes) else v for v in array.reshape(-1).tolist()]
    for value in values:
        if not isinstance(value, str):
            raise BadInput(f"{what} holds a Python {type(value).__name__}, valid are numbers, booleans and text")
    return json.dumps({"shape": list(array.shape), "values": values}) + "\n"


def _text_from_json(path: Path) -> np.ndarray:
    try:
        content = json.loads(path.read_bytes())
        array = np.array(content["values"], dtype=object).reshape(content["shape"])
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise BadInput(f"{path}: not a valid text tensor ({error})", next_step=RESTORE) from error
    if not all(isinstance(value, str) for value in array.flat):
        raise BadInput(f"{path}: `values` holds other things than text", next_step=RESTORE)
    return array


def checked_name(name: str, what: str) -> str:
    """Returns the name when it is safe as a file name and as an identifier; `what` names its owner in the message.

    Raises:
        BadInput: it is not safe.
    """
    if not _NAME.fullmatch(name):
        raise BadInput(f"{what} {name!r}: valid are letters, digits and _, a letter first")
    return name
