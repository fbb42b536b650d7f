"""The evidence of a release: samples and reference outputs that any machine can read, without TensorFlow.

In: tensors under canonical names. Out: `evidence/` of a release directory, and back:

    evidence/evidence.json                  the sample sets and the model's signature
    evidence/samples/SET/INPUT.npy          what every cell is fed, all rows of the set
    evidence/reference/SET/OUTPUT.npy       what the original computed from it

One file holds one tensor: `.npy`, little-endian, C order, never pickled. Two kinds do not fit `.npy`: text is
`NAME.json` with `{"shape": [...], "values": [...]}` (bytes that are not UTF-8 travel as lone surrogates), and types
that NumPy does not have are stored as their bits, with the type in the name: `NAME.bfloat16.npy`.
"""

import json
import math
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pydantic

from exporters.contract import Signature, TensorSpec
from exporters.errors import BadInput
from validators.contract import Tensors
from validators.manifest import SampleSet
from validators.tolerance import dtype_name

EVIDENCE = "evidence"
RECORD = "evidence.json"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_REGISTERED = 2  # NumPy's `isbuiltin` of types that a package such as ml_dtypes adds
_NEXT_STEP = "Restore the release directory from where it was published, or make the release anew."


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecord:
    """The content of `evidence/evidence.json`: the sample sets, and what the model takes and gives."""

    sets: tuple[SampleSet, ...]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


_RECORD_TYPE = pydantic.TypeAdapter(EvidenceRecord)


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """The evidence of one release, read piece by piece: a set's tensors come into memory when asked for."""

    release: Path
    sets: tuple[SampleSet, ...]
    signature: Signature

    def samples(self, sample_set: SampleSet) -> dict[str, np.ndarray]:
        """The inputs of one set: every input of the signature, `rows` rows each.

        Raises:
            BadInput: a file is missing, extra, corrupt, or holds another number of rows.
        """
        folder = samples_folder(self.release, sample_set.name)
        tensors = read_tensors(folder)
        _check_names(folder, tensors, self.signature.inputs)
        for name, array in tensors.items():
            if array.shape[:1] != (sample_set.rows,):
                message = f"{folder}: input `{name}` has shape {list(array.shape)}, valid is {sample_set.rows} rows"
                raise BadInput(message, next_step=_NEXT_STEP)
        return tensors

    def reference(self, sample_set: SampleSet) -> dict[str, np.ndarray]:
        """The original's outputs over one set: every output of the signature.

        Raises:
            BadInput: a file is missing, extra or corrupt.
        """
        folder = reference_folder(self.release, sample_set.name)
        tensors = read_tensors(folder)
        _check_names(folder, tensors, self.signature.outputs)
        return tensors


def samples_folder(release: Path, sample_set: str) -> Path:
    """Where the inputs of a set lie."""
    return release / EVIDENCE / "samples" / _checked_name(sample_set, f"{release}: sample set")


def reference_folder(release: Path, sample_set: str) -> Path:
    """Where the original's outputs over a set lie."""
    return release / EVIDENCE / "reference" / _checked_name(sample_set, f"{release}: sample set")


def write_evidence(
    release: Path, *, signature: Signature, sets: Iterable[SampleSet], samples: Mapping[str, Tensors]
) -> Evidence:
    """Writes the samples and the record; the reference follows from `write_tensors(reference_folder(...), ...)`.

    Args:
        release: the release directory.
        signature: of the source model.
        sets: the sample sets.
        samples: the inputs of each set, by the set's name.

    Raises:
        BadInput: a name is not safe as a file name, or a type cannot be stored.
        OSError: the directory cannot be written.
    """
    evidence = Evidence(release=release, sets=tuple(sets), signature=signature)
    for sample_set in evidence.sets:
        write_tensors(samples_folder(release, sample_set.name), samples[sample_set.name])
    record = EvidenceRecord(sets=evidence.sets, inputs=signature.inputs, outputs=signature.outputs)
    (release / EVIDENCE / RECORD).write_bytes(_RECORD_TYPE.dump_json(record, indent=2) + b"\n")
    return evidence


def read_evidence(release: Path) -> Evidence:
    """Reads the record of a release's evidence.

    Raises:
        BadInput: the record is missing, not readable, or names no sample set.
    """
    path = release / EVIDENCE / RECORD
    try:
        record = _RECORD_TYPE.validate_json(path.read_bytes())
    except pydantic.ValidationError as error:
        raise BadInput(f"{path}: {_first_fault(error)}", next_step=_NEXT_STEP) from error
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})", next_step=_NEXT_STEP) from error
    if not record.sets:
        raise BadInput(f"{path}: sets: got none, valid is at least one sample set", next_step=_NEXT_STEP)
    for sample_set in record.sets:
        _checked_name(sample_set.name, f"{path}: sample set")
    signature = Signature(inputs=record.inputs, outputs=record.outputs)
    return Evidence(release=release, sets=record.sets, signature=signature)


def write_tensors(folder: Path, tensors: Tensors) -> None:
    """Writes one file for each tensor into a folder, which is made if need be.

    Raises:
        BadInput: a name is not safe as a file name, or a type cannot be stored (Python objects other than text).
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in tensors.items():
        _checked_name(name, f"{folder}: tensor")
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
        raise BadInput(f"{folder}: no such folder", next_step=_NEXT_STEP)
    tensors: dict[str, np.ndarray] = {}
    for path in sorted(folder.iterdir()):
        name, *suffixes = path.name.split(".")
        if not _NAME.fullmatch(name) or name in tensors:
            raise BadInput(f"{path}: valid is one NAME.npy or NAME.json for each tensor", next_step=_NEXT_STEP)
        match suffixes:
            case ["npy"]:
                tensors[name] = read_npy(path)
            case ["json"]:
                tensors[name] = _text_from_json(path)
            case [stored_as, "npy"]:
                tensors[name] = _from_bits(path, stored_as)
            case _:
                raise BadInput(f"{path}: valid is NAME.npy or NAME.json", next_step=_NEXT_STEP)
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
    """The type of that name; those that NumPy lacks (bfloat16, float8) come from `ml_dtypes`.

    Raises:
        BadInput: nobody knows the type, or `ml_dtypes` is not installed.
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
    """Little-endian and C order (`ascontiguousarray` would turn a scalar into a vector)."""
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
        raise BadInput(f"{path}: holds {bits.dtype.name}, valid are the bits of {name}", next_step=_NEXT_STEP)
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
        raise BadInput(f"{path}: not a valid text tensor ({error})", next_step=_NEXT_STEP) from error
    if not all(isinstance(value, str) for value in array.flat):
        raise BadInput(f"{path}: `values` holds something else than text", next_step=_NEXT_STEP)
    return array


def _check_names(folder: Path, tensors: Tensors, specs: tuple[TensorSpec, ...]) -> None:
    expected = {spec.name for spec in specs}
    for fault, names in (("missing", expected - set(tensors)), ("not in the signature", set(tensors) - expected)):
        if names:
            raise BadInput(f"{folder}: {', '.join(sorted(names))}: {fault}", next_step=_NEXT_STEP)


def _checked_name(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise BadInput(f"{what} {name!r}: valid are letters, digits and _, a letter first")
    return name


def _first_fault(error: pydantic.ValidationError) -> str:
    """The first fault with its path, such as `sets[0].rows: Input should be a valid integer`."""
    fault = error.errors(include_url=False)[0]
    path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in fault["loc"]).lstrip(".")
    return f"{path or 'content'}: {fault['msg']}"
