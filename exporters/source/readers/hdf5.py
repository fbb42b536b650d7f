"""Finds and checks every dataset of an HDF5 file, inside an archive or not, without leaving the file.

In: an `Hdf5`. Out: `Stored` rows, and single attributes. Only hard links are followed, each object once, so nothing
outside the file is opened; every declared size is compared with what is stored before anything is allocated. h5py's
low-level interface is used because the high-level one takes 0.4 ms per dataset, and models have thousands.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, Any

from exporters.errors import BadInput
from exporters.source import strict_json
from exporters.source.printable import printable
from exporters.source.readers.stored_model import Stored, Wanted
from exporters.source.readers.zip_records import BOMB_FLOOR, MAX_EXPANSION, RESAVE

MAX_OBJECTS = 500_000
MAX_DEPTH = 128
"""Groups inside groups; a model inside a model takes two or three."""
MAX_CHUNK = 64 << 20
"""Bytes of one compressed chunk, which must be unpacked whole to read any of it."""
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
_NUMBERS = "fiubcV"
"""NumPy kinds of plain numbers; V: bfloat16, which Keras stores as opaque pairs of bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hdf5:
    """Holds the bytes of an HDF5 file: on disk, in an archive or in memory.

    Attributes:
        where: how a message about it begins, `m.keras: in model.weights.h5,` or `m.h5:`.
        size: how many bytes.
        stream: gives them, seekable.
    """

    where: str
    size: int
    stream: Callable[[], AbstractContextManager[IO[bytes]]]


@contextmanager
def opened(hdf5: Hdf5) -> Iterator[Any]:
    """Opens the file with h5py for the time of the context.

    Raises:
        BadInput: it is no HDF5 file, or truncated.
    """
    import h5py

    with hdf5.stream() as stream:
        with reading(hdf5, "the HDF5 file itself"):
            file = h5py.File(stream, "r")
        with file:
            yield file


@contextmanager
def datasets(hdf5: Hdf5, wanted: Wanted = lambda _: True) -> Iterator[Iterator[Stored]]:
    """Opens the file and yields every dataset, checked; the file stays open for the time of the context.

    Args:
        hdf5: the file.
        wanted: whether to look at the group or dataset of this path at all.

    Raises:
        BadInput: no HDF5 file, a link, an external or virtual dataset, or a size that cannot be true.
    """
    with opened(hdf5) as file:
        yield _walk(hdf5, file, wanted)


def attribute(hdf5: Hdf5, file: Any, name: str) -> bytes | None:
    """Returns the text of an attribute of the root group; None when there is none.

    Raises:
        BadInput: it is too large, or no text.
    """
    import h5py
    import numpy as np

    where = f"attribute {name}"
    with reading(hdf5, where):
        if not h5py.h5a.exists(file.id, name.encode()):
            return None
        found = h5py.h5a.open(file.id, name.encode())
        shape, dtype = found.shape, found.dtype
    if shape != () or not (dtype.kind == "S" or h5py.check_string_dtype(dtype)):
        raise _refused(hdf5, where, f"holds {dtype} of shape {shape}; expected one text")
    strict_json.check_size(f"{hdf5.where} {where}", dtype.itemsize)
    value = np.empty((), dtype)
    with reading(hdf5, where):
        found.read(value)  # as bytes: the high-level interface makes three copies
    return bytes(value[()])


@contextmanager
def reading(hdf5: Hdf5, path: str) -> Iterator[None]:
    """Turns what h5py raises over damaged structures into BadInput naming the group or dataset."""
    try:
        yield
    except (KeyError, OSError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise _refused(hdf5, path, f"cannot be read ({error})") from error


def _walk(hdf5: Hdf5, file: Any, wanted: Wanted) -> Iterator[Stored]:
    import h5py

    with reading(hdf5, "the root group"):
        seen = {h5py.h5o.get_info(file.id).addr}
        pending = [(h5py.h5o.open(file.id, b"/"), "")]
    total = 0
    while pending:
        group, prefix = pending.pop()
        with reading(hdf5, prefix or "the root group"):
            names = list(group)
        for name in names:
            path = f"{prefix}{name.decode('utf-8', 'backslashreplace')}"
            if not wanted(path):
                continue
            item, address = _follow(hdf5, group, name, path)
            if address in seen:
                raise _refused(hdf5, path, "is linked twice")
            seen.add(address)
            if len(seen) > MAX_OBJECTS or path.count("/") > MAX_DEPTH:
                raise _refused(hdf5, path, f"is beyond {MAX_OBJECTS:,} objects or {MAX_DEPTH} levels of groups")
            if isinstance(item, h5py.h5g.GroupID):
                pending.append((item, f"{path}/"))
                continue
            stored = _checked(hdf5, path, item)
            total += stored.size
            _check_expansion(hdf5, "all weights together", total, hdf5.size)
            yield stored


def _follow(hdf5: Hdf5, group: Any, name: bytes, path: str) -> tuple[Any, int]:
    """Opens what a hard link names, and says where in the file it is."""
    import h5py

    with reading(hdf5, path):
        link = group.links.get_info(name)
        if link.type != h5py.h5l.TYPE_HARD:
            target = group.links.get_val(name)
            raise _refused(hdf5, path, f"is a link to {target!r}; valid are groups and datasets of this file")
        item = h5py.h5o.open(group, name)
    if not isinstance(item, h5py.h5g.GroupID | h5py.h5d.DatasetID):
        raise _refused(hdf5, path, f"is a {type(item).__name__}; valid are groups and datasets")
    return item, link.u


def _checked(hdf5: Hdf5, path: str, dataset: Any) -> Stored:
    """Checks the declaration of a dataset against the bytes that are stored of it."""
    import h5py

    with reading(hdf5, path):
        shape, dtype = dataset.shape, dataset.dtype
        properties = dataset.get_create_plist()
        stored, layout = dataset.get_storage_size(), properties.get_layout()
    if properties.get_external_count():
        raise _refused(hdf5, path, f"keeps its values in another file, {properties.get_external(0)[0]!r}")
    if layout == h5py.h5d.VIRTUAL:
        raise _refused(hdf5, path, "is virtual: its values are in other files")
    if shape is None or dtype.kind not in _NUMBERS or dtype.names:
        raise _refused(hdf5, path, f"holds {dtype}; valid are plain numbers")
    declared = math.prod(shape) * dtype.itemsize
    if layout == h5py.h5d.CHUNKED:
        _check_chunks(hdf5, path, properties, dtype.itemsize)
    elif declared > stored:
        raise _refused(hdf5, path, f"declares shape {shape} ({declared:,} bytes) and stores {stored:,} bytes")
    _check_expansion(hdf5, path, declared, stored)
    return Stored(path, shape, dtype, partial(_values, hdf5, path, dataset), stored)


def _values(hdf5: Hdf5, path: str, dataset: Any, index: Any) -> Any:
    import h5py

    with reading(hdf5, path):
        return h5py.Dataset(dataset)[index]


def _check_chunks(hdf5: Hdf5, path: str, properties: Any, itemsize: int) -> None:
    for index in range(properties.get_nfilters()):
        if (number := properties.get_filter(index)[0]) not in _FILTERS:
            valid = ", ".join(_FILTERS.values())
            raise _refused(hdf5, path, f"is packed with HDF5 filter {number}; valid are {valid}")
    if math.prod(properties.get_chunk()) * itemsize > MAX_CHUNK:
        raise _refused(hdf5, path, f"has chunks of more than {MAX_CHUNK:,} bytes")


def _check_expansion(hdf5: Hdf5, what: str, declared: int, stored: int) -> None:
    if declared > BOMB_FLOOR and declared > MAX_EXPANSION * stored:
        raise _refused(
            hdf5,
            what,
            f"declares {declared:,} bytes, more than {MAX_EXPANSION} times the {stored:,} that are stored",
        )


def _refused(hdf5: Hdf5, path: str, problem: str) -> BadInput:
    return BadInput(f"{hdf5.where} {printable(path)} {problem}", next_step=RESAVE)
